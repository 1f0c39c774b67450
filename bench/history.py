"""
What the history store costs the operator, and how fast it is: `python -m bench history`.

Runs end in an intake as they do in an operator, and its recorder writes them into a store: a file, and PostgreSQL where that is installed.
CPU is that of this process, without the database server; what the same runs cost without a store is taken off.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from bench.figures import Figure, tell
from headrace.history import open_history
from headrace_operator.history.archive import Archive
from headrace_operator.history.outbox import Outbox, Room
from headrace_operator.history.recorder import Manner, Recorder, Sources
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.telemetry.history import HistoryMetrics
from headrace_operator.workqueue import WorkQueue
from tests.storages.servers import Missing, a_postgresql
from tests.unit.headrace.history.finished import a_finished_run

RUNS = 20_000
CPU_BUDGET_MS = 0.15
BATCH = 500


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one run."""

    cpu_ms: float
    runs_per_s: float


def ended(count: int) -> list[dict[str, Any]]:
    """Finished runs of a Deployment, as the API answers to the write of their last status."""
    runs = [a_finished_run(f"daily-{number:06}", tasks={"total": 3, "succeeded": 3}) for number in range(count)]
    for number, run in enumerate(runs):
        run["metadata"] |= {"resourceVersion": str(number + 1), "generation": 1}
    return runs


async def fed(intake: Intake, runs: list[dict[str, Any]], settled: Callable[[], bool]) -> Cost:
    """Feeds the runs in portions, with room for other tasks in between, until all of it is settled."""
    cpu_s, began_s = time.process_time(), time.perf_counter()
    for start in range(0, len(runs), BATCH):
        for run in runs[start : start + BATCH]:
            intake.run_seen(run)
        await asyncio.sleep(0)
    while not settled():  # noqa: ASYNC110 - the recorder's own pace is what is measured
        await asyncio.sleep(0.1)
    cpu_s, took_s = time.process_time() - cpu_s, time.perf_counter() - began_s
    return Cost(cpu_s * 1e3 / len(runs), len(runs) / took_s)


def an_intake(outbox: Outbox | None = None) -> Intake:
    """Of an operator that does nothing but look on."""
    return Intake(
        Cache(), History(outbox), WorkQueue(), status_delay_s=3600, autosize_delay_s=3600, monotonic=time.monotonic
    )


async def without_store(runs: list[dict[str, Any]]) -> Cost:
    """What the runs cost in any case."""
    return await fed(an_intake(), runs, lambda: True)


async def with_store(url: str, runs: list[dict[str, Any]]) -> Cost:
    """The same with records; the store is looked into at the end."""
    metrics = HistoryMetrics(CollectorRegistry())
    archive = Archive(open_history(url), metrics)
    outbox = Outbox(Room(len(runs), len(runs)), flow_of=lambda _: "etl", monotonic=time.monotonic)
    intake = an_intake(outbox)
    recorder = Recorder(
        outbox,
        archive,
        Sources(_nothing, _nothing),
        Manner(batch_size=BATCH, batch_delay_s=0.05),
        told=intake.runs_recorded,
        metrics=metrics,
    )
    await archive.known([])  # connected, and its tables made
    running = asyncio.create_task(recorder.run())
    cost = await fed(intake, runs, lambda: not len(outbox))
    running.cancel()
    await archive.close()
    with closing(open_history(url, is_reader=True)) as reader:
        (found,) = reader.rows("select count(*) as count from headrace_runs")
    assert found["count"] == len(runs), found
    return cost


async def _nothing(*_: object) -> Any:
    raise AssertionError("a run that succeeded costs no request")


def measured(stack: ExitStack) -> dict[str, Cost]:
    """By store."""
    runs = ended(RUNS)
    gc.freeze()  # an operator has not all of them in memory
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    costs = {
        "none": asyncio.run(without_store(runs)),
        "SQLite": asyncio.run(with_store(f"sqlite:///{folder}/history.db", runs)),
    }
    try:
        server = stack.enter_context(a_postgresql())
    except Missing as error:
        print(error)
        return costs
    stack.enter_context(server.running())
    os.environ.update(server.served.environment)
    return {**costs, "PostgreSQL": asyncio.run(with_store(server.served.url, runs))}


def main() -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    with ExitStack() as stack:
        costs = measured(stack)
    print(f"{RUNS:,} runs end; batches of {BATCH}")
    print(f"{'store':<12}{'CPU ms a run':>14}{'records/s':>12}")
    for name, cost in costs.items():
        rate = "" if name == "none" else f"{cost.runs_per_s:,.0f}"
        print(f"{name:<12}{cost.cpu_ms:>14.3f}{rate:>12}")
    base = costs.pop("none").cpu_ms
    return tell(
        *(
            Figure(f"CPU of a record in {name}, without the server", cost.cpu_ms - base, "ms", CPU_BUDGET_MS)
            for name, cost in costs.items()
        )
    )


if __name__ == "__main__":
    sys.exit(main())

"""
Where the operator's CPU goes, stage by stage: `python -m bench profile`.

The operator's own process is measured, with its real client, against `bench/stand_in.py`, which runs beside it. A timer of the
process's CPU time looks every millisecond at what is running; a look counts for the innermost frame that belongs to a stage, so that a library
counts for whoever called it, unless it is a stage of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from prometheus_client import CollectorRegistry

from bench.figures import Figure, tell
from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace_operator.garbage import look_seldom
from headrace_operator.settings import Settings
from headrace_operator.telemetry.logging import configure_logging
from headrace_operator.wiring import Operator

RUNS = 600
WARM_UP = 100
CPU_BUDGET_MS = 2.5
REQUESTS_BUDGET = 4.2
LIMIT_BUDGET = 1.3
"""How many times as much a run of a Deployment may cost that goes through a limit."""
SAMPLE_S = 0.001
NAMESPACE = "team-a"

STAGES: tuple[tuple[str, str], ...] = (
    ("log", "structlog/"),
    ("log", "logging/"),
    ("log", "telemetry/logging"),
    ("metrics", "prometheus_client/"),
    ("metrics", "telemetry/metrics"),
    ("metrics", "kube/metered"),
    ("http", "aiohttp/"),
    ("http", "yarl/"),
    ("http", "multidict/"),
    ("http", "kubeapi/client"),
    ("http", "kube/"),
    ("stream", "kubeapi/stream"),
    ("parse", "observe/parse"),
    ("parse", "observe/pauses"),
    ("parse", "observe/records"),
    ("cache", "observe/cache"),
    ("cache", "observe/ledger"),
    ("cache", "observe/history"),
    ("gate", "decide/queueing"),
    ("gate", "observe/gate"),
    ("gate", "observe/slots"),
    ("gate", "decide/demand"),
    ("gate", "decide/placement"),
    ("manifests", "headrace_operator/manifests"),
    ("manifests", "decide/sizing"),
    ("decide", "headrace_operator/decide"),
    ("intake", "observe/intake"),
    ("intake", "observe/feeds"),
    ("intake", "observe/"),
    ("apply", "headrace_operator/apply"),
    ("handlers", "headrace_operator/handlers"),
    ("queue", "headrace_operator/workqueue"),
    ("fence", "headrace_operator/leadership"),
    ("event loop", "asyncio/"),
)
"""Stages by a part of a file's path; the first that fits."""


class Sampler:
    """Counts, each millisecond of CPU time, in which stage the process is."""

    def __init__(self) -> None:
        self.stages: Counter[str] = Counter()
        self.places: Counter[str] = Counter()

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Counts within the block."""
        signal.signal(signal.SIGPROF, self._look)
        signal.setitimer(signal.ITIMER_PROF, SAMPLE_S, SAMPLE_S)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _signal: int, frame: FrameType | None) -> None:
        while frame is not None:
            code = frame.f_code
            stage = _stage_of(code.co_filename)
            if stage is not None:
                self.stages[stage] += 1
                self.places[f"{_short(code.co_filename)}:{code.co_qualname}"] += 1
                return
            frame = frame.f_back
        self.stages["other"] += 1


@cache
def _stage_of(path: str) -> str | None:
    return next((stage for stage, part in STAGES if part in path), None)


@cache
def _short(path: str) -> str:
    return "/".join(Path(path).parts[-2:])


@dataclass(frozen=True)
class Cost:
    """What the runs of one kind took, per run."""

    name: str
    cpu_ms: float
    requests: Mapping[str, float]
    passes: Mapping[str, float]
    stages: Mapping[str, float]
    places: Mapping[str, float]


async def measure(client: KubeClient, registry: CollectorRegistry, name: str, deployment: str) -> Cost:
    """The cost of a burst of runs."""
    await _burst(client, f"{name}-warm", WARM_UP, deployment)
    sampler = Sampler()
    requests, passes, cpu_s = await _requests(client), _passes(registry), time.process_time()
    with sampler.at_work():
        await _burst(client, name, RUNS, deployment)
    cpu_ms = (time.process_time() - cpu_s) * 1e3 / RUNS
    sampled = sampler.stages.total() or 1
    return Cost(
        name,
        cpu_ms,
        _per_run(await _requests(client) - requests),
        _per_run(_passes(registry) - passes),
        {stage: count / sampled * cpu_ms for stage, count in sampler.stages.most_common()},
        {place: count / sampled * cpu_ms for place, count in sampler.places.most_common(60)},
    )


def _per_run(counted: Counter[str]) -> dict[str, float]:
    return {what: count / RUNS for what, count in counted.most_common() if count > 0}


async def _burst(client: KubeClient, prefix: str, count: int, deployment: str) -> None:
    before = (await client.get("/bench/state"))["finished"]
    query = {"count": str(count), "prefix": prefix, "namespace": NAMESPACE}
    await client.get("/bench/runs", query | ({"deployment": deployment} if deployment else {}))
    while True:
        await asyncio.sleep(0.1)
        state = await client.get("/bench/state")
        if state["finished"] - before >= count and not state["held"]:
            return


async def _requests(client: KubeClient) -> Counter[str]:
    requests = Counter((await client.get("/bench/state"))["requests"])
    del requests["patch leases"]  # the leader's renewals go by the clock; slots' are told by their limit's figure
    return requests


def _passes(registry: CollectorRegistry) -> Counter[str]:
    found: Counter[str] = Counter()
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name == "headrace_reconciles_total":
                found[sample.labels["kind"]] += int(sample.value)
    return found


def told(cost: Cost, *, places: bool) -> None:
    """Prints it."""
    print(
        f"\n{cost.name}: {cost.cpu_ms:.2f} ms of CPU per run, {1000 / cost.cpu_ms:.0f} runs/s of one core", flush=True
    )
    for stage, ms in cost.stages.items():
        print(f"  {stage:<12} {ms:6.3f} ms  {ms / cost.cpu_ms:5.1%}")
    for title, counted in (("requests", cost.requests), ("passes", cost.passes)):
        print(
            f"  {title} per run: {sum(counted.values()):.2f} ("
            + ", ".join(f"{what} {n:.2f}" for what, n in counted.items())
            + ")"
        )
    if places:
        for place, ms in cost.places.items():
            print(f"    {ms:6.3f} ms  {place}")


KINDS = (("flow", ""), ("deployment", "plain"), ("limit", "limited"))
"""What is measured, and the Deployment of the runs."""
KEPT = {"succeeded": 10_000, "failed": 10_000}
"""Deleting finished runs is no part of what is measured."""
OBJECTS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("namespaces", "", {"metadata": {"name": NAMESPACE}}),
    (
        "flows",
        NAMESPACE,
        {
            "kind": "Flow",
            "metadata": {"name": "etl", "labels": {"team": "a"}},
            "spec": {
                "entrypoint": "etl:main",
                "image": "registry.example/etl:1",
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "env": [{"name": "REGION", "value": "eu"}],
                "parameters": {"defaults": {"source": "orders"}},
                "podTemplate": {"spec": {"securityContext": {"runAsNonRoot": True}}},
            },
        },
    ),
    (
        "deployments",
        NAMESPACE,
        {"kind": "Deployment", "metadata": {"name": "plain"}, "spec": {"flowRef": {"name": "etl"}, "history": KEPT}},
    ),
    (
        "deployments",
        NAMESPACE,
        {
            "kind": "Deployment",
            "metadata": {"name": "limited"},
            "spec": {"flowRef": {"name": "etl"}, "limits": [{"name": "db", "slots": 1}], "history": KEPT},
        },
    ),
    (
        "concurrencylimits",
        "",
        {"kind": "ConcurrencyLimit", "metadata": {"name": "db"}, "spec": {"slots": 100}},
    ),
)


async def _set_up(client: KubeClient) -> None:
    for plural, namespace, body in OBJECTS:
        root = "/api/v1" if plural == "namespaces" else f"/apis/{API_VERSION}"
        within = f"/namespaces/{namespace}" if namespace else ""
        await client.create(f"{root}{within}/{plural}", {"apiVersion": API_VERSION, **body})


@contextlib.contextmanager
def _stand_in() -> Iterator[str]:
    """Its address, while it runs."""
    command = [sys.executable, "-m", "bench.stand_in"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


async def _measure(*, places: bool, only: str | None) -> int:
    settings = Settings(namespace="", operator_namespace="headrace-system", log_format="json", workers=16)
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:  # noqa: ASYNC230 - once, at the start
        with contextlib.redirect_stdout(nowhere):
            configure_logging(settings)
        return _judged(await _costs(settings, places=places, only=only))


async def _costs(settings: Settings, *, places: bool, only: str | None) -> dict[str, Cost]:
    with _stand_in() as server:
        connection = Connection(server, "default", ssl=False, authorization=lambda: "Bearer a-token")
        registry = CollectorRegistry()
        operator = Operator(settings, connection, registry=registry)
        async with KubeClient(connection) as client:
            await _set_up(client)
            task = asyncio.create_task(operator.run())
            await operator.is_ready.wait()
            costs = {}
            for name, deployment in KINDS:
                if only in {None, name}:
                    costs[name] = await measure(client, registry, name, deployment)
                    told(costs[name], places=places)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await operator.close()
            return costs


def _judged(costs: Mapping[str, Cost]) -> int:
    plain, unlimited, limited = costs.get("flow"), costs.get("deployment"), costs.get("limit")
    figures = []
    if plain is not None:
        figures.append(Figure("operator CPU per run", plain.cpu_ms, "ms", CPU_BUDGET_MS))
        figures.append(Figure("requests per run", sum(plain.requests.values()), "", REQUESTS_BUDGET))
    if unlimited is not None and limited is not None:
        figures.append(Figure("CPU through a limit, times", limited.cpu_ms / unlimited.cpu_ms, "", LIMIT_BUDGET))
    return tell(*figures)


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the tables. Returns 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m bench profile")
    parser.add_argument(
        "--places", action="store_true", help="the functions, too, each with what it calls outside of the stages"
    )
    parser.add_argument("--only", choices=[name for name, _ in KINDS], help="this kind of runs")
    given = parser.parse_args(arguments)
    look_seldom()
    return asyncio.run(_measure(places=given.places, only=given.only))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""
Many runs at once, on simulated nodes with the real scheduler and API server: `python -m bench throughput`.

    requests    what a run asks of the API server, and how soon it has its pod; on a plane with an audit log
    throughput  runs a second, and the CPU of every process a run; Argo Workflows before and after us
    limits      CPU a run through a limit, beside that of runs without one; Argo's semaphore likewise

kwok, which simulates the nodes, is built with Go the first time (bench/kwok), and so is Argo's controller with `--peer`
(bench/peers/argo). Where that one is not built we are measured alone, beside the best figure that it had on two cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.bursts import BENCHMARK, CONTROLLER, Burst, a_stage
from bench.contenders import Contender, Headrace
from bench.figures import Figure, shown, tell
from bench.gotools import ARGO, KWOK
from bench.peers.argo_controller import Argo
from tests.gotools import provide

AUDITED_RUNS = 200
RUNS, ARGO_RUNS = 2_000, 500
LIMITED_RUNS, SLOTS = 1_000, 100
SEMAPHORE_RUNS, SEMAPHORE_SLOTS, SEMAPHORE_PATIENCE_S = 200, 10, 100
"""Through its semaphore Argo's workflows end at one or two a second: those that ended in this time tell what one takes."""
TIMES_BUDGET = 2.5
WRITES_BUDGET = 4.0
REQUESTS_BUDGET = 4.2
CPU_BUDGET_MS = 2.5
LIMIT_BUDGET = 1.3
KNOWN_ARGO_A_SECOND = 31.0
"""The most that was measured of Argo Workflows' controller on two cores, with simulated nodes."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender in one part."""

    name: str
    what: str
    burst: Burst


class Terminal:
    """Shows what takes long."""

    def step(self, text: str) -> None:
        """A line of its own."""
        print(text, file=sys.stderr, flush=True)

    def tick(self, text: str) -> None:
        """Drops it."""


async def measure(peer: type[Argo] | None) -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    contenders: list[type[Contender]] = [Headrace, *([peer] if peer else [])]
    requests = [await _one(each, "requests", AUDITED_RUNS, audit=True) for each in contenders]
    show_requests(requests)
    before = [await _one(peer, "throughput", ARGO_RUNS)] if peer else []
    ours = await _one(Headrace, "throughput", RUNS)
    theirs = [*before, *([await _one(peer, "throughput", ARGO_RUNS)] if peer else [])]
    show_bursts([*theirs, ours])
    limits = await _limits(Headrace, LIMITED_RUNS, SLOTS)
    semaphores = await _limits(peer, SEMAPHORE_RUNS, SEMAPHORE_SLOTS, patience_s=SEMAPHORE_PATIENCE_S) if peer else []
    show_bursts([*limits, *semaphores])
    if semaphores:
        print(f"a semaphore of Argo's: {_times(semaphores):.1f} times the CPU of its controller without one")
    return _judged(requests[0].burst, ours.burst, [each.burst for each in theirs], _times(limits))


async def _one(enters: type[Contender], what: str, runs: int, *, audit: bool = False) -> Measured:
    print(f"{what}: {enters.name}, {runs:,} runs", file=sys.stderr, flush=True)
    async with a_stage(enters, slots=1, audit=audit) as stage:
        return Measured(enters.name, what, await stage.burst(runs))


async def _limits(enters: type[Contender], runs: int, slots: int, *, patience_s: float = 300) -> list[Measured]:
    """Without the limit, then through it."""
    print(f"limits: {enters.name}, {runs:,} runs without a limit, and through one of {slots}", file=sys.stderr)
    async with a_stage(enters, slots=slots) as stage:
        free = await stage.burst(runs)
        limited = await stage.burst(runs, limited=True, within_s=patience_s)
    return [Measured(enters.name, "no limit", free), Measured(enters.name, f"limit of {slots}", limited)]


def _times(limits: Sequence[Measured]) -> float:
    """The controller's CPU a run through the limit, as a multiple of that without."""
    free, limited = (each.burst.controller_ms for each in limits)
    return limited / free


def show_requests(measured: Sequence[Measured]) -> None:
    """A table of requests and waits."""
    print(f"\n{'requests a run':<28}{'all':>7}{'writes':>8}{'pod after ms p50':>18}{'p99':>9}")
    for each in measured:
        burst = each.burst
        waits = f"{burst.wait_s(50) * 1e3:>18,.0f}{burst.wait_s(99) * 1e3:>9,.0f}"
        print(f"{each.name:<28}{sum(burst.requests.values()):>7.2f}{burst.writes:>8.2f}{waits}")
        most = sorted(burst.requests.items(), key=lambda item: -item[1])
        print("  " + ", ".join(f"{what} {count:.2f}" for what, count in most if count >= 0.01))


def show_bursts(measured: Sequence[Measured]) -> None:
    """A table of speed, and of each process's CPU a run."""
    parts = ("apiserver", "etcd", "scheduler", "controller-manager", "kwok", BENCHMARK)
    head = f"{'CPU ms a run':<42}{'ended':>7}{'runs/s':>8}{'pod s p50':>11}{'p99':>6}{'MiB':>6}{CONTROLLER:>16}"
    print(f"\n{head}" + "".join(f"{_short(part):>11}" for part in parts) + f"{'all':>8}")
    for each in measured:
        burst = each.burst
        line = f"{each.name + ', ' + each.what:<42}{burst.runs:>7,}{burst.runs_a_second:>8.1f}"
        line += f"{burst.wait_s(50):>11.0f}{burst.wait_s(99):>6.0f}{burst.peak_mib:>6.0f}{burst.controller_ms:>16.2f}"
        cpu = "".join(f"{burst.cpu_ms[part]:>11.2f}" for part in parts)
        print(f"{line}{cpu}{sum(burst.cpu_ms.values()):>8.1f}")


def _short(part: str) -> str:
    return {"controller-manager": "kcm", BENCHMARK: "benchmark"}.get(part, part)


def _judged(requests: Burst, ours: Burst, theirs: Sequence[Burst], limit_times: float) -> int:
    """Prints what has a budget. Returns 1 if one is exceeded."""
    argo = max((each.runs_a_second for each in theirs), default=KNOWN_ARGO_A_SECOND)
    whose = (
        "measured"
        if theirs
        else f"not built here (--peer builds it), {shown(KNOWN_ARGO_A_SECOND)} a second taken for it"
    )
    print(f"\n{ours.runs:,} runs, {ours.runs_a_second:.1f} a second on {os.cpu_count()} cores that all parts share")
    print(f"Argo's controller: {whose}; headrace is {ours.runs_a_second / argo:.2f} times as fast")
    if theirs:
        cpu = min(each.controller_ms for each in theirs) / ours.controller_ms
        print(f"Argo's controller takes {cpu:.1f} times the CPU")
    return tell(
        Figure(f"of {RUNS:,} runs, not Succeeded", RUNS - ours.runs, "", 0),
        Figure(f"seconds a run, {TIMES_BUDGET} times over Argo's", argo * TIMES_BUDGET / ours.runs_a_second, "", 1.0),
        Figure("operator CPU a run", ours.controller_ms, "ms", CPU_BUDGET_MS),
        Figure("writes a run", requests.writes, "", WRITES_BUDGET),
        Figure("requests a run", sum(requests.requests.values()), "", REQUESTS_BUDGET),
        Figure(f"operator CPU through a limit of {SLOTS}", limit_times, "times", LIMIT_BUDGET),
    )


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the figures; with `--peer` Argo is built where it is not. Returns 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m bench throughput")
    parser.add_argument("--peer", action="store_true", help="build Argo's controller where it is not built yet")
    options = parser.parse_args(arguments)
    provide(KWOK, Terminal())
    if options.peer:
        provide(ARGO, Terminal())
    return asyncio.run(measure(Argo if ARGO.is_built else None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

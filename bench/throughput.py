"""
Many runs at once, on simulated nodes with the real scheduler and API server: `python -m bench throughput`.

    requests    what a run asks of the API server, and how soon it has its pod; on a plane with an audit log
    throughput  runs a second, and the CPU of every process a run; Argo Workflows and we in turn, then pods alone
    limits      CPU a run through a limit, beside that of runs without one, in turn; Argo's semaphore likewise

A shared machine is faster in one minute than in the next, by half at times. So what is compared takes turns, and its means are compared.

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
from bench.contenders import BarePods, Contender, Headrace
from bench.figures import Figure, shown, tell
from bench.gotools import ARGO, KWOK
from bench.peers.argo_controller import Argo
from tests.gotools import provide

AUDITED_RUNS = 200
RUNS = 2_000
TURNS = 2
LIMITED_RUNS, SLOTS, LIMITED_TURNS = 1_000, 100, 3
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
    contenders: list[type[Contender]] = [*([peer] if peer else []), Headrace]
    requests = [await _one(each, "requests", AUDITED_RUNS, audit=True) for each in contenders]
    show_requests(requests)
    measured = [await _one(each, "throughput", RUNS) for _ in range(TURNS) for each in contenders]
    bare = await _one(BarePods, "throughput", RUNS)
    show_bursts([*measured, bare])
    ours = [each.burst for each in measured if each.name == Headrace.name]
    theirs = [each.burst for each in measured if each.name != Headrace.name]
    free, limited = await _limits(Headrace, LIMITED_RUNS, SLOTS, turns=LIMITED_TURNS)
    if peer:
        alone, waited = await _limits(peer, SEMAPHORE_RUNS, SEMAPHORE_SLOTS, within_s=SEMAPHORE_PATIENCE_S)
        print(
            f"a semaphore of Argo's: {_cpu_ms(waited) / _cpu_ms(alone):.1f} times the CPU of its controller without one"
        )
    show_most(ours, theirs, bare.burst)
    return _judged(requests[-1].burst, ours, theirs, _cpu_ms(limited) / _cpu_ms(free))


async def _one(enters: type[Contender], what: str, runs: int, *, audit: bool = False) -> Measured:
    print(f"{what}: {enters.name}, {runs:,} runs", file=sys.stderr, flush=True)
    async with a_stage(enters, slots=1, audit=audit) as stage:
        return Measured(enters.name, what, await stage.burst(runs))


async def _limits(
    enters: type[Contender], runs: int, slots: int, *, turns: int = 1, within_s: float = 300
) -> tuple[list[Burst], list[Burst]]:
    """Without the limit, and through it; prints both."""
    print(f"limits: {enters.name}, {runs:,} runs without a limit, and through one of {slots}", file=sys.stderr)
    free, limited = [], []
    async with a_stage(enters, slots=slots) as stage:
        for _ in range(turns):
            free.append(await stage.burst(runs))
            limited.append(await stage.burst(runs, limited=True, within_s=within_s))
    both = {"no limit": free, f"limit of {slots}": limited}
    show_bursts([Measured(enters.name, what, burst) for what, bursts in both.items() for burst in bursts])
    return free, limited


def _cpu_ms(bursts: Sequence[Burst]) -> float:
    """The controller's CPU a run."""
    return sum(each.controller_ms * each.runs for each in bursts) / sum(each.runs for each in bursts)


def _a_second(bursts: Sequence[Burst]) -> float:
    """Runs that succeeded a second."""
    return sum(each.runs for each in bursts) / sum(each.seconds for each in bursts)


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


def show_most(ours: Sequence[Burst], theirs: Sequence[Burst], bare: Burst) -> None:
    """What is left to be won: a controller that costs nothing, with runs that are no objects, would be as fast as pods alone."""
    most = bare.runs_a_second
    print(f"\npods alone: {most:.1f} a second; headrace has {_a_second(ours) / most:.0%} of that")
    if theirs:
        print(
            f"they are {most / _a_second(theirs):.2f} times as many as Argo's workflows: no controller can be faster here"
        )


def _short(part: str) -> str:
    return {"controller-manager": "kcm", BENCHMARK: "benchmark"}.get(part, part)


def _judged(requests: Burst, ours: Sequence[Burst], theirs: Sequence[Burst], limit_times: float) -> int:
    """Prints what has a budget. Returns 1 if one is exceeded."""
    argo = _a_second(theirs) if theirs else KNOWN_ARGO_A_SECOND
    whose = (
        f"{argo:.1f} a second" if theirs else f"not built here (--peer builds it), {shown(argo)} a second taken for it"
    )
    print(f"\n{RUNS:,} runs, {_a_second(ours):.1f} a second on {os.cpu_count()} cores that all parts share")
    print(f"Argo's controller: {whose}; headrace is {_a_second(ours) / argo:.2f} times as fast")
    if theirs:
        print(f"Argo's controller takes {_cpu_ms(theirs) / _cpu_ms(ours):.1f} times the CPU")
    return tell(
        Figure(f"of {RUNS:,} runs, not Succeeded", RUNS - min(each.runs for each in ours), "", 0),
        Figure(f"seconds a run, {TIMES_BUDGET} times over Argo's", argo * TIMES_BUDGET / _a_second(ours), "", 1.0),
        Figure("operator CPU a run", _cpu_ms(ours), "ms", CPU_BUDGET_MS),
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

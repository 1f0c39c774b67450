"""
10,000 runs under each kind of fault, on an API simulated in memory: `python -m bench faults [--runs N] [--processes N] [--kinds KIND …]`.

Each kind is tried in as many clusters as it takes, of 500 runs each, with other dice for each (tests/simulated/suite.py). As many
clusters as there are cores are tried at the same time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from time import process_time

from bench.figures import Figure, tell
from headrace_operator.settings import Settings
from headrace_operator.telemetry.logging import configure_logging
from tests.simulated.suite import tried
from tests.simulated.trials import TRIALS

RUNS = 10_000
RUNS_OF_CLUSTER = 500
"""What an operator lists when it starts anew grows with the runs: ten thousand in one cluster would take hours of lists alone."""


@dataclass(frozen=True)
class Attempt:
    """What came of one cluster: what was found wrong in words, how many faults there were, and the CPU time in seconds."""

    found: list[str]
    faults: int
    cpu_s: float


def attempt(name: str, runs: int, seed: int) -> Attempt:
    """One cluster of so many runs; the same seed has the same things happen."""
    configure_logging(Settings(log_level="error"))
    began_s = process_time()
    verdict = tried(TRIALS[name], runs, seed=seed)
    found = [f"cluster {seed}, {what}: {line}" for what, lines in verdict.found.items() for line in lines]
    return Attempt(found, verdict.faults, process_time() - began_s)


def main(options: Sequence[str] = ()) -> int:
    """Prints a line for each kind. Returns 1 if anything was violated under any."""
    chosen = _parser().parse_args(options)
    kinds, found = chosen.kinds or list(TRIALS), 0
    sizes = _sizes(chosen.runs)
    with ProcessPoolExecutor(max_workers=chosen.processes) as processes:
        pending = {
            kind: [processes.submit(attempt, kind, size, seed) for seed, size in enumerate(sizes, start=1)]
            for kind in kinds
        }
        for kind, attempts in pending.items():
            found += _told(kind, [each.result() for each in attempts], chosen.runs)
    return tell(Figure(f"violations under {len(kinds)} kinds of faults, {chosen.runs:,} runs each", found, "", 0))


def _told(kind: str, attempts: Sequence[Attempt], runs: int) -> int:
    found = [line for each in attempts for line in each.found]
    faults, cpu_s = sum(each.faults for each in attempts), sum(each.cpu_s for each in attempts)
    told = f"{len(found)} violations, such as {found[0]}" if found else "nothing"
    print(
        f"{kind:<42} {runs:,} runs, {len(attempts)} clusters, {faults:,} faults: {told} ({cpu_s:.0f} s of CPU)",
        flush=True,
    )
    return len(found)


def _sizes(runs: int) -> list[int]:
    """How many runs each cluster has."""
    whole, rest = divmod(runs, RUNS_OF_CLUSTER)
    return [RUNS_OF_CLUSTER] * whole + [rest] * bool(rest)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench faults")
    parser.add_argument("--runs", type=int, default=RUNS, help="under each kind (%(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="clusters at the same time (%(default)s)")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(TRIALS), metavar="KIND", help="only these: " + ", ".join(TRIALS)
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

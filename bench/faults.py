"""
10,000 runs under each kind of fault, on an API simulated in memory: `python -m bench faults [--runs N] [--processes N] [--kinds KIND …]`.

Each kind is one run of tests/simulated/suite.py. As many kinds as there are cores are tried at the same time.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from time import process_time

from bench.figures import Figure, tell
from headrace_operator.settings import Settings
from headrace_operator.telemetry.logging import configure_logging
from tests.simulated.suite import tried
from tests.simulated.trials import TRIALS

RUNS = 10_000


def attempt(name: str, runs: int) -> tuple[str, str, int, float]:
    """The name, what came of it in words, how many violations were found, and the CPU time that it took in seconds."""
    configure_logging(Settings(log_level="error"))
    began_s = process_time()
    verdict = tried(TRIALS[name], runs)
    return name, str(verdict), sum(map(len, verdict.found.values())), process_time() - began_s


def main(options: Sequence[str] = ()) -> int:
    """Prints a line for each kind. Returns 1 if anything was violated under any."""
    chosen = _parser().parse_args(options)
    kinds, found = chosen.kinds or list(TRIALS), 0
    with ProcessPoolExecutor(max_workers=chosen.processes, max_tasks_per_child=1) as processes:
        for name, told, violations, cpu_s in processes.map(attempt, kinds, repeat(chosen.runs)):
            print(f"{name:<36} {told} ({cpu_s:.0f} s of CPU)", flush=True)
            found += violations
    return tell(Figure(f"violations under {len(kinds)} kinds of faults, {chosen.runs:,} runs each", found, "", 0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench faults")
    parser.add_argument("--runs", type=int, default=RUNS, help="under each kind (%(default)s)")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="kinds at the same time (%(default)s)")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(TRIALS), metavar="KIND", help="only these: " + ", ".join(TRIALS)
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

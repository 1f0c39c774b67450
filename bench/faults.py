"""
10,000 runs under each kind of fault, on an API simulated in memory: `python -m bench faults`.

Each kind is one run of tests/simulated/suite.py; HEADRACE_FAULT_RUNS sets the number of runs. As many kinds as there are
cores are tried at the same time.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from time import process_time

from bench.figures import Figure, tell
from headrace_operator.settings import Settings
from headrace_operator.telemetry.logging import configure_logging
from tests.simulated.suite import tried
from tests.simulated.trials import TRIALS

RUNS = int(os.environ.get("HEADRACE_FAULT_RUNS", "10000"))


def attempt(name: str) -> tuple[str, str, int, float]:
    """The name, what came of it in words, how many violations were found, and the CPU time that it took in seconds."""
    configure_logging(Settings(log_level="error"))
    began_s = process_time()
    verdict = tried(TRIALS[name], RUNS)
    return name, str(verdict), sum(map(len, verdict.found.values())), process_time() - began_s


def main() -> int:
    """Prints a line for each kind. Returns 1 if anything was violated under any."""
    found = 0
    with ProcessPoolExecutor(max_workers=os.cpu_count(), max_tasks_per_child=1) as processes:
        for name, told, violations, cpu_s in processes.map(attempt, TRIALS):
            print(f"{name:<36} {told} ({cpu_s:.0f} s of CPU)", flush=True)
            found += violations
    return tell(Figure(f"violations under {len(TRIALS)} kinds of faults, {RUNS:,} runs each", found, "", 0))


if __name__ == "__main__":
    sys.exit(main())

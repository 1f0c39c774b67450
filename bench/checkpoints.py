"""
What it costs to keep the result of a task: `python bench/checkpoints.py`.

A called task without a results URL, beside one whose result goes to a folder in memory, to one on the disk (each is
brought to the disk before the task counts as ended), and one whose result is there already.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from headrace import flow, task
from headrace.engine import logs
from headrace.engine.session import Session, using

CALLS = 300
ROUNDS = 5
MEMORY = Path("/dev/shm")


@task
def step(x: int) -> int:
    return x + 1


@flow
def calls() -> float:
    began_s = time.perf_counter()
    for x in range(CALLS):
        step(x)
    return (time.perf_counter() - began_s) / CALLS * 1e6


def attempt_us(url: str, run: str, attempt: int = 1) -> float:
    """Microseconds for each task of an attempt of that run."""
    with using(Session(flow_run=run, flow_run_uid="u", namespace="bench", attempt=attempt, results_url=url)):
        return calls()


def main() -> int:
    """Prints the figures."""
    logs.use_json_lines()
    logs.LOGGER.setLevel(logging.WARNING)
    told("called, no results URL", [attempt_us("", "r") for _ in range(ROUNDS)])
    for where, base in (("in memory", MEMORY if MEMORY.is_dir() else None), ("on the disk", None)):
        with tempfile.TemporaryDirectory(dir=base) as folder:
            url = Path(folder).as_uri()
            told(f"called, stored {where}", [attempt_us(url, f"r-{number}") for number in range(ROUNDS)])
            told(f"called, found {where}", [attempt_us(url, f"r-{number}", 2) for number in range(ROUNDS)])
    return 0


def told(name: str, figures: list[float]) -> None:
    """Prints the figures of one case."""
    print(f"{name:<30} {median(figures):8.1f} µs a task, median; {min(figures):7.1f} fastest")


if __name__ == "__main__":
    sys.exit(main())

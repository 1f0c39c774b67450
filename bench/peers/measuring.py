"""How each contender measures itself: `python -m bench.peers.with_… CASE TASKS FILE` writes seconds as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Case = Callable[[int], tuple[int, float]]
"""Runs so many tasks, which add 1 to the numbers from 0. Returns the sum of what came out, and the seconds that it took."""


def measure(cases: Mapping[str, Case]) -> None:
    """Runs the case that the command line names, after a hundredth of it to warm up."""
    case, tasks, path = cases[sys.argv[1]], int(sys.argv[2]), Path(sys.argv[3])
    case(tasks // 100)
    outcome, seconds = case(tasks)
    assert outcome == tasks * (tasks + 1) // 2, outcome
    path.write_text(json.dumps(seconds))


def timed(work: Callable[[], int]) -> tuple[int, float]:
    """What it returns, and the seconds that it took."""
    began_s = time.perf_counter()
    outcome = work()
    return outcome, time.perf_counter() - began_s

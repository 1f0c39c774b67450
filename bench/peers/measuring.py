"""How each contender measures itself: `python -m bench.peers.with_… CASE TASKS ROUNDS FILE` writes seconds as JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Case = Callable[[int], Callable[[], object]]
"""Given a number of tasks, what runs so many of them; it returns the sum of 1 to that number."""


def measure(cases: Mapping[str, Case]) -> None:
    """Runs the case that the command line names so many times, after a tenth of it to warm up."""
    case, tasks, rounds, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    cases[case](tasks // 10)()
    run = cases[case](tasks)
    seconds = []
    for _ in range(rounds):
        began_s = time.perf_counter()
        outcome = run()
        seconds.append(time.perf_counter() - began_s)
        assert outcome == tasks * (tasks + 1) // 2, outcome
    path.write_text(json.dumps(seconds))

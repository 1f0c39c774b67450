"""
What `from headrace import flow, task` costs over an empty interpreter: `python -m bench import`.

Both are timed in one run, alternating, so that a busy machine slows both; the medians and the fastest are told.
"""

from __future__ import annotations

import subprocess
import sys
import time
from statistics import median

from bench.figures import Figure, tell

BUDGET_MS = 60.0
ROUNDS = 25
CODE = {"empty": "pass", "headrace": "from headrace import flow, task"}


def started_ms(code: str) -> float:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - began_s) * 1e3


def main() -> int:
    """Prints the figures. Returns 1 if the budget is exceeded."""
    times: dict[str, list[float]] = {name: [] for name in CODE}
    for _ in range(ROUNDS):
        for name, code in CODE.items():
            times[name].append(started_ms(code))
    empty, ours = median(times["empty"]), median(times["headrace"])
    fastest = min(times["headrace"]) - min(times["empty"])
    print(f"empty interpreter {empty:.1f} ms, with headrace {ours:.1f} ms: {ours / empty:.2f} times")
    print(f"over the empty interpreter: {ours - empty:.1f} ms median, {fastest:.1f} ms fastest")
    return tell(Figure("import over an empty interpreter", min(ours - empty, fastest), "ms", BUDGET_MS))


if __name__ == "__main__":
    sys.exit(main())

"""
`python -m bench [NAME …]`: all benchmarks, or those named; the exit status is 1 if a budget is exceeded.

At the end of several, a table tells each figure that has a budget.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import checkpoints, import_time, mapping, nested_json, operator, queue, task_overhead
from bench.figures import FILE_ENV, row, taken_from
from bench.peers import compare

BENCHMARKS: Mapping[str, Callable[[], int]] = {
    "peers": compare.main,
    "import": import_time.main,
    "task": task_overhead.main,
    "checkpoints": checkpoints.main,
    "mapping": mapping.main,
    "nested-json": nested_json.main,
    "operator": operator.main,
    "queue": queue.main,
}


def main(names: list[str]) -> int:
    """Runs them one after the other. Returns the worst of their exit statuses."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
        return 2
    if len(names) == 1:
        return BENCHMARKS[names[0]]()
    return _several(names or list(BENCHMARKS))


def _several(names: list[str]) -> int:
    worst, table = 0, []
    with tempfile.TemporaryDirectory() as folder:
        figures = Path(folder, "figures")
        figures.touch()
        for name in names:
            print(f"\n== {name}", flush=True)
            # In a process of its own: what one leaves behind (handlers, warm caches) is not the next one's.
            command, environment = [sys.executable, "-m", "bench", name], {**os.environ, FILE_ENV: str(figures)}
            status = subprocess.run(command, check=False, env=environment).returncode
            told = taken_from(figures)
            table += [row(name, figure) for figure in told] or [f"{name:<12} no figures: exit status {status}"]
            worst = max(worst, abs(status))
    print("\n== all figures that have a budget", *table, sep="\n")
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

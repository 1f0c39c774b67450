"""`python -m bench [NAME …]`: all benchmarks, or those named; the exit status is 1 if a budget is exceeded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping

from bench import checkpoints, import_time, mapping, nested_json, operator, queue, task_overhead

BENCHMARKS: Mapping[str, Callable[[], int]] = {
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
    worst = 0
    for name in names or BENCHMARKS:
        print(f"\n== {name}", flush=True)
        # In a process of its own: what one leaves behind (handlers, warm caches) is not the next one's.
        worst = max(worst, subprocess.run([sys.executable, "-m", "bench", name], check=False).returncode)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

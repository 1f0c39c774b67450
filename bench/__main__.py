"""
`python -m bench [NAME …]`: all benchmarks, or those named; the exit status is 1 if a budget is exceeded. `NAME --OPTION …` passes options on.

Without names those that take many minutes run with `--all` only. At the end of several, a table tells each figure that has a budget.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path

from bench.figures import FILE_ENV, row, taken_from

BENCHMARKS: Mapping[str, str] = {
    "peers": "bench.peers.compare",
    "import": "bench.import_time",
    "cli": "bench.command_line",
    "task": "bench.task_overhead",
    "checkpoints": "bench.checkpoints",
    "mapping": "bench.mapping",
    "nested-json": "bench.nested_json",
    "operator": "bench.operator",
    "queue": "bench.queue",
    "backfill": "bench.backfill",
    "history": "bench.history",
    "dashboard": "bench.dashboard",
    "throughput": "bench.throughput",
    "profile": "bench.event_path",
    "takeover": "bench.takeover",
    "restart": "bench.restart",
    "soak": "bench.soak",
    "simulated": "bench.simulated",
    "faults": "bench.faults",
}
"""Modules by name; each has a `main` that returns an exit status."""

LONG = frozenset({"backfill", "throughput", "soak", "faults"})
"""Left out unless they are named, or `--all` is."""
ALL = "--all"


def main(names: list[str]) -> int:
    """Runs them one after the other. Returns the worst of their exit statuses."""
    if names in (["--help"], ["-h"]):
        print(__doc__.strip(), f"The names: {', '.join(BENCHMARKS)}", sep="\n\n")
        return 0
    if len(names) > 1 and names[0] in BENCHMARKS and names[1].startswith("-"):
        return _with_options(names[0], names[1:])
    if names in ([], [ALL]):
        return _several([name for name in BENCHMARKS if names or name not in LONG])
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(BENCHMARKS)}")
        return 2
    if len(names) == 1:
        status: int = import_module(BENCHMARKS[names[0]]).main()
        return status
    return _several(names)


def _with_options(name: str, options: list[str]) -> int:
    run = import_module(BENCHMARKS[name]).main
    if not signature(run).parameters:
        print(f"{name} takes no options, and was given: {' '.join(options)}")
        return 2
    status: int = run(options)
    return status


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
            table += [row(name, figure) for figure in told] or [f"{name:<12} {_without_figures(status)}"]
            worst = max(worst, abs(status))
    print("\n== all figures that have a budget", *table, sep="\n")
    return worst


def _without_figures(status: int) -> str:
    return f"broke off with exit status {status}" if status else "ran; none of its figures has a budget"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

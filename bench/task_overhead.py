"""
What a trivial task inside a flow costs over a plain call: `python -m bench task`.

With the log as in a pod (two JSON lines a task, to nowhere), and with its level at WARNING.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

from bench.figures import Figure, tell
from headrace import flow, task
from headrace.engine import logs

BUDGET_US = 100.0
CALLS = 2000
ROUNDS = 7


def plain(x: int) -> int:
    return x + 1


@task
def step(x: int) -> int:
    return x + 1


@task
async def step_on_loop(x: int) -> int:
    return x + 1


@flow
def calls(times: int) -> float:
    began_s = time.perf_counter()
    for x in range(times):
        step(x)
    return (time.perf_counter() - began_s) / times * 1e6


@flow
async def awaits(times: int) -> float:
    began_s = time.perf_counter()
    for x in range(times):
        await step_on_loop(x)
    return (time.perf_counter() - began_s) / times * 1e6


@flow
def submits(times: int) -> float:
    began_s = time.perf_counter()
    for future in step.map(range(times)):
        future.result()
    return (time.perf_counter() - began_s) / times * 1e6


def plain_us() -> float:
    began_s = time.perf_counter()
    for x in range(CALLS):
        plain(x)
    return (time.perf_counter() - began_s) / CALLS * 1e6


CASES: dict[str, Callable[[], float]] = {
    "plain call": plain_us,
    "task called": lambda: calls(CALLS),
    "task awaited": lambda: asyncio.run(awaits(CALLS)),
    "task mapped over threads": lambda: submits(CALLS),
}


def main() -> int:
    """Prints the figures. Returns 1 if a called task exceeds the budget with its log lines."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        logs.use_json_lines()
        worst = _measure()
    return tell(Figure("a called task with its log lines", worst, "µs", BUDGET_US))


def _measure() -> float:
    """Prints the figures of each case, to stderr as stdout takes the log; the fastest called task with its log lines."""
    worst = 0.0
    for level in (logging.INFO, logging.WARNING):
        logs.LOGGER.setLevel(level)
        for name, measure in CASES.items():
            figures = [measure() for _ in range(ROUNDS)]
            worst = max(worst, min(figures)) if name == "task called" else worst
            label = f"{name}, log level {logging.getLevelName(level)}"
            print(f"{label:<45} {median(figures):7.1f} µs median, {min(figures):6.1f} fastest", file=sys.stderr)
    return worst


if __name__ == "__main__":
    sys.exit(main())

"""
10,000 mapped tasks beside plain Python: `python -m bench mapping`.

Time of `map()` and its results, all at once and 100 at a time, with the log as in a pod; and the memory that a
generator of 50,000 inputs takes, 100 at a time.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

from bench.figures import Figure, tell
from headrace import flow, task
from headrace.engine import logs

INPUTS = 10_000
MANY = 50_000
ROUNDS = 5
BUDGET_S = 2.0
BUDGET_MIB = 8.0


def plain(x: int) -> int:
    return x + 1


step = task(name="step")(plain)


@task
async def step_on_loop(x: int) -> int:
    return x + 1


@flow
def maps() -> int:
    return sum(step.map(range(INPUTS)).result())


@flow
def maps_bounded(inputs: int = INPUTS) -> int:
    return sum(future.result() for future in step.map(iter(range(inputs)), max_concurrency=100))


@flow
async def maps_on_loop() -> int:
    return sum(await step_on_loop.map(range(INPUTS)))


def in_threads() -> int:
    with ThreadPoolExecutor(32) as pool:
        return sum(pool.map(plain, range(INPUTS)))


CASES: dict[str, Callable[[], int]] = {
    "plain Python": lambda: sum(map(plain, range(INPUTS))),
    "ThreadPoolExecutor.map": in_threads,
    "map()": maps,
    "map(max_concurrency=100)": maps_bounded,
    "map() of coroutines": lambda: asyncio.run(maps_on_loop()),
}


def main() -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere):
        logs.use_json_lines()
        worst_s = max([_fastest_s(name, of) for name, of in CASES.items()])
        memory_mib = _memory_mib()
    return tell(
        Figure(f"{INPUTS:,} mapped tasks, the slowest way", worst_s, "s", BUDGET_S),
        Figure(f"memory for {MANY:,} inputs, 100 at a time", memory_mib, "MiB", BUDGET_MIB),
    )


def _fastest_s(name: str, of: Callable[[], int]) -> float:
    """Seconds; the figures go to stderr, as stdout takes the log."""
    figures = []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        assert of() == INPUTS * (INPUTS + 1) // 2
        figures.append(time.perf_counter() - began_s)
    print(f"{name:<28} {median(figures):7.3f} s median, {min(figures):7.3f} s fastest", file=sys.stderr)
    return min(figures)


def _memory_mib() -> float:
    """The most memory that Python's allocator held more than before, while a long generator was mapped."""
    logs.LOGGER.setLevel(logging.WARNING)
    maps_bounded(INPUTS)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    maps_bounded(MANY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return (peak - before) / 2**20


if __name__ == "__main__":
    sys.exit(main())

"""Plain Python: calls of a function, and the thread pool of the standard library."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from bench.peers.measuring import measure


def step(x: int) -> int:
    return x + 1


def called(tasks: int) -> Callable[[], int]:
    return lambda: sum(step(x) for x in range(tasks))


def mapped(tasks: int) -> Callable[[], int]:
    def run() -> int:
        with ThreadPoolExecutor(32) as pool:
            return sum(pool.map(step, range(tasks)))

    return run


if __name__ == "__main__":
    measure({"called": called, "mapped": mapped})

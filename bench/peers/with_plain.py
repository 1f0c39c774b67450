"""Plain Python: calls of a function, and the thread pool of the standard library."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from bench.peers.measuring import measure, timed


def step(x: int) -> int:
    return x + 1


def called(tasks: int) -> tuple[int, float]:
    return timed(lambda: sum(step(x) for x in range(tasks)))


def mapped(tasks: int) -> tuple[int, float]:
    with ThreadPoolExecutor(32) as pool:
        return timed(lambda: sum(pool.map(step, range(tasks))))


if __name__ == "__main__":
    measure({"called": called, "mapped": mapped})

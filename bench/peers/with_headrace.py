"""Headrace as on a laptop: threads, and two lines of the log a task."""

from __future__ import annotations

from bench.peers.measuring import measure, timed
from headrace import flow, task


@task
def step(x: int) -> int:
    return x + 1


@flow
def called(tasks: int) -> tuple[int, float]:
    return timed(lambda: sum(step(x) for x in range(tasks)))


@flow
def mapped(tasks: int) -> tuple[int, float]:
    return timed(lambda: sum(step.map(range(tasks)).result()))


if __name__ == "__main__":
    measure({"called": called, "mapped": mapped})

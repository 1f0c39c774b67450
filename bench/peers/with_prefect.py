"""Prefect without a server of its own: it starts one for the process. Threads, and one line of the log a task."""

from __future__ import annotations

from prefect import flow, task

from bench.peers.measuring import measure, timed


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

"""Prefect without a server of its own: it starts one for the process. Threads, and one line of the log a task."""

from __future__ import annotations

from collections.abc import Callable

from prefect import flow, task

from bench.peers.measuring import measure


@task
def step(x: int) -> int:
    return x + 1


def called(tasks: int) -> Callable[[], int]:
    @flow
    def calls() -> int:
        return sum(step(x) for x in range(tasks))

    return calls


def mapped(tasks: int) -> Callable[[], int]:
    @flow
    def maps() -> int:
        return sum(step.map(range(tasks)).result())

    return maps


if __name__ == "__main__":
    measure({"called": called, "mapped": mapped})

"""
Dagster in this process, with an instance in memory; at INFO it logs no line for an op that succeeds.

Its graphs are fixed before they run: a job of so many ops stands for calls, one with a dynamic output for mapping.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dagster import DagsterInstance, DynamicOut, DynamicOutput, JobDefinition, job, op

from bench.peers.measuring import measure, timed

LOGGERS = {"console": {"config": {"log_level": "INFO"}}}


@op
def step(x: int) -> int:
    return x + 1


@op
def total(steps: list[int]) -> int:
    return sum(steps)


def called(tasks: int) -> tuple[int, float]:
    @job
    def calls() -> None:
        total([step.alias(f"step_{x}")() for x in range(tasks)])

    return _run(calls, {f"step_{x}": {"inputs": {"x": {"value": x}}} for x in range(tasks)})


def mapped(tasks: int) -> tuple[int, float]:
    @op(out=DynamicOut())
    def inputs() -> Iterator[Any]:
        for x in range(tasks):
            yield DynamicOutput(x, mapping_key=str(x))

    @job
    def maps() -> None:
        total(inputs().map(step).collect())

    return _run(maps, {})


def _run(of: JobDefinition, ops: dict[str, Any]) -> tuple[int, float]:
    with DagsterInstance.ephemeral() as instance:
        config = {"ops": ops, "loggers": LOGGERS}
        return timed(lambda: of.execute_in_process(instance=instance, run_config=config).output_for_node("total"))


if __name__ == "__main__":
    measure({"called": called, "mapped": mapped})

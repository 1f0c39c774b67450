"""Flows for the tests of remote tasks; loaded by this process and by that of the task."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from headrace import Pod, RetryRun, flow, get_run_logger, runtime, task

GPU = Pod(resources={"nvidia.com/gpu": 1, "memory": "1Gi"}, pools=["gpu"], timeout_seconds=600)


@dataclass
class Point:
    x: int
    y: tuple


class Odd(Exception):
    def __init__(self, number):
        super().__init__(number)
        self.number = number


class TakesMore(Exception):
    """What is pickled by its one argument cannot be made anew with it."""

    def __init__(self, one, two):
        super().__init__(one)


@task(pod=GPU)
def shifted(point, by=1):
    get_run_logger().info("in process %d", os.getpid())
    return Point(point.x + by, (*point.y, os.getpid()))


@task(pod=Pod(), retries=2, retry_delay_seconds=0)
def told(kind="value"):
    run = runtime.flow_run
    if kind == "odd":
        raise Odd(7)
    if kind == "more":
        raise TakesMore("one", "two")
    if kind == "again":
        raise RetryRun("busy", delay_seconds=5)
    if kind == "lock":
        return Path(os.devnull).open()
    return {"run": run.name, "id": run.id, "task_run": runtime.task_run.name, "parameters": dict(run.parameters)}


@task(pod=Pod(), result_serializer="pickle")
def pickled():
    return [1]


@task(pod=Pod(), timeout_seconds=0.1)
def slow():
    time.sleep(20)


@task(pod=Pod())
async def on_loop(x):
    return x + 1


class Model:
    def __init__(self, weight):
        self.weight = weight

    @task(pod=Pod())
    def scored(self, x):
        return self.weight * x


def hidden(x):
    return x


unreachable = task(name="other", pod=Pod())(hidden)


@flow
def main():
    return shifted(Point(1, ()), by=2)

"""Flows for the tests of the pod; loaded by another process."""

import asyncio
import logging
import sys
import threading
import time
from datetime import date

from pydantic import BaseModel

from headrace import RetryRun, flow, pause, runtime, task

tries = []


@task(retries=1)
def add(n):
    tries.append(n)
    if len(tries) == 1:
        raise ConnectionError("refused")
    return n + 1


@flow
def adds(day: date, n: int = 0):
    result = add(add(n))
    print("printed as it is")
    logging.getLogger("library").warning("from a library")
    return day, result


@flow
def tells(n: int):
    run = runtime.flow_run
    return [
        run.name,
        run.flow_name,
        run.attempt,
        run.scheduled_time,
        run.deployment,
        run.namespace,
        run.id,
        run.parameters,
    ]


@task
def bad():
    raise ValueError("no\nway   out")


@flow(retries=3)
def fails():
    bad()


@flow
def fails_itself():
    return {}["x"]


@flow(retries=3)
def asks():
    raise RetryRun("database is busy", delay_seconds=17)


@flow(timeout_seconds=0.05)
def takes_long():
    threading.Event().wait()


@flow(timeout_seconds=0.05)
async def takes_long_on_loop():
    await asyncio.Event().wait()


@task(timeout_seconds=0.05)
def long():
    threading.Event().wait()


@flow
def task_takes_long():
    long()


@flow
def leaves():
    sys.exit(0)


def plain():
    return None


@flow
def needs(day: date):
    return day


def clean_up():
    print("cleaning up")
    time.sleep(0.2)  # a cleanup that takes its time, into which a second signal falls
    print("cleaned up")


@flow
def waits():
    try:
        print("waiting")
        threading.Event().wait()
    finally:
        clean_up()


@flow
async def waits_on_loop():
    try:
        print("waiting")
        await asyncio.Event().wait()
    finally:
        clean_up()


@task
def polls():
    print("waiting")
    while True:
        pass


@flow
def waits_for_thread():
    try:
        polls.submit().result()
    finally:
        clean_up()


@task
def blocks():
    print("waiting")
    threading.Event().wait()


@flow
def blocks_in_thread():
    blocks.submit()


@flow
def returns_text(n: int) -> str:
    return "x" * n


class Approval(BaseModel):
    replicas: int


@task
def builds():
    return None


@flow
def asks_a_person():
    builds()
    return pause("deploy?", wait_for_input=Approval, name="deploy").replicas

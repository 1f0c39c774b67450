"""Flows of the tests of spans that leave the process."""

import sys
import time

from headrace import Processes, flow, task


def query(name):
    from opentelemetry import trace  # noqa: PLC0415 - as an instrumented library

    with trace.get_tracer("library").start_as_current_span(name):
        pass


@task
def load():
    query("query")


@flow
def main():
    load()


@task
def crunch(number):
    query(f"query {number}")


@flow(task_runner=Processes(max_workers=1))
def crunching():
    crunch.map([1, 2]).result()


@flow
def failing():
    raise ValueError("boo")


@flow
def sleeping():
    print("sleeping", flush=True)
    time.sleep(60)


@flow
def loaded() -> list[str]:
    """What this process has loaded for others to look on."""
    load_nothing()
    return sorted(
        name for name in sys.modules if name.startswith(("opentelemetry", "headrace.tracing", "headrace.lineage"))
    )


@task
def load_nothing():
    pass

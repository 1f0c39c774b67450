"""A module of tasks that other processes import."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from headrace import RetryRun, get_run_logger, lineage, runtime, task


class Unsendable(Exception):
    """Can be sent and not be received."""

    def __init__(self, code, text):
        super().__init__(text)
        self.code = code


class Table:
    """Whose method is a task."""

    def __init__(self, name):
        self.name = name

    @task
    def load(self, rows):
        return self.name, rows, os.getpid()


@task
def where(value=0):
    return value, os.getpid()


@task(log_prints=True)
def speaks():
    get_run_logger().info("loaded %d", 3, extra={"rows": 3, "path": Path("/x")})
    print("printed")
    run = runtime.task_run
    return run.name, run.task_name, run.attempt, run.title, run.tags, runtime.flow_run.name, runtime.flow_run.namespace


@task
def raises(kind):
    raise {"ValueError": ValueError("no"), "RetryRun": RetryRun("busy", 5), "Unsendable": Unsendable(3, "text")}[kind]


@task
def returns_a_lock():
    return threading.Lock()


@task(retries=1)
def dies_once(folder):
    mark = Path(folder) / "died"
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@task(timeout_seconds=0.2)
def hangs():
    threading.Event().wait()


@task
def waits(folder):
    (Path(folder) / "pid").write_text(str(os.getpid()))
    threading.Event().wait()


@task
async def on_loop():
    return os.getpid()


@task(writes="s3://lake/declared")
def touches(name):
    lineage.reads(f"s3://lake/{name}", inputStatistics={"rowCount": 3}, odd=threading.Lock())
    lineage.writes("s3://lake/b")


@task
def asks():
    """Which process it is, as run_deployment() tells processes apart."""
    from headrace.deployments.request import requested  # noqa: PLC0415 - most tests here need it not

    return requested("nightly", None, {}).part


@task
def family():
    """What the run knows of those around it."""
    return runtime.flow_run.name, runtime.flow_run.parent, runtime.flow_run.root

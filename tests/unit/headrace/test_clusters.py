"""Tasks on a Dask or Ray cluster: real ones, on loopback, whose workers know nothing of these tests."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil
import pytest

from headrace import Dask, ProcessFailed, Ray, RunCancelled, TimedOut, UsageError, flow, task
from headrace.engine.clusters import parcels
from headrace.engine.session import using
from headrace.entrypoints import load_flow
from headrace.states import Failed
from tests.ports import free_ports
from tests.unit.headrace import process_tasks as tasks
from tests.unit.headrace.clusters import dask_cluster, eventually, ray_cluster
from tests.unit.headrace.runs import a_session, log_of_runs

pytestmark = pytest.mark.xdist_group("clusters")  # they are started once


@pytest.fixture(scope="module")
def dask() -> Iterator[str]:
    """The address of a scheduler."""
    with dask_cluster() as address:
        yield address


@pytest.fixture(scope="module")
def rays() -> Iterator[tuple[str, str]]:
    """The addresses of a head."""
    with ray_cluster() as addresses:
        yield addresses


@pytest.fixture(scope="module")
def connected(rays) -> Iterator[str]:
    """The address of a head that the program has connected to itself, once: that takes seconds."""
    import ray  # noqa: PLC0415 - 0.3 s for those who test it

    ray.init(rays[0], log_to_driver=False, configure_logging=False)
    yield rays[0]
    assert ray.is_initialized()  # the flows have left it as it was
    ray.shutdown()


@pytest.fixture(params=["dask", "ray"])
def runner(request):
    """Each cluster."""
    if request.param == "dask":
        return Dask(request.getfixturevalue("dask"))
    return Ray(request.getfixturevalue("connected"))


def run(runner, body):
    """What a flow with this body returns, whose tasks run there."""
    return flow(name="main", task_runner=runner)(body)()


@task
def lingers(folder):
    """Goes on until it is stopped."""
    (Path(folder) / "pid").write_text(str(os.getpid()))
    try:
        while True:
            threading.Event().wait(0.01)
    except BaseException as error:
        (Path(folder) / "stopped").write_text(type(error).__name__)
        raise


def has_begun(folder):
    return (folder / "pid").exists() and (folder / "pid").read_text() != ""


def has_ended(folder):
    return (folder / "stopped").exists() or not psutil.pid_exists(int((folder / "pid").read_text()))


def test_tasks_run_on_the_cluster_and_their_log_lines_come_back(runner):
    """In order; they know their run; called tasks and coroutines stay in the flow's process."""

    def body():
        speaks = tasks.speaks.with_options(task_run_name="say", tags=["loud"])
        return (
            tasks.where.map(range(6)).result(),
            speaks.submit().result(),
            tasks.where(3),
            tasks.on_loop.submit().result(),
        )

    with using(a_session(flow_run="etl-7", namespace="team")), log_of_runs() as log:
        mapped, told, called, on_loop = run(runner, body)
    assert [value for value, _ in mapped] == list(range(6))
    assert os.getpid() not in {pid for _, pid in mapped}
    assert told == ("speaks-0", "speaks", 1, "say", ("loud",), "etl-7", "team")
    assert (called, on_loop) == ((3, os.getpid()), os.getpid())
    lines = [record for record in log.records if record.event == "log"]
    assert [line.getMessage() for line in lines] == ["loaded 3", "printed"]
    assert (lines[0].rows, str(lines[0].path), lines[0].task_run, lines[0].flow_run) == (3, "/x", "speaks-0", "etl-7")
    times = [record.created for record in log.records if getattr(record, "task_run", "") == "speaks-0"]
    assert times == sorted(times)


def test_what_a_task_raises_comes_back(runner):
    """With the traceback of the worker."""
    with pytest.raises(ValueError, match="no") as caught:
        run(runner, lambda: tasks.raises.submit("ValueError").result())
    assert "process_tasks.py" in caught.value.__notes__[0]


ETL = """
from dataclasses import dataclass
from headrace import flow, task
from rules import doubled

@dataclass
class Order:
    cents: int

def checked(order):
    return order

@task
def priced(order):
    return checked(Order(doubled(order.cents)))

@flow
def main():
    orders = priced.map([Order(1), Order(2)]).result()
    return orders == [Order(2), Order(4)]
"""


def test_the_code_of_the_flows_own_files_goes_along(runner, tmp_path, monkeypatch):
    """Functions and classes of its module, and of a module beside it; what comes back is of the same classes."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "rules", raising=False)
    (tmp_path / "etl_of_a_cluster.py").write_text(ETL)
    (tmp_path / "rules.py").write_text("def doubled(value):\n    return 2 * value\n")
    main = load_flow(f"{tmp_path}/etl_of_a_cluster.py:main")
    assert main.with_options(task_runner=runner)() is True


def test_a_worker_that_dies_is_a_failed_attempt(runner, tmp_path):
    """Which is tried again by its own retries, and by nobody else."""
    with using(a_session()), log_of_runs() as log:
        assert run(runner, lambda: tasks.dies_once.submit(str(tmp_path)).result()) == "done"
        dies = tasks.dies_once.with_options(retries=0)
        (tmp_path / "again").mkdir()
        with pytest.raises(ProcessFailed, match=r'task "dies_once-0": (Dask|Ray) at '):
            run(runner, lambda: dies.submit(str(tmp_path / "again")).result())
    assert [record.attempt for record in log.records if record.event == "task_retrying"] == [1]


def test_a_timeout_stops_it(runner, tmp_path):
    """At its next line of Python on Dask; on Ray the worker is killed."""

    def body():
        tasks.where.map(range(4)).result()  # a worker is there when the timeout begins
        return lingers.with_options(timeout_seconds=3).submit(str(tmp_path)).wait()

    state = run(runner, body)
    assert isinstance(state, Failed)
    assert isinstance(state.exception, TimedOut)
    eventually(partial(has_ended, tmp_path))


def test_a_flow_that_is_broken_off_stops_its_tasks(runner, tmp_path):
    """It does not wait for them."""

    def body():
        lingers.submit(str(tmp_path))
        eventually(partial(has_begun, tmp_path))
        raise RunCancelled("the test")

    with pytest.raises(RunCancelled, match="the test"):
        run(runner, body)
    eventually(partial(has_ended, tmp_path))


ALONE = """
import sys
from headrace import Dask, Ray, flow
from tests.unit.headrace import process_tasks as tasks
from tests.unit.headrace.test_clusters import lingers

@flow(task_runner={runner!r})
def main():
    tasks.speaks.submit().result()
    if len(sys.argv) > 1:
        lingers.submit(sys.argv[1]).result()

main()
"""


def alone(runner, tmp_path, *arguments):
    """A flow in a process of its own, which connects and is not connected before."""
    (tmp_path / "alone.py").write_text(ALONE.format(runner=runner))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    pipe = subprocess.PIPE
    command = [sys.executable, tmp_path / "alone.py", *arguments]
    return subprocess.Popen(command, env=environment, cwd=tmp_path, stderr=pipe, text=True)


@pytest.mark.parametrize("which", ["dask", "ray"])
def test_a_flow_that_is_killed_leaves_no_task_behind(which, request, tmp_path):
    """The cluster sees that nobody waits any more."""
    at = Dask(request.getfixturevalue("dask")) if which == "dask" else Ray(request.getfixturevalue("rays")[0])
    with alone(at, tmp_path, tmp_path) as process:
        eventually(partial(has_begun, tmp_path))
        process.send_signal(signal.SIGKILL)
    eventually(partial(has_ended, tmp_path))


def test_ray_is_reached_from_outside_too(rays, tmp_path):
    """By its client's protocol; the connection is let go in the end."""
    for _ in range(3):
        with alone(Ray(rays[1]), tmp_path) as process:
            log = process.communicate()[1]
        # Ray forks the server of a client beside threads of gRPC, and now and then that hangs.
        if "Starting Ray client server failed" not in log:
            break
    assert process.returncode == 0, log
    assert re.search(r"speaks-0 +loaded 3\n", log)


def test_a_cluster_that_goes_away_fails_the_attempt(tmp_path):
    """It does not hang."""
    with ExitStack() as stack:
        address = stack.enter_context(dask_cluster())

        def body():
            future = lingers.submit(str(tmp_path))
            eventually(partial(has_begun, tmp_path))
            stack.close()
            return future.wait()

        state = run(Dask(address), body)
    assert isinstance(state, Failed)
    assert isinstance(state.exception, ProcessFailed)


@task(retries=1, retry_delay_seconds=0.5)
def succeeds_at_last(folder):
    """At the second attempt."""
    first = Path(folder) / "first"
    if not first.exists():
        first.touch()
        raise ValueError("not yet")
    (Path(folder) / "second").touch()


def test_a_task_goes_on_to_its_end_when_its_flow_fails(dask, tmp_path):
    """With a further attempt, for which the connection is opened again."""

    def body():
        succeeds_at_last.submit(str(tmp_path))
        eventually((tmp_path / "first").exists)
        raise ValueError("the flow")

    with pytest.raises(ValueError, match="the flow"):
        run(Dask(dask), body)
    assert (tmp_path / "second").exists()


def test_a_worker_with_other_versions_is_told(dask, monkeypatch):
    """Before anything is unpacked there."""
    monkeypatch.setattr(parcels, "versions", lambda: parcels.Versions("0.0.9", "3.10"))
    with pytest.raises(UsageError, match=r"has a worker with headrace \S+ on Python 3\.\d+, and the flow has headrace"):
        run(Dask(dask), lambda: tasks.where.submit().result())


def test_what_cannot_be_sent_is_told(dask):
    """With what to do."""
    with pytest.raises(UsageError, match='task "where-0": its arguments cannot be sent to another process'):
        run(Dask(dask), lambda: tasks.where.submit(threading.Lock()).result())
    with pytest.raises(ProcessFailed, match="what it returned cannot be sent back"):
        run(Dask(dask), lambda: tasks.returns_a_lock.submit().result())


@pytest.mark.parametrize(
    ("runner_at", "says"),
    [
        (
            lambda port: Dask(f"tcp://127.0.0.1:{port}"),
            r'task_runner=Dask\(address=".*"\): no Dask scheduler answers there',
        ),
        (lambda port: Ray(f"ray://127.0.0.1:{port}"), r'task_runner=Ray\(address=".*"\): no Ray cluster answers there'),
        (lambda port: Ray(f"127.0.0.1:{port}"), r'task_runner=Ray\(address=".*"\): no Ray cluster answers there'),
        (lambda _: Dask("not an address"), r'task_runner=Dask\(address=".*"\): no Dask scheduler answers there'),
    ],
)
def test_an_address_where_nobody_answers_is_told(runner_at, says, monkeypatch):
    """In a bounded time."""
    monkeypatch.setattr("headrace.engine.clusters.on_dask.CONNECT_S", 0.5)
    (port,) = free_ports(1)
    with pytest.raises(UsageError, match=says):
        run(runner_at(port), lambda: tasks.where.submit().result())


@pytest.mark.parametrize(
    ("library", "runner", "extra"), [("distributed", Dask("tcp://x:1"), "dask"), ("ray", Ray(), "ray")]
)
def test_a_library_that_is_not_installed_is_told(library, runner, extra, monkeypatch):
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UsageError, match=rf"install headrace\[{extra}\]"):
        run(runner, lambda: tasks.where.submit().result())


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (lambda: Dask(""), "Dask: address is '', expected that of a cluster, such as"),
        (lambda: Ray(7), "Ray: address is 7, expected that of a cluster, such as"),
        (lambda: Dask("tcp://x:1", max_workers=0), "Dask: max_workers is 0, expected a whole number"),
        (lambda: Ray(max_workers="two"), "Ray: max_workers is 'two', expected a whole number"),
    ],
)
def test_a_runner_refuses_what_it_cannot_take(made, says):
    """Where it is written."""
    with pytest.raises(UsageError, match=says):
        made()

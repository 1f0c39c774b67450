"""A flow called in a flow: a run of its own in the log, in the figures and in what the code can ask."""

import asyncio
import logging

import pytest

from headrace import Processes, RunCancelled, flow, runtime, task
from headrace.cancellation import Cancellation
from headrace.engine.session import using
from headrace.launch import Launch, launch
from headrace.states import Failed
from tests.unit.headrace import process_tasks
from tests.unit.headrace.runs import a_session, log_of_runs

IN_POD = {"flow_run": "etl-7", "flow": "etl", "repeats_flows": False}


@task
def step():
    return runtime.task_run.name


@flow
def inner(n=0):
    step()
    return runtime.flow_run.name, runtime.flow_run.parent, runtime.flow_run.root


@flow
def middle():
    return inner()


@flow
def breaks():
    raise ValueError("no rows")


@flow
def breaks_in_a_task():
    fails()


@task
def fails():
    raise ValueError("no rows")


def calling(function):
    """A flow that does nothing but call this."""

    @flow(name="outer")
    def outer():
        return function()

    return outer


def lines(log, event):
    """The lines of one event, as far as they say which run they are of."""
    keys = ("flow", "flow_run", "subflow", "parent_run", "task_run")
    return [{key: getattr(each, key) for key in keys if hasattr(each, key)} for each in log.records if each.event == event]  # fmt: skip


def test_each_call_is_a_run_of_its_own():
    """Numbered like task runs, and named by the one around it."""

    @flow
    def outer():
        return inner(), inner(), middle()

    with using(a_session(**IN_POD)), log_of_runs() as log:
        assert outer() == (
            ("inner-0", "etl-7", "etl-7"),
            ("inner-1", "etl-7", "etl-7"),
            ("inner-2", "middle-0", "etl-7"),
        )
    assert lines(log, "flow_started") == [
        {"flow": "etl", "flow_run": "etl-7"},
        {"flow": "inner", "flow_run": "etl-7", "subflow": "inner-0", "parent_run": "etl-7"},
        {"flow": "inner", "flow_run": "etl-7", "subflow": "inner-1", "parent_run": "etl-7"},
        {"flow": "middle", "flow_run": "etl-7", "subflow": "middle-0", "parent_run": "etl-7"},
        {"flow": "inner", "flow_run": "etl-7", "subflow": "inner-2", "parent_run": "middle-0"},
    ]
    assert lines(log, "task_started")[2] == {
        "flow": "inner",
        "flow_run": "etl-7",
        "subflow": "inner-2",
        "task_run": "step-2",
    }


def test_it_is_counted_beside_the_tasks():
    """Each once, however often it is tried."""
    tries = []

    @flow(retries=2)
    def flaky():
        tries.append(runtime.flow_run.name)
        if len(tries) < 3:
            raise ConnectionError("refused")

    @flow
    def outer():
        flaky()
        middle()

    with using(a_session(**IN_POD)) as session:
        outer()
    counts = session.tally.counts()
    assert (counts.subflows, counts.total) == (3, 1)
    assert tries == ["flaky-0"] * 3


def test_what_it_comes_from_is_known_across_pods():
    """A run that another run's flow started."""
    with using(a_session(**IN_POD, parent_run="nightly-1", root_run="top-1")):
        assert inner() == ("etl-7", "nightly-1", "top-1")
        assert calling(inner)() == ("inner-0", "etl-7", "top-1")


def test_a_task_in_a_process_knows_it_too():
    """As it would in a thread."""

    @flow(task_runner=Processes(max_workers=1))
    def within():
        return process_tasks.family.submit().result()

    with using(a_session(**IN_POD)):
        assert calling(within)() == ("within-0", "etl-7", "etl-7")
        assert within() == ("etl-7", "", "etl-7")


def test_outside_of_a_run_there_is_none():
    """As for all else in runtime."""
    assert (runtime.flow_run.parent, runtime.flow_run.root) == ("", "")


def test_it_has_a_title_of_its_own():
    """Made from its own parameters."""

    @flow(flow_run_name="load of {day}")
    def load(day):
        return runtime.flow_run.title

    with using(a_session(**IN_POD)), log_of_runs() as log:
        assert calling(lambda: load("monday"))() == "load of monday"
    started = [each for each in log.records if each.event == "flow_started"]
    assert [getattr(each, "run_title", None) for each in started] == [None, "load of monday"]


async def test_several_run_side_by_side_on_the_event_loop():
    """Each knows itself."""

    @flow
    async def one():
        await asyncio.sleep(0)
        return runtime.flow_run.name, runtime.flow_run.parent

    @flow
    async def outer():
        return await asyncio.gather(one(), one(), one())

    with using(a_session(**IN_POD)):
        assert await outer() == [("one-0", "etl-7"), ("one-1", "etl-7"), ("one-2", "etl-7")]


async def test_a_cancelled_flow_cancels_those_inside():
    """Their `finally` blocks run."""
    seen, begun = [], asyncio.Event()

    @flow
    async def waits():
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            seen.append(runtime.flow_run.name)

    @flow
    async def outer():
        await asyncio.gather(waits(), waits())

    with log_of_runs() as log:
        running = asyncio.ensure_future(outer())
        await begun.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
    assert seen == ["waits-0", "waits-1"]
    assert log.events.count("flow_cancelled") == 3


def test_a_flow_that_is_told_to_stop_stops_those_inside():
    """Also where the signal finds the inner one at work."""
    seen = []

    @flow(retries=3)
    def waits():
        try:
            raise RunCancelled("SIGTERM")
        finally:
            seen.append("ended")

    with pytest.raises(RunCancelled):
        calling(waits)()
    assert seen == ["ended"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("breaks", 'flow "breaks-0": ValueError: no rows (tests/unit/headrace/test_subflows.py:'),
        ("breaks_in_a_task", 'task "fails-0": ValueError: no rows (tests/unit/headrace/test_subflows.py:'),
    ],
)
def test_the_message_says_where_it_failed(name, message):
    """In which flow or task, and on which line."""
    ending = launch(Launch(f"{__file__}:calls", lambda _: {"name": name}, a_session(**IN_POD)), Cancellation())
    assert ending.phase == "Failed"
    assert message in ending.message


@flow
def calls(name: str):
    """Calls the flow of that name; loaded by the test above."""
    {"breaks": breaks, "breaks_in_a_task": breaks_in_a_task, "times_out": times_out}[name]()


@flow(timeout_seconds=0.01)
def times_out():
    while True:
        pass


def test_the_timeout_of_an_inner_flow_is_a_failure_of_the_outer():
    """Only its own timeout is TimedOut."""
    ending = launch(Launch(f"{__file__}:calls", lambda _: {"name": "times_out"}, a_session(**IN_POD)), Cancellation())
    assert ending.reason == "FlowFailed"
    assert ending.message.startswith('flow "times_out" took longer than its timeout of 0.01 s (')


@pytest.mark.parametrize("broken", [breaks, breaks_in_a_task])
def test_the_traceback_is_in_the_log_once(broken):
    """With the innermost run that raised it."""
    with using(a_session(**IN_POD)), log_of_runs() as log:
        state = calling(calling(broken))(return_state=True)
    assert isinstance(state, Failed)
    failed = [each for each in log.records if each.levelno == logging.ERROR]
    assert ["exception" in each.__dict__ for each in failed] == [True, *[False] * (len(failed) - 1)]
    assert len(failed) >= 3

"""Flows: called, awaited, tried again, timed, and asked for their state."""

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from headrace import RetryRun, TimedOut, flow, get_run_logger, runtime, task
from headrace.engine.session import using
from headrace.states import Failed, Succeeded
from tests.unit.headrace.runs import a_session, log_of_runs


class Flaky:
    """Fails as often as it is told, then returns how often it was called."""

    def __init__(self, failures, error=None):
        self.failures, self.calls = failures, 0
        self.error = error or ConnectionError("refused")

    def __call__(self):
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return self.calls


def both(flaky, **options):
    """The same flow written with `def` and with `async def`, as functions to call."""

    @flow(**options)
    def plain():
        return flaky()

    @flow(**options)
    async def on_loop():
        return flaky()

    return {"def": plain, "async def": lambda **more: asyncio.run(on_loop(**more))}


@pytest.mark.parametrize("way", ["def", "async def"])
def test_a_failed_flow_is_tried_again_after_its_delay(way):
    """As often as its retries allow."""
    with using(a_session()) as session:
        assert both(Flaky(2), retries=2, retry_delay_seconds=[3, 5])[way]() == 3
    assert session.clock.slept == [3, 5]


@pytest.mark.parametrize("way", ["def", "async def"])
def test_what_the_last_attempt_raised_is_raised(way):
    """The very exception."""
    flaky = Flaky(9)
    with using(a_session()), pytest.raises(ConnectionError) as caught:
        both(flaky, retries=1)[way]()
    assert caught.value is flaky.error
    assert flaky.calls == 2


@pytest.mark.parametrize("way", ["def", "async def"])
def test_where_somebody_else_repeats_flows_there_is_one_attempt(way):
    """As in a pod, where the operator makes the next one."""
    flaky = Flaky(1)
    with using(a_session(repeats_flows=False)), pytest.raises(ConnectionError):
        both(flaky, retries=5)[way]()
    assert flaky.calls == 1


@pytest.mark.parametrize("way", ["def", "async def"])
def test_the_state_can_be_asked_for(way):
    """In place of the result or the exception."""
    assert both(Flaky(0))[way](return_state=True) == Succeeded(data=1)
    flaky = Flaky(1)
    assert both(flaky)[way](return_state=True) == Failed(
        message="ConnectionError: refused", exception=flaky.error, attempt=1
    )


@pytest.mark.parametrize("way", ["def", "async def"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(2)], ids=lambda stop: type(stop).__name__)
def test_what_stops_the_process_is_never_held_back(way, stop):
    """Neither by retries nor by return_state."""
    flaky = Flaky(9, stop)
    with pytest.raises(type(stop)):
        both(flaky, retries=5)[way](return_state=True)
    assert flaky.calls == 1


def test_retry_run_takes_its_own_delay():
    """And is raised when no retry is left."""
    with using(a_session()) as session:
        assert both(Flaky(1, RetryRun("busy", 40)), retries=1, retry_delay_seconds=2)["def"]() == 2
        with pytest.raises(RetryRun, match="busy"):
            both(Flaky(1, RetryRun("busy")))["def"]()
    assert session.clock.slept == [40]


def test_retry_run_of_a_task_goes_through_to_the_flow():
    """The task is not tried again, the flow is."""
    flaky = Flaky(1, RetryRun("busy"))
    step = task(name="step", retries=5)(flaky.__call__)

    @flow(retries=1)
    def main():
        return step()

    with using(a_session()):
        assert main() == 2


def test_a_timeout_breaks_off_what_blocks():
    """In the main thread a signal ends blocking calls too, and `except Exception` does not hold it up."""

    @flow(timeout_seconds=0.02)
    def main():
        try:
            threading.Event().wait()
        except Exception:  # noqa: BLE001 - the point
            return "held up"

    with pytest.raises(TimedOut, match=r'^flow "main" took longer than its timeout of 0\.02 s$'):
        main()


def test_a_timeout_cancels_a_coroutine():
    """Its `finally` blocks run."""
    seen = []

    @flow(timeout_seconds=0.02)
    async def main():
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("cleaned up")

    with pytest.raises(TimedOut, match="main"):
        asyncio.run(main())
    assert seen == ["cleaned up"]


def test_a_timeout_error_of_the_flow_itself_is_its_own():
    """Only the bound of the flow makes TimedOut."""

    @flow(timeout_seconds=60)
    async def main():
        raise TimeoutError("the server's")

    with pytest.raises(TimeoutError, match="the server's") as caught:
        asyncio.run(main())
    assert not isinstance(caught.value, TimedOut)


def test_a_sync_flow_runs_inside_a_running_loop():
    """As in a notebook: it needs no loop of its own."""

    async def notebook():
        return both(Flaky(1), retries=1)["def"]()

    with using(a_session()):
        assert asyncio.run(notebook()) == 2


def test_cancelling_the_asyncio_task_cancels_the_flow():
    """And asyncio sees it as cancelled."""
    events = []

    @flow(retries=3)
    async def main():
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            events.append("cleaned up")

    async def outside():
        running = asyncio.create_task(main())
        await started.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        return running.cancelled()

    started = asyncio.Event()
    with log_of_runs() as log:
        assert asyncio.run(outside())
    assert (events, log.events) == (["cleaned up"], ["flow_started", "flow_cancelled"])


def test_a_flow_inside_a_flow_belongs_to_the_same_run():
    """With its own retries, and task names that go on."""
    flaky = Flaky(1)
    step = task(name="step")(lambda: runtime.task_run.name)

    @flow(retries=1)
    def inner():
        flaky()
        return step(), runtime.flow_run.name

    @flow
    def outer():
        return step(), inner(), runtime.flow_run.name

    with using(a_session(flow_run="etl-7", repeats_flows=False)):
        assert outer() == ("step-0", ("step-1", "inner-0"), "etl-7")


def test_the_log_tells_each_step_of_a_run():
    """Events, in order, with the run that they belong to."""
    flaky = Flaky(1)

    @task(retries=1, retry_delay_seconds=4)
    def step():
        get_run_logger().info("loaded %d", 3, extra={"rows": 3})
        return flaky()

    @flow
    def main():
        return step()

    with using(a_session(flow_run="etl-7")), log_of_runs() as log:
        main()
    assert log.events == [
        "flow_started",
        "task_started step-0",
        "log step-0",
        "task_retrying step-0",
        "task_started step-0",
        "log step-0",
        "task_succeeded step-0",
        "flow_succeeded",
    ]
    assert all(record.flow == "main" and record.flow_run == "etl-7" for record in log.records)
    retrying = log.records[3]
    assert (retrying.attempt, retrying.delay_s, retrying.duration_s, retrying.error) == (
        1,
        4,
        1,
        "ConnectionError: refused",
    )
    assert log.records[2].rows == 3


def test_the_traceback_is_logged_once_and_without_our_frames():
    """With the task that failed; the flow's line refers to the same error."""
    step = task(name="step")(Flaky(1))

    @flow
    def main():
        return step()

    with log_of_runs() as log, pytest.raises(ConnectionError):
        main()
    task_failed, flow_failed = log.records[-2:]
    assert task_failed.exception.endswith("ConnectionError: refused")
    assert "headrace/engine" not in task_failed.exception
    assert not hasattr(flow_failed, "exception")
    assert task_failed.where.startswith("tests/unit/headrace/test_flows.py:")


def test_print_becomes_a_log_line_where_asked_for(capsys):
    """In the flow and its tasks; elsewhere print prints."""
    silent = task(name="silent", log_prints=False)(lambda: print("as it is"))
    said = task(name="said")(lambda: print("two", "words"))

    @flow(log_prints=True)
    def main():
        said()
        silent()

    with log_of_runs() as log:
        main()
    print("after")
    assert [r.getMessage() for r in log.records if r.event == "log"] == ["two words"]
    assert capsys.readouterr().out == "as it is\nafter\n"


def test_runtime_tells_about_the_run():
    """And is empty outside of one."""
    at = datetime(2026, 1, 1, 7, tzinfo=UTC)
    seen = {}

    @task(retries=1)
    def step():
        seen.update(task=runtime.task_run.task_name, tries=runtime.task_run.attempt)

    @flow
    def main():
        step()
        run = runtime.flow_run
        return run.name, run.flow_name, run.attempt, run.id, run.namespace, run.deployment, run.scheduled_time

    pod = a_session(
        flow_run="etl-7",
        flow="etl",
        attempt=2,
        flow_run_uid="u",
        namespace="team",
        deployment="etl-daily",
        scheduled_time=at,
    )
    with using(pod):
        assert main() == ("etl-7", "etl", 2, "u", "team", "etl-daily", at)
    assert seen == {"task": "step", "tries": 1}
    assert (runtime.flow_run.name, runtime.flow_run.attempt, runtime.task_run.name) == ("", 0, "")
    assert (runtime.flow_run.flow_name, runtime.task_run.task_name, runtime.task_run.attempt) == ("", "", 0)
    assert runtime.flow_run.parameters == {}

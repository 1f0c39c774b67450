"""Futures as arguments, `wait_for`, `allow_failure`, `wait` and `as_completed`."""

import asyncio
import re
import threading

import pytest

from headrace import TimedOut, UsageError, allow_failure, as_completed, flow, task, wait
from headrace.engine.session import TaskCounts, using
from headrace.states import Cancelled, Failed, Succeeded
from tests.unit.headrace.runs import a_session, log_of_runs


@task
def double(x):
    return 2 * x


@task
async def double_on_loop(x):
    await asyncio.sleep(0)
    return 2 * x


@task
def fails():
    raise ValueError("no")


@task
def seen(value):
    return value


def run(body, **options):
    made = flow(name="main", **options)(body)
    return asyncio.run(made()) if asyncio.iscoroutinefunction(body) else made()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        (lambda: double.submit(1), 2),
        (lambda: [double.submit(1), 5, double.submit(2)], [2, 5, 4]),
        (lambda: (double.submit(1),), (2,)),
        (lambda: {"a": double.submit(1), "b": 0}, {"a": 2, "b": 0}),
        (lambda: double.map([1, 2]), [2, 4]),
        (lambda: allow_failure(7), 7),
    ],
)
def test_a_future_is_passed_as_its_result(argument, value):
    """Submitted or called, also as an item of a list, tuple or dict."""
    assert run(lambda: seen.submit(argument()).result()) == value
    assert run(lambda: seen(argument())) == value
    assert run(lambda: seen.submit(value=argument()).result()) == value


def test_in_an_async_flow_too():
    """On the loop, in a thread, and from one to the other."""

    async def body():
        on_loop = double_on_loop.submit(1)
        in_thread = double.submit(on_loop)
        return await double_on_loop(in_thread), await double_on_loop.submit(double_on_loop.submit(in_thread))

    assert run(body) == (8, 16)


def test_a_call_that_would_block_the_loop_of_its_argument_says_what_to_write():
    """In place of a deadlock."""

    async def body():
        future = double_on_loop.submit(1)
        with pytest.raises(UsageError, match="write `await future`"):
            double(future)
        with pytest.raises(UsageError, match=re.escape("`await wait.aio(futures)`")):
            wait([future])
        await future

    run(body)


def test_more_tasks_may_wait_than_there_are_threads():
    """A task takes a thread when what it waits for has ended."""

    def body():
        go = threading.Event()
        first = task(name="first")(lambda: go.wait(timeout=60)).submit()
        chain = [seen.submit(first) for _ in range(100)]
        last = seen.submit(chain)
        go.set()
        return last.result()

    assert run(body) == [True] * 100


def test_wait_for_orders_tasks_that_pass_nothing():
    """Submitted, called and mapped."""
    order = []
    step = task(name="step")(order.append)

    def body():
        first = step.submit(1)
        second = step.submit(2, wait_for=first)
        step(3, wait_for=[first, second])
        third = step.map([4, 5], wait_for=[second])
        step.submit(6, wait_for=[third])

    run(body)
    assert order[:3] == [1, 2, 3]
    assert order[-1] == 6


@pytest.mark.parametrize("wait_for", [3, "first", [3]])
def test_wait_for_takes_futures_only(wait_for):
    """It says what to write."""
    with pytest.raises(UsageError, match=r'task "double": wait_for (is|has) .*, expected'):
        run(lambda: double.submit(1, wait_for=wait_for))


def test_a_task_whose_input_failed_does_not_begin():
    """It ends as its input did, so that the exception is the same as in a plain call."""
    ran = []

    def body():
        future = task(name="load")(ran.append).submit(fails.submit())
        state = future.wait()
        assert isinstance(state, Failed)
        assert state.message == 'task "load-0" did not begin, as fails-0 ended: ValueError: no'
        with pytest.raises(ValueError, match="no"):
            seen(double.submit(1), wait_for=[future])
        return "goes on"

    with using(a_session()) as session, log_of_runs() as log:
        assert run(body) == "goes on"
    assert ran == []
    assert "task_not_started load-0" in log.events
    assert session.tally.counts() == TaskCounts(total=2, succeeded=1, failed=1)


def test_a_failure_that_was_passed_on_and_not_looked_at_fails_the_flow():
    """By the task that it was passed to."""
    with pytest.raises(ValueError, match="no"):
        run(lambda: seen.submit(fails.submit()) and None)


def test_a_failure_can_be_allowed():
    """The task gets the exception; in wait_for it just runs."""

    def body():
        return seen.submit(allow_failure(fails.submit())).result(), double(1, wait_for=[allow_failure(fails.submit())])

    error, value = run(body)
    assert isinstance(error, ValueError)
    assert value == 2


def test_a_future_that_was_taken_back_takes_back_what_waits_for_it():
    """A flow that fails leaves nothing behind."""
    go, futures = threading.Event(), []

    def body():
        holds = task(name="holds")(lambda: go.wait(timeout=60))
        futures.extend(holds.submit() for _ in range(40))
        futures.append(seen.submit(futures[39]))
        futures[-1].done.when_done(lambda _: go.set())
        raise LookupError("the flow")

    with pytest.raises(LookupError, match="the flow"):
        run(body)
    assert isinstance(futures[-1].wait(), Cancelled)


def test_wait_tells_what_has_ended_and_what_has_not():
    """And passes nothing off as looked at."""
    go = threading.Event()

    def body():
        quick, slow = double.submit(1), task(name="slow")(lambda: go.wait(timeout=60)).submit()
        quick.wait()
        assert wait([quick, slow], timeout_seconds=0) == ([quick], [slow])
        go.set()
        assert wait([quick, slow]) == ([quick, slow], [])
        wait([fails.submit()])

    with pytest.raises(ValueError, match="no"):
        run(body)


def test_wait_on_a_loop():
    """It stays free."""

    async def body():
        futures = [double_on_loop.submit(1), double.submit(2)]
        done, not_done = await wait.aio(futures)
        return [future.state for future in done], not_done

    assert run(body) == ([Succeeded(data=2), Succeeded(data=4)], [])


def test_as_completed_gives_the_first_that_ends_first():
    """With `for` and with `async for`."""
    go = threading.Event()

    def body():
        slow = task(name="slow")(lambda: go.wait(timeout=60)).submit()
        order = as_completed([slow, double.submit(1)])
        names = []
        for future in order:
            names.append(future.name)
            go.set()
        return names

    async def on_loop():
        released = asyncio.Event()
        slow = task(name="slow")(released.wait).submit()
        names = []
        async for future in as_completed([slow, double_on_loop.submit(1)]):
            names.append(future.name)
            released.set()
        return names

    assert run(body) == ["double-0", "slow-0"]
    assert run(on_loop) == ["double_on_loop-0", "slow-0"]


def test_as_completed_can_be_bounded():
    """The tasks go on."""
    go = threading.Event()

    def body():
        slow = task(name="slow")(lambda: go.wait(timeout=60)).submit()
        with pytest.raises(TimedOut, match=r"waiting for the next task run to end took longer .* 0\.01 s"):
            list(as_completed([slow], timeout_seconds=0.01))
        go.set()

    run(body)
    assert list(as_completed([])) == []

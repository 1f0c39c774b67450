"""Tasks: called, awaited, submitted, mapped."""

import asyncio
import re
import threading

import pytest

from headrace import RunCancelled, TimedOut, UsageError, flow, task
from headrace.engine.session import TaskCounts, using
from headrace.states import Cancelled, Failed, Succeeded
from tests.unit.headrace.runs import a_session, log_of_runs


@task
def double(x, plus=0):
    return 2 * x + plus


@task
async def double_on_loop(x):
    await asyncio.sleep(0)
    return 2 * x


@task
def fails():
    raise ValueError("no")


def _submits():
    fails.submit()


def _calling(of):
    def body():
        return of()

    return body


def _thread():
    return threading.get_ident()


def run(body, **options):
    """What a flow with this body returns; `async def` bodies too."""
    made = flow(name="main", **options)(body)
    return asyncio.run(made()) if asyncio.iscoroutinefunction(body) else made()


def test_a_task_works_outside_of_a_flow_with_all_of_its_options():
    """As a run of its own."""
    calls = []

    @task(retries=2, retry_delay_seconds=[1, 5])
    def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise ValueError
        return len(calls)

    with using(a_session()) as session, log_of_runs() as log:
        assert flaky() == 3
    assert session.clock.slept == [1, 5]
    assert log.events[-1] == "task_succeeded flaky-0"
    assert not hasattr(log.records[-1], "flow_run")


def test_submitted_tasks_run_beside_the_flow():
    """Two that wait for each other can only end if both run."""
    meet = threading.Barrier(2)

    @task
    def arrive():
        meet.wait(timeout=60)
        return "met"

    assert run(lambda: [future.result() for future in (arrive.submit(), arrive.submit())]) == ["met", "met"]


def test_submitted_coroutines_share_the_loop_of_an_async_flow():
    """And sync tasks get a thread; both can be awaited."""
    where = task(name="where")(_thread)

    @task
    async def loop_of():
        return asyncio.get_running_loop()

    async def body():
        assert await loop_of.submit() is asyncio.get_running_loop()
        return await where.submit() == threading.get_ident()

    assert run(body) is False


def test_a_coroutine_submitted_by_a_sync_flow_gets_a_loop_of_its_own():
    """In a thread."""
    assert run(lambda: double_on_loop.submit(4).result()) == 8


def test_a_future_tells_its_state():
    """And raises what the task raised."""

    def body():
        good, bad = double.submit(1), fails.submit()
        assert good.wait() == Succeeded(data=2)
        assert isinstance(bad.wait(), Failed)
        assert bad.state == bad.wait()
        assert repr(good) == "<TaskFuture double-0 Succeeded>"
        with pytest.raises(ValueError, match="no"):
            bad.result()
        return "done"

    assert run(body) == "done"


def test_waiting_for_a_future_can_be_bounded():
    """The task goes on."""
    go = threading.Event()

    def body():
        future = task(name="waits")(go.wait).submit()
        with pytest.raises(TimedOut, match=r"waiting for task run waits-0 took longer than its timeout of 0\.01 s"):
            future.result(timeout_seconds=0.01)
        go.set()
        return future.result()

    assert run(body) is True


def test_a_future_that_would_block_its_own_loop_says_what_to_write():
    """In place of a deadlock."""

    async def body():
        future = double_on_loop.submit(1)
        with pytest.raises(UsageError, match="write `await future`"):
            future.result()
        return await future

    assert run(body) == 2


def test_a_submitted_task_that_fails_unseen_fails_the_flow():
    """Nothing that went wrong is passed over."""
    with pytest.raises(ValueError, match="no"):
        run(_submits)

    async def body():
        fails.submit()

    with pytest.raises(ValueError, match="no"):
        run(body)


def test_a_flow_ends_after_its_tasks():
    """Also those that it did not wait for."""
    ended = []

    def body():
        for number in range(5):
            task(name="step")(ended.append).submit(number)

    run(body)
    assert sorted(ended) == [0, 1, 2, 3, 4]


def test_what_has_not_begun_is_taken_back_when_the_flow_fails():
    """What runs goes on to its end."""
    go, begun = threading.Event(), []

    @task
    def holds():
        begun.append(1)
        go.wait(timeout=60)

    futures = []

    def body():
        futures.extend(holds.submit() for _ in range(100))
        futures[99].done.when_done(lambda _: go.set())
        raise ValueError("the flow")

    with pytest.raises(ValueError, match="the flow"):
        run(body)
    assert len(begun) < 100
    assert isinstance(futures[99].wait(), Cancelled)
    with pytest.raises(RunCancelled):
        futures[99].result()


def test_the_timeout_of_a_flow_breaks_off_its_threads():
    """Those that run Python code; they see RunCancelled."""
    seen = []

    @task
    def spins():
        try:
            while True:
                pass
        except RunCancelled:
            seen.append("stopped")
            raise

    with pytest.raises(TimedOut, match="main"):
        run(lambda: spins.submit().result(), timeout_seconds=0.05)
    assert seen == ["stopped"]


def test_the_timeout_of_a_task_works_in_a_thread():
    """And is tried again like any failure."""
    spins = task(name="spins", timeout_seconds=0.02, retries=1)(_spin)
    with using(a_session()), log_of_runs() as log, pytest.raises(TimedOut, match='task "spins-0"'):
        run(lambda: spins.submit().result())
    assert log.events.count("task_started spins-0") == 2


def _spin():
    while True:
        pass


def test_the_timeout_of_a_flow_ends_a_task_that_has_one_too():
    """The outer bound wins, and is no failure of the task."""
    spins = task(name="spins", timeout_seconds=60, retries=3)(_spin)
    with log_of_runs() as log, pytest.raises(TimedOut, match='flow "main"'):
        run(_calling(spins), timeout_seconds=0.02)
    assert log.events == ["flow_started", "task_started spins-0", "task_cancelled spins-0", "flow_failed"]


def test_tasks_are_counted():
    """By their ends; `retried` counts runs, not attempts."""
    calls = []

    @task(retries=2)
    def flaky():
        calls.append(1)
        if len(calls) < 3:
            raise ValueError

    def body():
        flaky()
        double(1)
        assert not isinstance(fails(return_state=True), Succeeded)

    with using(a_session()) as session:
        run(body)
    assert session.tally.counts() == TaskCounts(total=3, succeeded=2, failed=1, cached=0, retried=1)


def test_wrong_arguments_say_how_to_call_it():
    """And are not tried again."""
    with pytest.raises(
        UsageError, match=re.escape("task \"double\": missing a required argument: 'x'; call it as double(x, plus=0)")
    ):
        double()


def test_a_type_error_of_the_task_itself_is_its_own():
    """Only the call is explained."""
    with pytest.raises(TypeError, match="unsupported operand"):
        task(name="adds")(lambda: 1 + "1")()


def test_submit_belongs_into_a_flow():
    """Not outside, and not into a task."""
    with pytest.raises(
        UsageError, match=re.escape('task "double": submit() belongs into a flow, which waits for it; call double(…)')
    ):
        double.submit(1)
    nested = task(name="nested")(lambda: double.submit(1))
    with pytest.raises(UsageError, match=re.escape('in task "nested" call double(…) instead')):
        run(_calling(nested))


def test_a_method_can_be_a_task():
    """Bound to its object."""

    class Table:
        name = "orders"

        @task
        def load(self, rows):
            return self.name, rows

    assert Table().load(3) == ("orders", 3)
    assert run(lambda: Table().load.submit(3).result()) == ("orders", 3)
    assert repr(Table.load) == '<task "load">'


def _drops():
    async def body():
        double_on_loop(1)

    return body


def _returns():
    async def body():
        return double_on_loop(1)

    return body


def _passes():
    async def body():
        return double(double_on_loop(1))

    return body


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (_drops(), 'task "double_on_loop" was called and never awaited, so that it did not run; write `await double_on_loop(…)`'),
        (_returns(), "was called and never awaited"),
        (_passes(), "it is an argument, and its result belongs there"),
        (lambda: double_on_loop(1) and None, "write `double_on_loop.submit(…).result()`, or make the flow an `async def`"),
        (lambda: double_on_loop(1), "write `double_on_loop.submit(…).result()`"),
    ],
)  # fmt: skip
def test_a_call_that_is_never_awaited_fails_the_flow(body, says):
    """Which would else succeed without it."""
    with pytest.raises(UsageError, match=re.escape(says)):
        run(body)


def test_outside_of_a_flow_it_is_a_warning():
    """Nothing has run."""
    with pytest.warns(RuntimeWarning, match=r'task "double_on_loop" was called and never awaited: nothing has run'):
        double_on_loop(1)


def test_a_call_is_a_coroutine_for_asyncio():
    """To gather, to make a task of, to close."""

    async def body():
        double_on_loop(9).close()
        made = asyncio.create_task(double_on_loop(3))
        dropped = asyncio.create_task(double_on_loop(4))
        dropped.cancel()
        return [*await asyncio.gather(double_on_loop(1), double_on_loop(2)), await made]

    assert run(body) == [2, 4, 6]
    assert asyncio.run(double_on_loop(5)) == 10


@pytest.mark.parametrize("decorate", [flow, task])
def test_recursion_says_what_to_write(decorate):
    """In place of a RecursionError from the depths of the engine."""

    @decorate(retries=3)
    def again():
        return again()

    with pytest.raises(UsageError, match=r"30 flows and tasks run inside each other; if it calls itself, write a loop"):
        again()


def test_a_flow_that_is_thrown_away_lets_its_threads_go():
    """Nobody asks for its end, and nothing may be awaited any more."""

    class Forever:
        def __await__(self):
            yield

    @flow
    async def main():
        double.submit(1).wait()
        await Forever()

    before = set(threading.enumerate())
    begun = main()
    begun.send(None)
    started = set(threading.enumerate()) - before
    assert [thread.name for thread in started] == ["headrace_0"]
    begun.close()
    for thread in started:
        thread.join(60)
        assert not thread.is_alive()

"""What authors see of transactions: values, hooks, nesting, and what to write instead."""

import asyncio
import threading
import time

import pytest

from headrace import (
    Processes,
    RunCancelled,
    UsageError,
    allow_failure,
    flow,
    get_transaction,
    task,
    transaction,
)
from headrace.engine.session import using
from headrace.engine.workers import STOP_GRACE_S
from tests.unit.headrace.process_tasks import where
from tests.unit.headrace.runs import a_session, log_of_runs


class Noted(list):
    """What hooks were called for, in order."""

    def undone(self, txn):
        self.append(f"undo {txn.get('path', '?')}")

    def done(self, txn):
        self.append(f"done {txn.get('path', '?')}")


@pytest.fixture
def noted():
    return Noted()


@pytest.fixture
def write(noted):
    """A task with hooks, that fails for "bad"."""

    @task(on_rollback=noted.undone)
    def write(path):
        get_transaction().set("path", path)
        if path == "bad":
            raise ValueError(path)
        return path

    write.on_commit(noted.done)
    return write


@pytest.fixture(autouse=True)
def _session():
    with using(a_session()):
        yield


def test_hooks_on_commit_are_called_when_the_block_ends(noted, write):
    """In the order in which the tasks have succeeded, and not before."""

    @flow
    def main():
        with transaction() as txn:
            write("a")
            write("b")
            assert noted == []
            assert txn.is_active()
        return txn.is_committed()

    assert main() is True
    assert noted == ["done a", "done b"]


def test_hooks_on_rollback_are_called_newest_first(noted, write):
    """The exception goes on, and a task that failed is not rolled back."""

    @flow
    def main():
        with transaction() as txn:
            write("a")
            write("b")
            try:
                write("bad")
            finally:
                assert txn.is_active()

    with log_of_runs() as log, pytest.raises(ValueError, match="bad"):
        main()
    assert noted == ["undo b", "undo a"]
    assert "transaction_rolled_back" in log.events


def test_values_are_shared_by_tasks_hooks_and_inner_transactions(noted):
    """Of the task itself first, then of the transactions around it; a value set after the task is seen too."""

    @task
    def step():
        own = get_transaction()
        own.set("own", own.get("outer"))
        return own.get("inner", "none")

    @step.on_commit
    def look(txn):
        noted.append([txn.get("own"), txn.get("outer"), txn.get("late")])

    @flow
    def main():
        with transaction() as outer:
            outer.set("outer", 1)
            with transaction() as inner:
                assert inner.parent is outer
                inner.set("inner", 2)
                assert step() == 2
            assert step() == "none"
            assert outer.get("own", None) is None
            outer.set("late", 3)

    main()
    assert noted == [[1, 1, 3], [1, 1, 3]]


def test_an_inner_transaction_is_committed_with_the_outer_one(noted, write):
    """Until then it is staged."""

    @flow
    def main():
        with transaction():
            with transaction("inner") as inner:
                write("a")
            assert noted == []
            assert inner.is_staged()
            write("b")
        return inner

    assert main().is_staged()
    assert noted == ["done a", "done b"]


def test_an_inner_transaction_is_rolled_back_with_the_outer_one(noted, write):
    """Newest first, over all of them."""

    @flow
    def main():
        with transaction():
            write("a")
            with transaction():
                write("b")
            write("c")
            raise KeyError("late")

    with pytest.raises(KeyError):
        main()
    assert noted == ["undo c", "undo b", "undo a"]


def test_an_inner_transaction_that_fails_rolls_back_itself_only(noted, write):
    """Whoever catches its exception goes on."""

    @flow
    def main():
        with transaction():
            write("a")
            try:
                with transaction() as inner:
                    write("b")
                    write("bad")
            except ValueError:
                assert inner.is_rolled_back()
            write("c")

    main()
    assert noted == ["undo b", "done a", "done c"]


def test_submitted_and_mapped_tasks_are_waited_for(noted, write):
    """Also those whose inputs are taken little by little."""
    begun = threading.Event()

    @task
    def slow(path):
        begun.wait(5)
        return write(path)

    @flow
    def main():
        with transaction():
            slow.submit("a")
            write.map(["b", "c"])
            write.map(["d", "e", "f"], max_concurrency=1)
            begun.set()
        return sorted(noted)

    assert main() == [f"done {path}" for path in "abcdef"]


def test_a_submitted_task_that_fails_rolls_back(noted, write):
    """If nobody asked for its outcome; with allow_failure somebody has."""

    @flow
    def main(*, allowed):
        with transaction():
            write("a")
            future = write.submit("bad")
            if allowed:
                write("b", wait_for=allow_failure(future))

    with pytest.raises(ValueError, match="bad"):
        main(allowed=False)
    assert noted == ["undo a"]
    noted.clear()
    main(allowed=True)
    assert noted == ["done a", "done b"]


def test_what_is_submitted_and_still_runs_is_rolled_back_too(noted, write):
    """The block waits for it before it rolls back."""
    running, gate = threading.Event(), threading.Event()

    @task
    def slow(path):
        running.set()
        gate.wait(5)
        return path

    @slow.on_rollback
    def _(txn):
        noted.append("undo slow")

    @flow
    def main():
        with transaction():
            slow.submit("a")
            assert running.wait(5)
            threading.Timer(0.05, gate.set).start()
            raise KeyError("no")

    with pytest.raises(KeyError):
        main()
    assert noted == ["undo slow"]


def test_a_hook_that_raises_hides_nothing(noted, write):
    """It is told, and the others are called."""

    @write.on_rollback
    def broken(txn):
        raise OSError("disk")

    @flow
    def main():
        with transaction():
            write("a")
            write("b")
            raise KeyError("no")

    with log_of_runs() as log, pytest.raises(KeyError):
        main()
    assert noted == ["undo b", "undo a"]
    told = [each.getMessage() for each in log.records if each.event == "hook_failed"]
    assert len(told) == 2
    assert all("broken" in each and "OSError: disk" in each for each in told)


def test_a_task_by_itself_is_committed_when_it_has_succeeded(noted, write):
    """In a flow and outside of one; on_rollback is not called, also if its flow fails."""

    @flow
    def main():
        write("a")
        assert noted == ["done a"]
        assert get_transaction() is None
        write("bad")

    with pytest.raises(ValueError, match="bad"):
        main()
    write("c")
    assert noted == ["done a", "done c"]


def test_tasks_that_a_task_calls_are_in_its_transaction(noted, write):
    """Each by itself."""

    @task
    def outer():
        return write("inner")

    @flow
    def main():
        with transaction():
            outer()
            raise KeyError("no")

    with pytest.raises(KeyError):
        main()
    assert noted == ["undo inner"]


def test_tasks_of_a_subflow_are_in_the_transaction_around_it(noted, write):
    """Those that it has submitted too; a block of its own is an inner one."""

    @flow
    def below():
        write.submit("a")
        with transaction():
            write("b")

    @flow
    def main():
        with transaction():
            below()
            assert noted == []
        assert sorted(noted) == ["done a", "done b"]

    main()


def test_tasks_in_processes_are_in_the_transaction(noted):
    """Hooks run in the flow's process; the task's own process knows nothing of it."""
    found = where.with_options(on_rollback=noted.undone)

    @flow(task_runner=Processes(max_workers=1))
    def main():
        with transaction() as txn:
            txn.set("path", "p")
            found.submit().result()
            raise KeyError("no")

    with pytest.raises(KeyError):
        main()
    assert noted == ["undo p"]


def test_async_tasks_and_hooks(noted):
    """`async with`, hooks with `async def` and with `def`, and tasks side by side."""

    @task
    async def write(path):
        await asyncio.sleep(0)
        get_transaction().set("path", path)
        return path

    @write.on_commit
    async def later(txn):
        await asyncio.sleep(0)
        noted.append(f"later {txn.get('path')}")

    write.on_commit(noted.done)
    write.on_rollback(noted.undone)

    @flow
    async def main(*, fail):
        async with transaction():
            await asyncio.gather(write("a"), write("b"))
            future = write.submit("c")
            if fail:
                await future
                raise KeyError("no")

    asyncio.run(main(fail=False))
    assert sorted(noted) == sorted(f"{word} {path}" for path in "abc" for word in ("done", "later"))
    noted.clear()
    with pytest.raises(KeyError):
        asyncio.run(main(fail=True))
    assert noted[0] == "undo c"
    assert sorted(noted) == ["undo a", "undo b", "undo c"]


def test_an_async_hook_of_an_async_task_in_a_flow_with_def(noted):
    """It has no event loop: the hook gets one."""

    @task
    async def write(path):
        return path

    @write.on_rollback
    async def undo(txn):
        await asyncio.sleep(0)
        noted.append("undone")

    @flow
    def main():
        with transaction():
            write.submit("a").result()
            raise KeyError("no")

    with pytest.raises(KeyError):
        main()
    assert noted == ["undone"]


def test_blocks_side_by_side_do_not_meet(noted):
    """Of two that run at once in one flow, one is rolled back."""

    @task
    async def write(path):
        await asyncio.sleep(0)
        get_transaction().set("path", path)
        return path

    write.on_rollback(noted.undone)
    write.on_commit(noted.done)

    @flow
    async def main():
        async def block(path, *, fail):
            async with transaction():
                await write(path)
                await write.submit(f"{path}2")
                if fail:
                    raise KeyError(path)

        return await asyncio.gather(block("a", fail=False), block("b", fail=True), return_exceptions=True)

    assert isinstance(asyncio.run(main())[1], KeyError)
    assert [each for each in noted if "a" in each.split()[1]] == ["done a", "done a2"]
    assert [each for each in noted if "b" in each.split()[1]] == ["undo b2", "undo b"]


@pytest.mark.parametrize("is_async", [False, True], ids=["def", "async def"])
def test_a_timeout_of_the_flow_rolls_back(noted, is_async):
    """What breaks the code off is no Exception, and rolls back all the same."""

    @task(on_rollback=noted.undone)
    def write(path):
        get_transaction().set("path", path)

    @flow(timeout_seconds=0.2)
    def main():
        with transaction():
            write("a")
            threading.Event().wait(10)

    @flow(timeout_seconds=0.2)
    async def main_on_loop():
        async with transaction():
            write("a")
            await asyncio.sleep(10)

    with pytest.raises(TimeoutError):
        asyncio.run(main_on_loop()) if is_async else main()
    assert noted == ["undo a"]


def test_a_flow_that_is_told_to_stop_rolls_back(noted, write):
    """What was submitted and runs is broken off, and not waited for."""
    running = threading.Event()

    @task(on_rollback=lambda _: noted.append("undo slow"))
    def slow():
        running.set()
        while True:
            time.sleep(0.001)

    @flow
    def main():
        with transaction():
            write("a")
            slow.submit()
            assert running.wait(5)
            raise RunCancelled("SIGTERM")

    with pytest.raises(RunCancelled):
        main()
    assert noted == ["undo a"]


def test_an_async_flow_that_is_cancelled_rolls_back(noted, write):
    """Tasks on its event loop are cancelled, those in threads broken off, and hooks are still awaited."""

    @task
    async def slow():
        await asyncio.sleep(60)

    @task
    def in_thread():
        in_it.set()
        while True:
            time.sleep(0.001)

    @task
    async def quick():
        return None

    @quick.on_rollback
    async def undo(txn):
        await asyncio.sleep(0)
        noted.append("undo quick")

    @flow
    async def main():
        async with transaction():
            write("a")
            await quick()
            in_thread.submit()
            await asyncio.to_thread(in_it.wait, 5)
            begun.set()
            await slow.submit()

    async def cancelled():
        work = asyncio.ensure_future(main())
        await begun.wait()
        await asyncio.sleep(0)
        work.cancel()
        await work

    begun, in_it = asyncio.Event(), threading.Event()
    since_s = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancelled())
    assert noted == ["undo quick", "undo a"]
    assert time.monotonic() - since_s < STOP_GRACE_S


def test_a_flow_that_is_tried_again_begins_a_new_transaction(noted, write):
    """The first attempt was rolled back."""

    @flow(retries=1)
    def main():
        with transaction():
            write("a")
            if not noted:
                raise ConnectionError("lost")

    main()
    assert noted == ["undo a", "done a"]


def test_a_task_that_hooks_call_is_in_no_transaction(noted, write):
    """It is a task by itself."""

    @task
    def step():
        return None

    @step.on_rollback
    def undo(txn):
        noted.append(get_transaction())
        write("trash")

    @flow
    def main():
        with transaction():
            step()
            raise KeyError("no")

    with pytest.raises(KeyError):
        main()
    assert noted == [None, "done trash"]


def test_options_keep_their_hooks(noted, write):
    """with_options() has those of the decorators too, and may replace them."""
    other = write.with_options(retries=1)
    without = write.with_options(on_rollback=[])

    @flow
    def main():
        with transaction():
            other("a")
            without("b")
            raise KeyError("no")

    with pytest.raises(KeyError):
        main()
    assert noted == ["undo a"]


def unopened():
    return transaction()


def in_a_task():
    @task
    def step():
        with transaction():
            pass

    @flow
    def main():
        step.submit().result()

    main()


def twice():
    @flow
    def main():
        block = transaction()
        for _ in range(2):
            with block:
                pass

    main()


def over():
    @flow
    def main():
        with transaction() as txn:
            pass
        txn.set("a", 1)

    main()


def unknown():
    @flow
    def main():
        with transaction() as txn:
            txn.set("known", 1)
            txn.get("unknown")

    main()


def blocking():
    @flow
    async def main():
        with transaction():
            pass

    asyncio.run(main())


def blocking_below():
    def helper():
        with transaction():
            pass

    @flow
    async def main():
        helper()

    asyncio.run(main())


def out_of_order():
    def leaky():
        with transaction():
            yield

    @flow
    def main():
        rows = leaky()
        with transaction():
            next(rows)

    main()


def elsewhere():
    def leaky():
        with transaction():
            yield

    @flow
    def below(rows):
        next(rows, None)

    @flow(validate_parameters=False)
    def main():
        rows = leaky()
        next(rows)
        below(rows)

    below.validates = False
    main()


def outside():
    with transaction():
        pass


@pytest.mark.parametrize(
    ("misuse", "advice"),
    [
        (outside, "transaction() belongs into a flow; write it in a function below @flow"),
        (in_a_task, 'transaction() belongs into a flow; in task "step" open nothing'),
        (twice, "this transaction() was used already; write transaction(…) in each `with` statement"),
        (over, 'is over (Committed): set("a", …) belongs into its block'),
        (unknown, 'no value "unknown" was set; there are: known'),
        (blocking, "write `async with transaction(…)`"),
        (blocking_below, 'flow "main" is an `async def`: write `async with transaction(…)`, also in what it calls'),
        (out_of_order, "is left in another flow, task or order than it was entered"),
        (elsewhere, "is left in another flow, task or order than it was entered"),
        (lambda: transaction(7), "key is 7, expected some text"),
        (lambda: transaction(" "), "key is ' ', expected some text"),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_misuse_is_answered(misuse, advice):
    """With what to write instead."""
    with pytest.raises(UsageError) as refused:
        misuse()
    assert advice in str(refused.value)


async def coroutine(txn):
    pass


@pytest.mark.parametrize(
    ("hook", "advice"),
    [
        ("undo", "on_rollback has 'undo', expected a function of one argument"),
        (lambda task, run, state: None, "expected a function of one argument, such as `def undo(transaction)`"),
        (coroutine, "on_rollback has coroutine, an `async def`, which a `def` cannot await"),
    ],
    ids=["no function", "the arguments of other hooks", "a coroutine for a task with def"],
)
def test_a_hook_that_cannot_be_one_is_refused(write, hook, advice):
    """Where it is written, as decorator and as option."""
    with pytest.raises(UsageError) as refused:
        write.on_rollback(hook)
    assert advice in str(refused.value)
    with pytest.raises(UsageError):
        write.with_options(on_rollback=hook)


def test_a_hook_of_a_method_is_written_in_its_class(noted):
    """On one object it would be lost."""

    class Table:
        @task
        def load(self):
            return None

        load.on_rollback(noted.undone)

    table = Table()

    @flow
    def main():
        with transaction() as txn:
            txn.set("path", "table")
            table.load()
            raise KeyError("no")

    with pytest.raises(KeyError):
        main()
    assert noted == ["undo table"]
    with pytest.raises(UsageError, match="write it in the class"):
        table.load.on_rollback(noted.undone)


def test_flows_have_no_such_hooks():
    """They are refused where they are written."""
    with pytest.raises(UsageError, match='unknown option "on_rollback"'):
        flow(on_rollback=print)

"""Transactions over a result storage: what counts, what is owed, and what a process that dies leaves."""

import asyncio
import os
import signal
import threading
from types import SimpleNamespace

import pytest

from headrace import UsageError, flow, get_transaction, pause, task, transaction
from headrace.caching import INPUTS
from headrace.engine.session import using
from headrace.errors import ResultsError, RunCancelled, RunPaused
from headrace.results.cargo import opened
from tests.unit.headrace.engine.keeping.memory import URL, Killed, Memory, an_attempt, attempts_of, refuse
from tests.unit.headrace.runs import log_of_runs


class World(list):
    """What has really happened, in order."""

    def of(self, word):
        return [each.removeprefix(f"{word} ") for each in self if each.startswith(f"{word} ")]


@pytest.fixture
def world():
    return World()


@pytest.fixture
def write(world):
    """A task whose hooks tell what they are called for."""

    @task
    def write(path):
        get_transaction().set("path", path)
        world.append(f"did {path}")
        return [path]

    @write.on_rollback
    def undo(txn):
        world.append(f"undid {txn.get('path')}{txn.get('day', '')}")

    @write.on_commit
    def publish(txn):
        world.append(f"published {txn.get('path')}{txn.get('day', '')}")

    return write


@pytest.fixture
def check(world):
    """A task without hooks; it fails while `down` is set."""
    state = SimpleNamespace(down=True)

    @task
    def check():
        world.append("checked")
        if state.down:
            raise ConnectionError("down")

    state.task = check
    return state


def killed(flow_, memory, *arguments, attempt=1):
    with using(an_attempt(memory, attempt)), pytest.raises(Killed):
        flow_(*arguments)
    memory.before = memory.after = lambda _: None


def kill_at(call, number=1):
    """A hook of Memory that kills the process at the `number`-th call that begins so."""
    seen = []

    def hook(what):
        if what.startswith(call):
            seen.append(what)
            if len(seen) == number:
                raise Killed(what)

    return hook


def once(times):
    """Fails the first time."""
    if times == 1:
        raise TimeoutError("once")


def results(memory):
    return [key for key in memory.objects if "/finished/" in key]


def entries(memory):
    return [key for key in memory.objects if "/transactions/" in key and "committed-" not in key]


def test_results_of_a_committed_transaction_are_taken_by_later_attempts(world, write):
    """All of them; and their hooks are not called again."""

    @flow
    def main():
        with transaction() as txn:
            txn.set("day", 1)
            done = [write("a"), write("b")]
        if world.of("did") == ["a", "b"] and runs.append(1) is None and len(runs) == 1:
            raise ConnectionError("later")
        return done

    runs, memory = [], Memory()
    with using(an_attempt(memory)), pytest.raises(ConnectionError):
        main()
    second = an_attempt(memory, 2)
    with using(second):
        assert main() == [["a"], ["b"]]
    assert world == ["did a", "did b", "published a1", "published b1"]
    assert second.tally.counts().cached == 2
    assert entries(memory) == []


def test_results_of_a_transaction_that_failed_do_not_count(world, write, check):
    """Its tasks run again in the next attempt, after the hooks have undone them."""

    @flow
    def main():
        with transaction():
            write("a")
            check.task()
            return write("b")

    memory = Memory()
    with using(an_attempt(memory)), pytest.raises(ConnectionError):
        main()
    assert world == ["did a", "checked", "undid a"]
    assert list(memory.objects) == []
    check.down = False
    with using(an_attempt(memory, 2)):
        assert main() == ["b"]
    assert world.of("did") == ["a", "a", "b"]
    assert world.of("published") == ["a", "b"]


def test_a_block_that_is_tried_again_in_one_attempt_is_the_same_to_the_next(world, write, check):
    """The second try takes the place of the first one, which was rolled back: nothing runs again."""

    @flow
    def main():
        for _ in range(2):
            try:
                with transaction():
                    write("a")
                    once(len(world.of("did")))
            except TimeoutError:
                continue
            break
        check.task()

    memory = Memory()
    with using(an_attempt(memory)), pytest.raises(ConnectionError):
        main()
    check.down = False
    with using(an_attempt(memory, 2)):
        main()
    assert world.of("did") == ["a", "a"]
    assert world.of("undid") == world.of("published") == ["a"]


def test_an_inner_transaction_that_failed_is_no_part_of_the_commit(world, write, check):
    """Its results do not count, though the outer one is committed, and though they could not be deleted."""

    @flow
    def main():
        with transaction():
            try:
                with transaction():
                    write("a")
                    once(1)
            except TimeoutError:
                pass
            write("b")
        check.task()

    memory = Memory()
    memory.before = refuse("delete")
    with using(an_attempt(memory)), pytest.raises(ConnectionError):
        main()
    memory.before = lambda _: None
    assert len(results(memory)) == 2
    with using(an_attempt(memory, 2)), pytest.raises(ConnectionError):
        main()
    assert world.of("did") == ["a", "b", "a"]
    assert world.of("undid") == ["a", "a"]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_process_that_dies_at_any_write_is_settled_by_the_next(when):
    """Each story ends as if nothing had happened: what was noted is undone once before it is done again, or published."""
    number, stories = 0, 0
    while True:
        number += 1
        world, memory = World(), Memory()
        main = a_nested_flow(world)
        memory.__dict__[when] = kill_at_write(number)
        session = an_attempt(memory)
        with using(session):
            try:
                main()
            except Killed:
                stories += 1
            else:
                break
        memory.before = memory.after = lambda _: None
        owed_undo, owed_commit, at_kill = *owed(memory), len(world)
        with using(an_attempt(memory, 2)):
            assert main() == [["a"], ["b"], ["c"]]
        later = World(world[at_kill:])
        assert later[: len(owed_undo)] == [f"undid {each}" for each in reversed(owed_undo)], number
        if owed_commit is None:
            assert later.of("did") == ["a", "b", "c"]
            assert later.of("published") == ["amonday", "bmonday", "cmonday"]
        else:
            assert later == [f"published {each}" for each in owed_commit], number
        assert entries(memory) == []
        assert [key for key in memory.objects if key.startswith("transactions/day-")]
    assert stories == 21  # 8 values, tasks and keys noted, 3 results, 2 records, 8 entries taken away


def a_nested_flow(world):
    @task
    def write(path):
        get_transaction().set("path", path)
        world.append(f"did {path}")
        return [path]

    write.on_rollback(lambda txn: world.append(f"undid {txn.get('path')}{txn.get('day')}"))
    write.on_commit(lambda txn: world.append(f"published {txn.get('path')}{txn.get('day')}"))

    @flow
    def main():
        with transaction("day") as txn:
            txn.set("day", "monday")
            first = write("a")
            with transaction():
                second = write("b")
            return [first, second, write("c")]

    return main


def kill_at_write(number):
    seen = []

    def hook(what):
        if what.split(maxsplit=1)[0] in {"put", "delete"}:
            seen.append(what)
            if len(seen) == number:
                raise Killed(what)

    return hook


def owed(memory):
    """Paths whose rollback is owed, and those whose commit is; None for the latter: nothing is committed."""
    facts = [opened(memory.objects[key]).facts for key in sorted(entries(memory))]
    done = [f"{'abc'[int(each['task_run'][-1])]}monday" for each in facts if each["entry"] == "did"]
    is_committed = any("committed-" in key for key in memory.objects)
    return ([], done) if is_committed else (done, None)


def test_a_process_that_dies_while_it_rolls_back_calls_the_rest_later(world, write):
    """The hook whose entry was still there is called again: at least once each."""

    @flow
    def main():
        with transaction():
            write("a")
            write("b")
            if len(world.of("did")) == 2:
                raise TimeoutError("once")

    memory = Memory()
    memory.before = kill_at("delete team/etl-7/u-1/transactions/")
    killed(main, memory)
    assert world.of("undid") == ["b"]
    with using(an_attempt(memory, 2)):
        main()
    assert world.of("undid") == ["b", "b", "a"]
    assert world.of("published") == ["a", "b"]


def test_a_recovery_that_dies_is_recovered(world, write):
    """As often as it takes; what was undone and forgotten is not undone again."""

    @flow
    def main():
        with transaction():
            write("a")
            write("b")
            return write("c")

    memory = Memory()
    memory.before = kill_at("put team/etl-7/u-1/transactions/flow/block-0/committed-")
    killed(main, memory)
    for attempt in (2, 3):
        memory.after = kill_at("delete")
        killed(main, memory, attempt=attempt)
    result, _ = attempts_of(main, memory, attempt=4)
    assert result == ["c"]
    assert world.of("undid") == ["c", "b", "a"]
    assert world.of("did") == ["a", "b", "c"] * 2


def test_a_recovered_hook_gets_what_was_set(world):
    """Values of its own task, of the block and of those around it, also those that were set later; and the key."""

    @task
    def write(path):
        get_transaction().set("path", {path})
        return path

    @write.on_rollback
    def undo(txn):
        world.append((txn.get("path"), txn.get("inner"), txn.get("late"), txn.parent.parent.key, txn.is_rolled_back()))

    @flow
    def main():
        with transaction("k") as outer:
            with transaction() as inner:
                inner.set("inner", 1)
                write("a")
            outer.set("late", 2)

    memory = Memory()
    memory.before = kill_at("put team/etl-7/u-1/transactions/flow/key-k-0/committed-")
    killed(main, memory)
    with using(an_attempt(memory, 2)), log_of_runs() as log:
        main()
    assert world == [({"a"}, 1, 2, "k", True)]
    assert "transaction_recovered" in log.events


def test_a_value_that_cannot_be_stored_is_told(world, write):
    """Here hooks get it; a later attempt does not."""

    @flow
    def main():
        with transaction() as txn:
            txn.set("day", (each for each in "x"))
            write("a")
            raise TimeoutError("once")

    with using(an_attempt(Memory())), log_of_runs() as log, pytest.raises(TimeoutError):
        main()
    assert world.of("undid")[0].startswith("a<generator")
    told = next(each.getMessage() for each in log.records if each.event == "transaction_not_recorded")
    assert 'value "day" is not in the storage' in told


def test_hooks_that_are_gone_are_told(world, write):
    """The code has changed between the attempts: somebody must see to it."""

    @flow
    def main():
        with transaction():
            write("a")

    memory = Memory()
    memory.before = kill_at("put team/etl-7/u-1/transactions/flow/block-0/committed-")
    killed(main, memory)
    for key in entries(memory):
        memory.objects[key] = memory.objects[key].replace(b'"function":"write', b'"function":"wrote')
        memory.objects[key] = memory.objects[key].replace(b"<locals>.write", b"<locals>.wrote")
    with using(an_attempt(memory, 2)), log_of_runs() as log:
        main()
    assert "the hooks of write-0 are not called" in next(
        each.getMessage() for each in log.records if each.event == "hook_failed"
    )
    assert world.of("undid") == []


def test_a_key_tells_whether_it_was_committed(world, write):
    """By another run of the flow; a block that goes on all the same is a transaction like any."""

    @flow
    def main(*, skip):
        with transaction("load-1") as txn:
            if skip and txn.is_committed():
                return "skipped"
            write("a")
            return txn.is_committed()

    memory = Memory()
    with using(an_attempt(memory)):
        assert main(skip=True) is False
    with using(an_attempt(memory, flow_run_uid="u-2")):
        assert main(skip=True) == "skipped"
    with using(an_attempt(memory, flow_run_uid="u-3")):
        assert main(skip=False) is True
    with using(an_attempt(memory, flow_run_uid="u-4", flow="other")):
        assert main(skip=True) is False
    assert world.of("did") == ["a", "a", "a"]


def test_a_key_of_a_transaction_that_failed_is_not_committed(world, write, check):
    """Nor one of an inner one, whose outer one failed."""

    @flow
    def main():
        with transaction("outer") as outer:
            with transaction("inner") as inner:
                seen.append((outer.is_committed(), inner.is_committed()))
                write("a")
            check.task()

    seen, memory = [], Memory()
    for attempt in (1, 2, 3, 4):
        check.down = attempt < 3
        with using(an_attempt(memory, attempt)):
            main(return_state=True)
    assert seen == [(False, False)] * 3 + [(True, True)]


def test_a_key_needs_a_storage():
    """A pod that has none cannot tell."""

    @flow
    def main():
        with transaction("load-1"):
            pass

    with using(an_attempt(Memory(), results_url="")), pytest.raises(UsageError, match="no results URL"):
        main()


def test_a_storage_that_cannot_be_read_keeps_the_block_from_beginning(world, write):
    """It is not known what is owed."""

    @flow
    def main():
        with transaction():
            write("a")

    memory = Memory()
    memory.before = refuse("list")
    with using(an_attempt(memory)), pytest.raises(ResultsError):
        main()
    assert world == []


def test_a_note_that_is_not_whole_is_told(world, write):
    """A person must see to what is owed."""

    @flow
    def main():
        with transaction():
            write("a")

    memory = Memory()
    memory.before = kill_at("put team/etl-7/u-1/transactions/flow/block-0/committed-")
    killed(main, memory)
    torn = entries(memory)[0]
    memory.objects[torn] = memory.objects[torn][:-3]
    with using(an_attempt(memory, 2)), pytest.raises(ResultsError, match="see to what its tasks have done") as told:
        main()
    assert told.value.key == torn


def test_a_commit_whose_record_cannot_be_written_counts_here(world, write, check):
    """It may be there all the same. If it is not, the next attempt rolls back and does it again."""

    @flow
    def main():
        with transaction():
            write("a")
        check.task()

    memory = Memory()
    memory.before = lambda what: refuse("put")(what) if "committed-" in what else None
    with using(an_attempt(memory)), log_of_runs() as log, pytest.raises(ConnectionError):
        main()
    memory.before = lambda _: None
    assert "transaction_not_recorded" in log.events
    assert world == ["did a", "published a", "checked"]
    check.down = False
    with using(an_attempt(memory, 2)):
        main()
    assert world[3:] == ["undid a", "did a", "published a", "checked"]


@pytest.mark.parametrize("point", ["before", "after"])
def test_a_flow_that_is_told_to_stop_while_it_commits_knows_where_it_is(world, write, point):
    """Before the record it is rolled back; after it it is committed, and the hook that was broken off is called again."""

    @flow
    def main():
        with transaction():
            write("a")

    def stop(what):
        if "/finished/" in what and point == "before":
            raise RunCancelled("SIGTERM")

    memory = Memory()
    memory.after = stop
    if point == "after":
        write.on_commit(lambda _: stopped() if len(world) == 2 else None)
    with using(an_attempt(memory)), pytest.raises(RunCancelled):
        main()
    memory.after = lambda _: None
    assert world == (["did a", "undid a"] if point == "before" else ["did a", "published a"])
    with using(an_attempt(memory, 2)):
        main()
    assert world[2:] == (["did a", "published a"] if point == "before" else ["published a"])
    assert entries(memory) == []


def stopped():
    raise RunCancelled("SIGTERM")


@pytest.mark.parametrize("fails", [False, True], ids=["on commit", "on rollback"])
def test_hooks_that_follow_one_that_was_broken_off_are_called(world, write, fails):
    """The flow ends as cancelled; the one that was broken off is still owed."""

    @flow
    def main():
        with transaction():
            write("a")
            write("b")
            write("c")
            if fails:
                raise ConnectionError("lost")

    def broken_off(txn):
        if txn.get("path") == "b":
            stopped()

    write.on_commit(broken_off)
    write.on_rollback(broken_off)
    memory = Memory()
    with using(an_attempt(memory)), pytest.raises(RunCancelled):
        main()
    assert world[3:] == (["undid c", "undid b", "undid a"] if fails else ["published a", "published b", "published c"])
    assert len([key for key in entries(memory) if b'"entry":"did"' in memory.objects[key]]) == 1


def test_a_flow_that_is_told_to_stop_while_the_record_is_written_waits_for_it(world, write):
    """What it was told to stop by is raised when it is known that the block is committed, and its hooks were called."""
    told_to_stop, memory = threading.Event(), Memory()

    def slow(what):
        if "committed-" in what:
            interrupt.set()
            assert told_to_stop.wait(5)

    def main_thread():
        with transaction():
            write("a")

    interrupt = threading.Event()
    memory.before = slow

    def signal_when_asked():
        assert interrupt.wait(5)
        os.kill(os.getpid(), signal.SIGUSR1)

    def take(*_):
        told_to_stop.set()
        raise RunCancelled("SIGUSR1")

    before = signal.signal(signal.SIGUSR1, take)
    watcher = threading.Thread(target=signal_when_asked)
    watcher.start()
    try:
        with using(an_attempt(memory)), pytest.raises(RunCancelled):
            flow(name="main")(main_thread)()
    finally:
        watcher.join()
        signal.signal(signal.SIGUSR1, before)
    assert world == ["did a", "published a"]
    assert entries(memory) == []


def test_calls_that_failed_in_a_block_that_was_rolled_back_do_not_count(world, write, check):
    """The next try takes their numbers too, so that a later attempt finds what that one has stored."""

    @flow
    def main():
        for _ in range(2):
            try:
                with transaction():
                    write("a")
                    check.task()
            except ConnectionError:
                check.down = False
                continue
            break
        once(len(world.of("did")) - 1)

    memory = Memory()
    with using(an_attempt(memory)), pytest.raises(TimeoutError):
        main()
    second = an_attempt(memory, 2)
    with using(second), pytest.raises(TimeoutError):
        main()
    assert world == ["did a", "checked", "undid a", "did a", "checked", "published a"]
    assert second.tally.counts().cached == 2


def test_a_pause_in_a_cluster_begins_the_block_anew(world, write):
    """The pod goes meanwhile: what it has done is undone, and done again after the answer."""

    @flow
    def main():
        with transaction():
            write("a")
            pause("deploy")
        return "done"

    memory = Memory()
    with using(an_attempt(memory, answers={})), pytest.raises(RunPaused) as paused:
        main()
    assert world == ["did a", "undid a"]
    answers = {paused.value.pause.name: {"decision": "Approve"}}
    with using(an_attempt(memory, 2, answers=answers)):
        assert main() == "done"
    assert world[2:] == ["did a", "published a"]


def test_cached_results_are_shared_once_they_are_committed(world, check):
    """A second call in the block takes the result; other runs get it after the commit."""

    @task(cache_policy=INPUTS)
    def rates(x):
        world.append(f"did {x}")
        return x

    @flow
    def main():
        with transaction():
            first = rates(1)
            assert rates(1) == first
            check.task()

    @flow
    def other():
        return rates(1)

    memory = Memory()
    with using(an_attempt(memory)), pytest.raises(ConnectionError):
        main()
    assert world.of("did") == ["1"]
    assert not [key for key in memory.objects if key.endswith("/result")]
    check.down = False
    with using(an_attempt(memory, 2)):
        main()
    with using(an_attempt(memory, flow_run_uid="u-2")):
        assert other() == 1
    assert world.of("did") == ["1", "1"]


def test_an_async_flow_commits_and_recovers(world):
    """The event loop does not wait for the storage."""

    @task
    async def write(path):
        await asyncio.sleep(0)
        get_transaction().set("path", path)
        world.append(f"did {path}")
        return path

    @write.on_rollback
    async def undo(txn):
        await asyncio.sleep(0)
        world.append(f"undid {txn.get('path')}")

    @flow
    async def main():
        async with transaction():
            return [await write("a"), await write.submit("b")]

    memory = Memory()
    memory.before = kill_at("put team/etl-7/u-1/transactions/flow/block-0/committed-")
    with using(an_attempt(memory)), pytest.raises(Killed):
        asyncio.run(main())
    memory.before = lambda _: None
    with using(an_attempt(memory, 2)):
        assert asyncio.run(main()) == ["a", "b"]
    with using(an_attempt(memory, 3)):
        assert asyncio.run(main()) == ["a", "b"]
    assert world == ["did a", "did b", "undid b", "undid a", "did a", "did b"]


def test_without_a_results_url_nothing_is_stored(world, write):
    """Neither a journal nor a record."""

    @flow
    def main():
        with transaction() as txn:
            txn.set("day", 1)
            write("a")

    memory = Memory()
    with using(an_attempt(memory, results_url="")):
        main()
    assert world == ["did a", "published a1"]
    assert memory.log == []


def test_what_lies_there_is_in_the_folder_of_the_run(world, write):
    """Where `headrace results` shows it."""

    @flow
    def below():
        with transaction():
            write("b")

    @flow
    def main():
        with transaction():
            write("a")
        below()

    memory = Memory()
    with using(an_attempt(memory)):
        main()
    records = sorted(key.rpartition("-")[0] for key in memory.objects if "/transactions/" in key)
    folder = "team/etl-7/u-1/transactions"
    assert records == [f"{folder}/below-0/block-0/committed", f"{folder}/flow/block-0/committed"]
    assert URL.startswith("memory")

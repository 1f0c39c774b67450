"""A later attempt of a run takes what earlier ones have finished."""

import asyncio
import re
import threading
from functools import partial

import pytest

from headrace import Pod, Processes, flow, runtime, task
from headrace.caching import INPUTS
from headrace.engine.keeping.policies import Keeping
from headrace.engine.session import using
from headrace.errors import ResultsError
from headrace.remote.calling import TaskPods
from headrace.remote.flow_runs import Parent
from tests.unit.headrace.engine.keeping.memory import URL, Killed, Memory, an_attempt, attempts_of, refuse
from tests.unit.headrace.process_tasks import where
from tests.unit.headrace.runs import a_session, log_of_runs


class Ran(list):
    """What tasks of a test have really done."""

    def note(self, what):
        self.append(what)
        return what


RAN = Ran()


class Source:
    """Its object is an argument like others."""

    def __init__(self, base):
        self.base = base

    @task
    def read(self, x):
        return RAN.note(self.base + x)


def note(x):
    return RAN.note(x)


def a_lock():
    return threading.Lock()


def once(step):
    """A flow that calls the task, once."""

    @flow
    def main():
        return step()

    return main


@pytest.fixture
def ran():
    RAN.clear()
    return RAN


def test_a_later_attempt_takes_what_is_finished(ran):
    """It is not run again, is told, and counts as cached and as succeeded."""

    @task
    def step(x):
        return ran.note(x)

    @flow
    def main(times):
        done = [step(x) for x in range(times)]
        if len(ran) < 4:
            raise ConnectionError("lost")
        return done

    memory = Memory()
    with using(an_attempt(memory)), pytest.raises(ConnectionError):
        main(3)
    second = an_attempt(memory, 2)
    with using(second), log_of_runs() as log:
        assert main(4) == [0, 1, 2, 3]
    assert ran == [0, 1, 2, 3]
    counts = second.tally.counts()
    assert (counts.total, counts.succeeded, counts.cached, counts.failed) == (4, 4, 3, 0)
    assert [each for each in log.events if each.endswith("step-1")] == ["task_cached step-1"]
    assert log.events[-3:] == ["task_started step-3", "task_succeeded step-3", "flow_succeeded"]
    assert len(memory.calls("list")) == 2  # once an attempt


def test_the_state_says_that_the_result_was_there(ran):
    """Hooks on success are called, as nobody knows whether they were."""
    hooks = []
    step = task(
        name="step", on_success=lambda *_: hooks.append("success"), on_running=lambda *_: hooks.append("running")
    )(partial(ran.note, 1))

    @flow
    def main():
        return step(return_state=True).message

    memory = Memory()
    with using(an_attempt(memory)):
        assert main() == ""
    with using(an_attempt(memory, 2)):
        assert "earlier attempt" in main()
    assert hooks == ["running", "success", "success"]


def test_calls_of_every_kind_are_found_again(ran):
    """Called, submitted, mapped, awaited, nested, in a subflow, and by a method."""

    @task
    def inner(x):
        return ran.note(("inner", x))

    @task
    def outer(x):
        return [inner(x), ran.note(("outer", x))]

    @task
    async def waits(x):
        await asyncio.sleep(0)
        return ran.note(("waits", x))

    @flow
    async def below(x):
        return await asyncio.gather(*[waits(x) for _ in range(2)])

    @flow
    async def main():
        some = [Source(10).read(1), Source(20).read(1), outer(5)]
        some += [await future for future in inner.map([1, 2, 2, 3])]
        some += [await waits.submit(inner.submit(7)), await below(1), await waits(1)]
        if attempt[0] == 1:
            raise ConnectionError("lost")
        return some

    memory, attempt = Memory(), [1]
    with using(an_attempt(memory)), pytest.raises(ConnectionError):
        asyncio.run(main())
    first, attempt[0] = list(ran), 2
    second = an_attempt(memory, 2)
    with using(second):
        result = asyncio.run(main())
    assert ran == first
    assert result[:3] == [11, 21, [("inner", 5), ("outer", 5)]]
    assert second.tally.counts().cached == second.tally.counts().total == 12


def test_the_order_in_which_tasks_begin_does_not_matter(ran):
    """A result is found by the arguments of its call."""
    step = task(name="step")(lambda x: ran.note(x) * 10)

    @flow
    def main(order):
        return {x: step(x) for x in order}

    memory = Memory()
    with using(an_attempt(memory)):
        main([1, 2, 3])
    with using(an_attempt(memory, 2)):
        assert main([3, 1, 2]) == {3: 30, 1: 10, 2: 20}
    assert ran == [1, 2, 3]


def test_equal_calls_are_told_apart_by_their_number(ran):
    """Two calls with the same arguments are two runs, in every attempt."""
    step = task(name="step")(lambda: ran.note(len(ran)))

    @flow
    def main(times):
        return [step() for _ in range(times)]

    memory = Memory()
    with using(an_attempt(memory)):
        assert main(2) == [0, 1]
    with using(an_attempt(memory, 2)):
        assert main(3) == [0, 1, 2]


def test_other_runs_find_nothing(ran):
    """Checkpoints are those of one run."""
    step = task(name="step")(partial(ran.note, 1))
    main = once(step)
    memory = Memory()
    for uid in ("u-1", "u-2"):
        with using(an_attempt(memory, flow_run_uid=uid)):
            main()
    assert ran == [1, 1]
    assert all(key.startswith("team/etl-7/u-") for key in memory.objects)


def test_other_code_finds_nothing(ran):
    """The text of the task is part of what it is found by."""

    def old(x):
        return ran.note(x + 1)

    def new(x):
        return ran.note(x + 2)

    memory = Memory()
    for function in (old, new, old):
        step = task(name="step")(function)
        with using(an_attempt(memory)):
            flow(name="main")(lambda step=step: step(1))()
    assert ran == [2, 3]


def test_a_task_may_opt_out(ran):
    """persist_result=False."""
    step = task(name="step", persist_result=False)(partial(ran.note, 1))
    memory = Memory()
    for attempt in (1, 2):
        with using(an_attempt(memory, attempt)):
            once(step)()
    assert ran == [1, 1]
    assert memory.log == []


def test_without_a_url_nothing_is_stored_and_nothing_said(ran):
    """The default of a laptop and of a Flow without results."""
    step = task(name="step")(partial(ran.note, 1))
    memory = Memory()
    with using(an_attempt(memory, results_url="")), log_of_runs() as log:
        once(step)()
    assert memory.log == []
    assert [each.levelname for each in log.records] == ["INFO"] * 4


def test_asking_for_it_without_a_url_is_told_in_a_pod(ran):
    """Once a task; the task runs."""
    step = task(name="step", persist_result=True)(note)
    with using(a_session(repeats_flows=False, flow="etl")), log_of_runs() as log:
        flow(name="main")(lambda: [step(1), step(2)])()
    assert ran == [1, 2]
    assert [each for each in log.events if each.startswith("result_")] == [
        "result_not_read step-0",
        "result_not_stored step-0",
    ]
    assert "spec.results.url" in log.records[1].getMessage()


def test_a_laptop_keeps_what_asks_for_it_in_the_users_cache(ran, tmp_path, monkeypatch):
    """A flow that tries again there takes it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    step = task(name="step", persist_result=True)(partial(ran.note, 1))

    @flow(retries=1)
    def main():
        step()
        if len(tries) == 0:
            tries.append(1)
            raise ConnectionError("lost")

    tries = []
    with using(a_session()):
        main()
    assert ran == [1]
    assert list((tmp_path / "headrace" / "results" / "local").rglob("step-*"))


def test_arguments_that_cannot_be_told_apart_run_the_task(ran):
    """Told once a task, without alarm."""
    step = task(name="step")(lambda lock: ran.note(1))
    memory = Memory()
    with using(an_attempt(memory)), log_of_runs() as log:
        flow(name="main")(lambda: [step(threading.Lock()), step(threading.Lock())])()
    told = [each for each in log.records if each.event == "result_not_stored"]
    assert [each.levelname for each in told] == ["INFO"]
    assert "_thread.lock" in told[0].getMessage()
    assert ran == [1, 1]


def test_a_result_that_cannot_be_pickled_is_not_stored(ran):
    """Told once a task, with what to do; the flow gets it."""
    step = task(name="step")(a_lock)
    memory = Memory()
    with using(an_attempt(memory)), log_of_runs() as log:
        assert len(flow(name="main")(lambda: [step(), step()])()) == 2
    told = [each.getMessage() for each in log.records if each.event == "result_not_stored"]
    assert len(told) == 1
    assert "persist_result=False" in told[0]


@pytest.mark.parametrize(
    ("broken", "event"), [("put", "result_not_stored"), ("list", "result_not_read"), ("get", "result_not_read")]
)
def test_a_storage_that_fails_ends_no_task(broken, event, ran):
    """Once a thing it is told, and the task runs."""
    step = task(name="step")(note)
    main = flow(name="main")(lambda: [step(1), step(2)])
    memory = Memory()
    with using(an_attempt(memory)):
        main()
    memory.before = refuse(broken)
    with using(an_attempt(memory, 2)), log_of_runs() as log:
        assert main() == [1, 2]
    assert ran == ([1, 2] if broken == "put" else [1, 2, 1, 2])
    if broken != "put":
        assert {each.event for each in log.records if each.levelname == "WARNING"} == {event}


def test_a_storage_that_cannot_be_opened_ends_no_task(ran):
    """As one that fails."""

    def refused(_):
        raise ResultsError("s3://b", "", "no credentials")

    step = task(name="step")(note)
    with using(an_attempt(Memory(), open_storage=refused)), log_of_runs() as log:
        assert flow(name="main")(lambda: [step(1), step(2)])() == [1, 2]
    assert [each for each in log.events if each.startswith("result_")] == [
        "result_not_read step-0",
        "result_not_stored step-0",
    ]


def test_a_storage_that_is_there_a_little_later_is_used(ran):
    """One that cannot be reached at the first task is tried again."""
    memory = Memory()
    answers = iter([ResultsError("postgresql://db", "", "the database starts up"), None])

    def opened(_):
        if error := next(answers):
            raise error
        return memory

    step = task(name="step")(note)
    with using(an_attempt(memory, open_storage=opened)):
        flow(name="main")(lambda: [step(1), step(2)])()
    assert len(memory.objects) == 2


def test_a_torn_object_counts_as_absent(ran):
    """It is told, and replaced."""
    step = task(name="step")(note)
    memory = Memory()
    for attempt in (1, 2, 3):
        with using(an_attempt(memory, attempt)), log_of_runs() as log:
            assert flow(name="main")(lambda: step(1))() == 1
        told = [each.event for each in log.records if each.levelname == "WARNING"]
        assert told == (["result_not_read"] if attempt == 2 else [])
        if attempt == 1:
            memory.objects = {key: data[:-1] for key, data in memory.objects.items()}
    assert ran == [1, 1]


def test_a_result_is_there_before_anybody_sees_the_end(ran):
    """Before hooks on success, and before the future is done."""
    memory = Memory()
    seen = []
    step = task(name="step", on_success=lambda *_: seen.append(len(memory.calls("put"))))(note)

    @flow
    def main():
        future = step.submit(1)
        future.wait()
        seen.append(len(memory.calls("put")))

    with using(an_attempt(memory)):
        main()
    assert seen == [1, 1]


def test_a_task_that_fails_is_run_again(ran):
    """Only what succeeded is kept, whichever attempt of the task did."""
    flaky = iter([ValueError("no"), 1])

    @task(retries=1)
    def step():
        ran.note("step")
        found = next(flaky)
        if isinstance(found, Exception):
            raise found
        return found

    memory = Memory()
    with using(an_attempt(memory)):
        assert once(step)() == 1
    with using(an_attempt(memory, 2)):
        assert once(step)() == 1
    assert ran == ["step", "step"]


def test_tasks_in_processes_are_kept_too(tmp_path):
    """Their results go through the storage of the flow's process."""

    @flow(task_runner=Processes(max_workers=1))
    def main():
        return where.submit(3).result()

    results = []
    for attempt, cached in ((1, 0), (2, 1)):
        session = an_attempt(Memory(), attempt, results_url=tmp_path.as_uri(), open_storage=None)
        with using(session):
            results.append(main())
        assert session.tally.counts().cached == cached
    assert results[0] == results[1]  # the same process, as there was one


def a_flow_of_three(ran):
    step = task(name="step")(lambda x: ran.note(x) * 10)
    waits = task(name="waits")(lambda x: ran.note(x) * 10)

    @flow
    def main():
        return [step(1), *[future.result() for future in waits.map([2, 3], max_concurrency=1)]]

    return main


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("how", [Killed, lambda: ResultsError("memory://", "x", "503")], ids=["killed", "refused"])
@pytest.mark.parametrize("write", range(3))
def test_a_fault_at_any_write_loses_nothing_and_repeats_nothing_stored(moment, how, write, ran):
    """Just before a write that one task may run again, just after it none does."""
    memory = Memory()

    def fault(what):
        if what.startswith("put") and len(memory.calls("put")) == (write if moment == "before" else write + 1):
            raise how()

    setattr(memory, moment, fault)
    result, sessions = attempts_of(a_flow_of_three(ran), memory)
    assert result == [10, 20, 30]
    again = len(ran) - 3
    if how is Killed:
        assert len(sessions) == 2
        assert again == (1 if moment == "before" else 0)
    else:
        assert (len(sessions), again) == (1, 0)


def test_an_async_task_is_stored_off_the_loop(ran):
    """A storage that is slow holds up nobody else."""
    memory = Memory()
    threads = set()
    memory.before = lambda _: threads.add(threading.get_ident())

    @task
    async def step(x):
        return ran.note(x)

    @flow
    async def main():
        return [await step(1), threading.get_ident()]

    with using(an_attempt(memory)):
        here = asyncio.run(main())[1]
    assert threads
    assert here not in threads


def test_the_stand_in_of_a_task_in_a_pod_is_no_checkpoint_beside_it():
    """It has a way of its own; what it caches for other runs is cached."""
    pods = TaskPods(Parent("team", "etl-7", "u-1", "etl", "", 1, {}, ""), URL, "etl:main", None, {})
    assert pods.stand_in(task(pod=Pod())(note).described).keeping == Keeping(checkpoint=False)
    cached = task(pod=Pod(), cache_policy=INPUTS)(note)
    assert pods.stand_in(cached.described).keeping == Keeping(checkpoint=False, policy=INPUTS)


def test_a_cancelled_run_does_not_wait_for_a_storage_that_hangs(ran):
    """It ends, and the loop closes."""
    memory, hangs, go, waited = Memory(), threading.Event(), threading.Event(), []

    def hang(what):
        if what.startswith("put"):
            hangs.set()
            waited.append(go.wait(30))

    memory.before = hang

    @task
    async def step():
        return ran.note(1)

    @flow
    async def main():
        await step()

    async def cancelled():
        run = asyncio.ensure_future(main())
        assert await asyncio.to_thread(hangs.wait, 30)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run

    session = an_attempt(memory)
    try:
        with using(session):
            asyncio.run(cancelled())
        assert not waited
        assert session.tally.counts().failed == 1
    finally:
        go.set()


def test_a_run_that_nobody_named_never_gets_what_an_earlier_one_has_kept():
    """Its made-up name is its only mark: of a million runs, two have the same with a chance of one in five hundred."""

    @flow
    def main():
        return runtime.flow_run.name

    assert re.fullmatch("main-[0-9a-f]{12}", main())

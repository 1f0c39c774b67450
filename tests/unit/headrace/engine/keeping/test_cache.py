"""Results that runs share by what they were computed from."""

import asyncio
import threading
from datetime import timedelta
from functools import partial

import pytest

from headrace import flow, task
from headrace.caching import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    task_input_hash,
)
from headrace.engine.keeping import claims
from headrace.engine.session import using
from headrace.errors import ResultsError
from tests.unit.headrace.engine.keeping.memory import Killed, Memory, an_attempt, attempts_of, refuse
from tests.unit.headrace.runs import a_session, log_of_runs


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self):
        self.passed_s = 0.0
        self.slept = lambda: None

    def now_s(self):
        return self.passed_s

    def wall_s(self):
        return 1_800_000_000.0 + self.passed_s

    def sleep(self, seconds):
        self.passed_s += seconds
        self.slept()

    async def sleep_on_loop(self, seconds):
        self.sleep(seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def memory():
    return Memory()


def a_run(memory, uid="u-1", attempt=1, **changes):
    return an_attempt(memory, attempt, flow_run=f"etl-{uid}", flow_run_uid=uid, **changes)


def ran_by(memory, step, *calls, **changes):
    """Runs a flow for each of these arguments, each a run of its own; the events of the tasks, as last words."""
    words = []
    for number, arguments in enumerate(calls):
        with using(a_run(memory, f"u-{number}", **changes)), log_of_runs() as log:
            flow(name="main")(lambda arguments=arguments: step(*arguments))()
        words.append("cached" if any(each.startswith("task_cached") for each in log.events) else "ran")
    return words


def test_tasks_of_one_text_that_close_over_other_values_do_not_share(memory):
    """Such as a task that is made in a loop."""

    def made_for(place):
        return task(name="step", cache_policy=INPUTS)(lambda x: [place, x])

    @flow
    def main():
        return [made_for(place)(1) for place in ("dev", "prod", "dev")]

    with using(a_run(memory)):
        assert main() == [["dev", 1], ["prod", 1], ["dev", 1]]


def test_another_run_takes_the_result(memory):
    """With the same inputs; the state says from whom."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: [x])
    assert ran_by(memory, step, (1,), (1,), (2,), (1,)) == ["ran", "cached", "ran", "cached"]
    session = a_run(memory, "u-9")
    with using(session):
        state = flow(name="main")(lambda: step(1, return_state=True))()
    assert state.data == [1]
    assert "step-0 of team/etl-u-0/u-0" in state.message
    assert session.tally.counts().cached == 1
    assert all(key.startswith("cache/step-") for key in memory.objects)


POLICIES = {
    "inputs": (INPUTS, ["ran", "cached", "ran", "ran"]),
    "inputs without one": (INPUTS - "y", ["ran", "cached", "cached", "ran"]),
    "source": (TASK_SOURCE, ["ran", "cached", "cached", "cached"]),
    "inputs and source": (INPUTS + TASK_SOURCE, ["ran", "cached", "ran", "ran"]),
    "the run": (RUN_ID, ["ran", "ran", "ran", "ran"]),
    "default": (DEFAULT, ["ran", "ran", "ran", "ran"]),
    "a function of the parameters": (CacheKeyFnPolicy(lambda run, parameters: str(parameters["x"])), ["ran", "cached", "cached", "ran"]),
    "a function without a key": (CacheKeyFnPolicy(lambda run, parameters: None), ["ran", "ran", "ran", "ran"]),
    "the hash of inputs": (CacheKeyFnPolicy(task_input_hash), ["ran", "cached", "ran", "ran"]),
    "nothing": (NO_CACHE, ["ran", "ran", "ran", "ran"]),
}  # fmt: skip


@pytest.mark.parametrize(("policy", "words"), POLICIES.values(), ids=POLICIES)
def test_the_policy_says_which_calls_share(policy, words, memory):
    """Calls that have in common what it names."""

    def add(x, y=0):
        return x + y

    assert ran_by(memory, task(cache_policy=policy)(add), (1,), (1, 0), (1, 5), (2,)) == words


def test_parameters_of_the_flow_may_count(memory):
    """FLOW_PARAMETERS."""
    step = task(name="step", cache_policy=FLOW_PARAMETERS)(lambda: len(memory.log))

    @flow
    def main(day):
        return step()

    found = []
    for day in ("mon", "mon", "tue"):
        with using(a_run(memory, f"u-{len(found)}")):
            found.append(main(day))
    assert found[0] == found[1] != found[2]


def test_other_code_computes_anew_where_the_source_counts(memory):
    """TASK_SOURCE."""

    def old(x):
        return x

    def new(x):
        return x + 1

    for policy, words in ((INPUTS, "cached"), (INPUTS + TASK_SOURCE, "ran")):
        memory.objects.clear()
        assert ran_by(memory, task(name="step", cache_policy=policy)(old), (1,)) == ["ran"]
        assert ran_by(memory, task(name="step", cache_policy=policy)(new), (1,)) == [words]


def test_flows_and_tasks_of_others_share_nothing(memory):
    """Many tasks are called extract, in many teams."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)
    other = step.with_options(name="other")
    assert ran_by(memory, step, (1,)) == ["ran"]
    assert ran_by(memory, other, (1,)) == ["ran"]
    assert ran_by(memory, step, (1,), flow="load") == ["ran"]
    assert ran_by(memory, step, (1,), namespace="b") == ["ran"]
    assert ran_by(memory, step, (1,)) == ["cached"]


def test_what_is_too_old_is_computed_anew(memory, clock):
    """By the age that the task names now."""
    step = task(name="step", cache_policy=INPUTS, cache_expiration=timedelta(minutes=1))(lambda x: x)
    assert ran_by(memory, step, (1,), clock=clock) == ["ran"]
    clock.passed_s += 59
    assert ran_by(memory, step, (1,), clock=clock) == ["cached"]
    clock.passed_s += 1
    assert ran_by(memory, step, (1,), (1,), clock=clock) == ["ran", "cached"]


@pytest.mark.parametrize("by", ["task", "environment"])
def test_a_refresh_computes_and_replaces(by, memory, clock):
    """For the others too."""
    values = iter(["old", "new"])
    step = task(name="step", cache_policy=INPUTS)(lambda: next(values))
    fresh = step.with_options(refresh_cache=True) if by == "task" else step
    assert ran_by(memory, step, (), clock=clock) == ["ran"]
    assert ran_by(memory, fresh, (), clock=clock, refresh_cache=by == "environment") == ["ran"]
    assert ran_by(memory, step, (), clock=clock) == ["cached"]
    with using(a_run(memory, clock=clock)):
        assert flow(name="main")(lambda: [step()])() == ["new"]


@pytest.mark.parametrize("options", [{"refresh_cache": True}, {"cache_expiration": 1}], ids=str)
def test_a_later_attempt_takes_what_its_run_has_cached(options, memory, clock):
    """Though it is to be refreshed, or has expired since; once."""
    step = task(name="step", cache_policy=INPUTS, **options)(lambda x: x)

    @flow
    def main():
        return [step(1, return_state=True).message != "" for _ in range(2)]

    with using(a_run(memory, clock=clock)):
        flow(name="main")(lambda: step(1))()
    clock.passed_s += 100
    with using(a_run(memory, attempt=2, clock=clock)):
        assert main() == [True, False]


def test_two_calls_of_one_run_share(memory):
    """Submitted beside each other, one computes and the other waits."""
    begun, go, ran = threading.Event(), threading.Event(), []

    @task(cache_policy=INPUTS)
    def step(x):
        ran.append(x)
        begun.set()
        assert go.wait(30)
        return x

    class Still(Clock):
        """Stands still, so that no lease ends, while it lets others work."""

        def sleep(self, _seconds):
            go.set()
            threading.Event().wait(0.001)

    @flow
    def main():
        first = step.submit(1)
        assert begun.wait(30)
        return [first, step.submit(1)]

    with using(a_run(memory, clock=Still())):
        assert main() == [1, 1]
    assert ran == [1]


def test_an_async_task_waits_without_holding_the_loop(memory):
    """The one that computes is on the same loop."""
    ran = []

    @task(cache_policy=INPUTS)
    async def step(x):
        ran.append(x)
        await asyncio.sleep(0)
        return x

    @flow
    async def main():
        return await asyncio.gather(*[step(1) for _ in range(5)])

    class Still(Clock):
        async def sleep_on_loop(self, _seconds):
            await asyncio.sleep(0)

    with using(a_run(memory, clock=Still())):
        assert asyncio.run(main()) == [1] * 5
    assert ran == [1]


def test_a_task_outside_of_a_flow_is_cached_too(tmp_path, monkeypatch):
    """On a laptop without a URL, in the user's cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = []
    step = task(name="step", cache_policy=INPUTS + TASK_SOURCE)(lambda x: ran.append(x) or x)
    with using(a_session()):
        step(1)
        step(1)
    assert ran == [1]
    assert list((tmp_path / "headrace" / "results" / "cache").glob("step-*/result"))


WITHOUT_KEY = {
    "an input that cannot be told": ({"cache_policy": INPUTS}, (threading.Lock(),), 'INPUTS - "name"'),
    "a key function that raises": ({"cache_key_fn": lambda run, parameters: 1 / 0}, (1,), "ZeroDivisionError"),
}


@pytest.mark.parametrize(("options", "arguments", "said"), WITHOUT_KEY.values(), ids=WITHOUT_KEY)
def test_a_call_without_a_key_runs(options, arguments, said, memory):
    """And is told once a task."""
    step = task(name="step", **options)(lambda x: 1)
    with using(a_run(memory)), log_of_runs() as log:
        flow(name="main")(lambda: [step(*arguments), step(*arguments)])()
    told = [each.getMessage() for each in log.records if each.event == "result_not_stored"]
    assert len(told) == 1
    assert said in told[0]
    assert memory.objects == {}


@pytest.mark.parametrize("broken", ["list", "put", "put_new", "get"])
def test_a_storage_that_fails_ends_no_task(broken, memory):
    """Each runs, and somebody is told."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)
    assert ran_by(memory, step, (1,)) == ["ran"]
    memory.before = refuse(broken)
    with using(a_run(memory)), log_of_runs() as log:
        assert flow(name="main")(lambda: [step(1), step(2)])() == [1, 2]
    assert any(each.levelname == "WARNING" for each in log.records)


def test_a_task_that_fails_gives_the_lock_back(memory, clock):
    """The next run does not wait for its lease."""
    step = task(name="step", cache_policy=INPUTS)(lambda: 1 / 0)
    with using(a_run(memory, clock=clock)):
        flow(name="main")(lambda: step(return_state=True))()
    locks_given_back()
    with using(a_run(memory, "u-2", clock=clock)):
        flow(name="main")(lambda: step(return_state=True))()
    assert clock.passed_s == 0


def test_a_holder_that_is_gone_holds_up_others_for_a_lease(memory, clock):
    """Then somebody takes over, and says so; all of it is in the log."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)
    memory.before = killed_at("put", "/result")
    with using(a_run(memory, clock=clock)), pytest.raises(Killed):
        flow(name="main")(lambda: step(1))()
    memory.before = lambda _: None
    with using(a_run(memory, "u-2", clock=clock)), log_of_runs() as log:
        assert flow(name="main")(lambda: step(1))() == 1
    assert claims.LEASE_S <= clock.passed_s <= claims.LEASE_S + 2
    told = [each for each in log.events if each.startswith("cache_")]
    assert told == ["cache_waiting step-0", "cache_taken_over step-0"]


def test_a_holder_that_fails_makes_way(memory, clock):
    """The one that waited computes at once, and takes nothing over."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)
    holder = claims.KeyLock(memory, the_folder(memory, step), claims.claim_of("somebody", "", 1), clock)
    assert holder.taken(())
    clock.slept = holder.release
    with using(a_run(memory, clock=clock)), log_of_runs() as log:
        assert flow(name="main")(lambda: step(1))() == 1
    assert clock.passed_s < 1
    assert [each for each in log.events if each.startswith("cache_")] == ["cache_waiting step-0"]


def test_a_run_does_not_wait_for_an_attempt_of_its_own(memory, clock):
    """That one is over: at most one attempt of a run lives."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)
    memory.before = killed_at("put", "/result")
    with using(a_run(memory, clock=clock)), pytest.raises(Killed):
        flow(name="main")(lambda: step(1))()
    memory.before = lambda _: None
    with using(a_run(memory, attempt=2, clock=clock)):
        assert flow(name="main")(lambda: step(1))() == 1
    assert clock.passed_s == 0


def test_a_run_that_waits_can_be_cancelled(memory, clock):
    """It ends as cancelled, and takes no lock later."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)
    holder = claims.KeyLock(memory, the_folder(memory, step), claims.claim_of("somebody", "", 1), clock)
    assert holder.taken(())

    def interrupt():
        raise KeyboardInterrupt

    clock.slept = interrupt
    session = a_run(memory, clock=clock)
    with using(session), log_of_runs() as log, pytest.raises(KeyboardInterrupt):
        flow(name="main")(lambda: step(1))()
    assert log.events[-2:] == ["task_cancelled step-0", "flow_cancelled"]
    assert session.tally.counts().failed == 1
    holder.release()


def test_a_task_that_is_broken_off_while_it_stores_gives_the_lock_back(memory, clock):
    """As one that fails."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)

    def broken_off(what):
        if what.startswith("put ") and what.endswith("/result"):
            raise KeyboardInterrupt

    memory.before = broken_off
    with using(a_run(memory, clock=clock)), pytest.raises(KeyboardInterrupt):
        flow(name="main")(lambda: step(1))()
    memory.before = lambda _: None
    locks_given_back()
    assert ran_by(memory, step, (1,), clock=clock) == ["ran"]
    assert clock.passed_s == 0


def test_nobody_waits_for_ever(memory, clock):
    """A holder that hangs is left alone after an hour."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x)
    holder = claims.KeyLock(memory, the_folder(memory, step), claims.claim_of("somebody", "", 1), clock)
    assert holder.taken(())
    clock.slept = holder._beat
    with using(a_run(memory, clock=clock)), log_of_runs() as log:
        assert flow(name="main")(lambda: step(1))() == 1
    assert 3600 <= clock.passed_s < 3610
    assert "cache_wait_ended step-0" in log.events
    holder.release()


def killed_after(memory, calls, _what):
    """A hook of Memory: the process is killed when so many calls were made."""
    if len(memory.log) == calls:
        raise Killed


def killed_at(word, end):
    """A hook of Memory: the process is killed at this call."""

    def kill(what):
        if what.startswith(word) and what.endswith(end):
            raise Killed

    return kill


def locks_given_back():
    """Returns when the threads have ended that give back locks."""
    for thread in threading.enumerate():
        if thread.name == "headrace-cache-lock" and not thread.daemon:
            thread.join()


def the_folder(memory, step):
    """Where the result of step(1) would be."""
    other = Memory()
    assert ran_by(other, step, (1,)) == ["ran"]
    return next(iter(other.objects)).rpartition("/")[0]


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("how", [Killed, lambda: ResultsError("memory://", "x", "503")], ids=["killed", "refused"])
@pytest.mark.parametrize("write", range(3))
def test_a_fault_at_any_write_loses_nothing(moment, how, write, memory, clock):
    """The lock, the result, the lock given back: another run gets the result, after a lease at most."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x * 10)

    def fault(what):
        done = len(memory.calls("put")) + len(memory.calls("put_new"))
        if what.startswith("put") and done == (write if moment == "before" else write + 1):
            raise how()

    setattr(memory, moment, fault)
    main = flow(name="main")(lambda: step(1))
    with using(a_run(memory, clock=clock)):
        try:
            assert main() == 10
        except Killed:
            assert how is Killed
    memory.before = memory.after = lambda _: None
    locks_given_back()
    with using(a_run(memory, "u-2", clock=clock)):
        assert main() == 10
    assert clock.passed_s <= claims.LEASE_S + 2


def test_attempts_end_with_the_result_though_each_is_killed(memory):
    """One after the other, at each call of the storage."""
    step = task(name="step", cache_policy=INPUTS)(lambda x: x * 10)
    main = flow(name="main")(lambda: [step(1), step(2)])
    for number in range(12):
        memory.objects.clear()
        memory.log.clear()
        memory.after = partial(killed_after, memory, number + 1)
        assert attempts_of(main, memory)[0] == [10, 20]


def test_a_task_that_calls_itself_under_one_key_does_not_wait_for_itself(memory, clock):
    """Whoever computes inside is the one that holds the lock."""

    @task(cache_key_fn=lambda run, parameters: "one")
    def step(x):
        return step(x - 1) if x else "done"

    with using(a_run(memory, clock=clock)):
        assert flow(name="main")(lambda: [step(2), step(5, return_state=True).message != ""])() == ["done", True]
    assert clock.passed_s == 0

"""`concurrency` and `rate_limit` where there is no cluster, and how blocks are broken off."""

from __future__ import annotations

import asyncio
import threading

import pytest

from headrace import ConcurrencyLost, LimitUnusable, TimedOut, UsageError, concurrency, flow, rate_limit, task
from headrace.engine.ways import run_to_end
from headrace.limits import blocks, choice
from headrace.limits.choice import limits_here, place_of
from headrace.limits.cluster import Place
from headrace.limits.demand import Demand
from headrace.limits.holding import Held, Taken
from headrace.limits.local import LocalLimits, sizes_of
from headrace.limits.ways import BLOCKING, ON_LOOP
from headrace.slots import Rate


@pytest.fixture(autouse=True)
def on_a_laptop(monkeypatch):
    """No pod around, and no block of another test."""
    for name in ("HEADRACE_SLOTS_NAMESPACE", "HEADRACE_FLOW_RUN_UID", "HEADRACE_LOCAL_LIMITS"):
        monkeypatch.delenv(name, raising=False)
    choice._local.cache_clear()


class LosesAtOnce:
    """Limits whose slots are lost by the time that the test says."""

    def __init__(self):
        self.held = Held()
        self.held.taken.append(Taken("db", "db.slot-0", "me", 7, float("inf"), 0))
        self.released = 0

    def lose(self):
        self.held.lose(self.held.taken[0], "it was taken away")

    async def acquire(self, demand, timeout_s, way):
        return self.held

    async def release(self, held, way):
        self.released += 1


@pytest.fixture
def losing(monkeypatch):
    limits = LosesAtOnce()
    monkeypatch.setattr(choice, "limits_here", lambda: limits)
    return limits


def test_one_block_at_a_time_runs_under_a_name_without_a_size():
    """However many slots each asks for; threads wait for each other."""
    inside, most = 0, 0

    def work():
        nonlocal inside, most
        with concurrency("postgres", slots=3):
            inside += 1
            most = max(most, inside)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


async def test_as_many_as_the_environment_says_run_on_an_event_loop(monkeypatch):
    """HEADRACE_LOCAL_LIMITS sets the slots."""
    monkeypatch.setenv("HEADRACE_LOCAL_LIMITS", "postgres=3")
    inside, most = 0, 0

    async def work():
        nonlocal inside, most
        async with concurrency("postgres"):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(10)))
    assert most == 3


def test_a_flow_that_maps_over_tasks_keeps_to_the_limit(monkeypatch):
    """Blocks in tasks are not those of the flow around them: nothing is taken for a wait for itself."""
    monkeypatch.setenv("HEADRACE_LOCAL_LIMITS", "db=2")

    @task
    def load(number):
        with concurrency("db", timeout_seconds=20) as held:
            held.check()
            return number

    @flow
    def main():
        with concurrency("db"):
            return [future.result() for future in load.map([1, 2, 3])]

    assert main() == [1, 2, 3]


def test_a_wait_has_an_end_and_leaves_the_line(monkeypatch):
    """Who comes after it is served."""
    with concurrency("a"):
        outcome = []

        def wait():
            try:
                with concurrency("a", timeout_seconds=0.01):
                    outcome.append("in")
            except TimedOut as error:
                outcome.append(str(error))

        thread = threading.Thread(target=wait)
        thread.start()
        thread.join()
    assert outcome == ['waiting for 1 slot of limit "a" took longer than its timeout of 0.01 s']
    with concurrency("a", timeout_seconds=0):
        pass


async def test_nobody_is_overtaken_at_a_limit_that_it_needs():
    """A block that needs two limits gets its turn before a later one that needs one of them."""
    limits = LocalLimits(sizes_of("a=1 b=1"))
    first = await limits.acquire(Demand((("a", 1),)), None, ON_LOOP)
    both = asyncio.create_task(limits.acquire(Demand((("a", 1), ("b", 1))), None, ON_LOOP))
    await asyncio.sleep(0)
    later = asyncio.create_task(limits.acquire(Demand((("b", 1),)), None, ON_LOOP))
    await asyncio.sleep(0)
    await limits.release(first, ON_LOOP)
    held = await both
    assert not later.done()
    await limits.release(held, ON_LOOP)
    await later


def test_a_block_inside_a_block_that_waits_for_itself_is_refused(monkeypatch):
    """It says what to write instead."""
    monkeypatch.setenv("HEADRACE_LOCAL_LIMITS", "db=2")
    with concurrency("db"), concurrency("db"), pytest.raises(LimitUnusable, match="this would wait for itself"):
        concurrency("db").__enter__()
    with pytest.raises(LimitUnusable, match="3 slots are asked for and there are 2"):
        concurrency("db", slots=3).__enter__()


def test_a_rate_without_a_cluster_is_kept_where_it_is_set():
    """A name without a rate never waits."""
    now_s = [0.0]
    limits = LocalLimits(sizes_of("api=2/10"), clock=lambda: now_s[0])
    run_to_end(limits.start("api", 2, None, BLOCKING))
    with pytest.raises(TimedOut):
        run_to_end(limits.start("api", 1, 5, BLOCKING))
    now_s[0] = 10.0
    run_to_end(limits.start("api", 1, 0, BLOCKING))
    with pytest.raises(LimitUnusable, match="3 starts are asked for"):
        run_to_end(limits.start("api", 3, 0, BLOCKING))
    run_to_end(limits.start("other", 1000, 0, BLOCKING))


async def test_both_forms_of_a_rate_limit_return(monkeypatch):
    """In `def` and in `async def`."""
    monkeypatch.setenv("HEADRACE_LOCAL_LIMITS", "api=2/3600")
    await rate_limit.aio("api")
    await asyncio.to_thread(rate_limit, "api")
    with pytest.raises(TimedOut):
        await rate_limit.aio("api", timeout_seconds=0)


async def test_the_blocking_forms_are_refused_in_an_async_def():
    """They would hold the event loop, and whoever is to give the slot back with it."""
    with pytest.raises(UsageError, match="write `async with concurrency"), concurrency("a"):
        pass
    with pytest.raises(UsageError, match=r"write `await rate_limit\.aio"):
        rate_limit("a")


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: concurrency(""), "expected the name of a ConcurrencyLimit"),
        (lambda: concurrency("post gres"), "expected the name of a ConcurrencyLimit"),
        (lambda: concurrency("a" * 64), "at most 63"),
        (lambda: concurrency({}), "expected a name"),
        (lambda: concurrency(["a"]), "expected a name"),
        (lambda: concurrency("a", slots=0), "slots is 0, expected a whole number from 1"),
        (lambda: concurrency("a", slots=True), "slots is True"),
        (lambda: concurrency({"a": 1.5}), r"slots is 1\.5"),
        (lambda: concurrency({"a": 1}, slots=2), "write the numbers beside the names"),
        (lambda: rate_limit("a", count=0), "count is 0"),
        (lambda: sizes_of("a=0"), "has 'a=0'"),
        (lambda: sizes_of("a=1/"), "has 'a=1/'"),
        (lambda: sizes_of("a"), "has 'a'"),
    ],
)
def test_what_cannot_be_meant_is_refused(call, said):
    """The message names the value found and what is expected."""
    with pytest.raises(UsageError, match=said):
        call()


def test_a_use_of_one_block_twice_is_refused():
    """It would hold one of two and give back the other."""
    block = concurrency("a")
    with block, pytest.raises(UsageError, match="is in use already"):
        block.__enter__()
    with block:
        pass


def test_sizes_are_slots_or_rates():
    """As the environment writes them, with commas or spaces."""
    sizes = sizes_of("postgres=5, api=10/60 x.y-z=1")
    assert sizes.slots == {"postgres": 5, "x.y-z": 1}
    assert sizes.rates == {"api": Rate(10, 60)}


def test_a_pod_without_access_to_the_api_says_what_to_set(monkeypatch):
    """A lock of its own would be none at all."""
    monkeypatch.setenv("HEADRACE_FLOW_RUN_UID", "u")
    with pytest.raises(UsageError, match=r"set spec\.apiAccess: Enabled on the Flow"), concurrency("a"):
        pass
    monkeypatch.setenv("HEADRACE_SLOTS_NAMESPACE", "system")
    with pytest.raises(UsageError, match="HEADRACE_POD_NAME, HEADRACE_POD_UID not set"):
        place_of({"HEADRACE_SLOTS_NAMESPACE": "system", "HEADRACE_NAMESPACE": "team"})


def test_a_pod_with_access_uses_the_limits_of_the_cluster(monkeypatch, tmp_path):
    """One client for the process, however many blocks."""
    (tmp_path / "token").write_text("t")
    variables = {
        "HEADRACE_SLOTS_NAMESPACE": "system",
        "HEADRACE_NAMESPACE": "team",
        "HEADRACE_POD_NAME": "etl-1",
        "HEADRACE_POD_UID": "u",
        "HEADRACE_API_DIR": str(tmp_path),
        "KUBERNETES_SERVICE_HOST": "10.0.0.1",
        "KUBERNETES_SERVICE_PORT": "443",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert place_of(variables) == Place("system", "team", "etl-1", "u")
    assert limits_here() is limits_here()
    (tmp_path / "token").unlink()
    with pytest.raises(UsageError, match="no token of a ServiceAccount"):
        limits_here()


def test_a_lost_block_is_broken_off_in_the_main_thread(losing):
    """Where it waits, also in a system call; then it counts as lost, and nothing is left to come."""
    never = threading.Event()
    threading.Timer(0.01, losing.lose).start()
    with pytest.raises(ConcurrencyLost, match=r"slot db\.slot-0 is lost, as it was taken away"), concurrency("db"):
        never.wait(30)
    assert losing.released == 1


def test_a_lost_block_is_broken_off_in_a_thread(losing):
    """At its next line of Python."""
    outcome = []

    def work():
        try:
            with concurrency("db"):
                losing.lose()
                while True:
                    pass
        except ConcurrencyLost as error:
            outcome.append(error.limit)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    assert outcome == ["db"]


async def test_a_lost_block_is_cancelled_on_an_event_loop(losing):
    """And its task goes on after it as if nobody had cancelled it."""
    with pytest.raises(ConcurrencyLost):
        async with concurrency("db"):
            losing.lose()
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)
    assert losing.released == 1


async def test_a_cancellation_by_somebody_else_stays_one(losing):
    """Also when the slot is lost in the same moment."""

    async def work():
        async with concurrency("db"):
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    losing.lose()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_a_block_that_ends_before_it_hears_of_its_loss_still_raises(losing):
    """At its end, at the latest: a result that rests on it must not be used."""

    def no_interruption(function):
        return None

    losing.held.when_lost = no_interruption
    with pytest.raises(ConcurrencyLost), concurrency("db"):
        losing.lose()


def test_a_block_inside_a_block_is_told_to_the_limits(monkeypatch):
    """So that they can tell a wait for itself from a wait for others."""
    seen = []

    class Seeing(LocalLimits):
        async def acquire(self, demand, timeout_s, way):
            seen.append(demand)
            return await super().acquire(demand, timeout_s, way)

    limits = Seeing(sizes_of("a=5"))
    monkeypatch.setattr(choice, "limits_here", lambda: limits)
    with concurrency("a", slots=2), concurrency({"b": 1}):
        pass
    assert seen == [Demand((("a", 2),)), Demand((("b", 1),), around=(("a", 2),))]
    assert blocks._OPEN.get() == ()

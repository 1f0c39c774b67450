"""Slots and starts of the cluster, over Leases in memory."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import pytest

from headrace import slots
from headrace.engine.ways import run_to_end
from headrace.errors import ConcurrencyLost, LimitUnusable, TimedOut
from headrace.limits import cluster, view
from headrace.limits.cluster import LONGEST_WAIT_S, ClusterLimits, Place
from headrace.limits.demand import Demand, demanded
from headrace.limits.ways import BLOCKING, ON_LOOP
from headrace.podapi import PodApiError
from tests.unit.headrace.limits.fake_leases import FakeLeases


class Times:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def api():
    leases = FakeLeases()
    yield leases
    leases.end_watches()


@pytest.fixture
def clock():
    return Times()


@pytest.fixture
def limits(api, clock, monkeypatch):
    monkeypatch.setattr(cluster, "RACE_PAUSE_S", 0.001)
    monkeypatch.setattr(cluster, "FIRST_BACKOFF_S", 0.001)
    monkeypatch.setattr(view, "RETRY_S", 0.001)
    return pod(api, "one", clock)


def pod(api, name, clock=None):
    clock = clock or Times()
    return ClusterLimits(
        api,
        Place("system", "team", name, f"uid-{name}"),
        clock=clock,
        now=lambda: datetime.fromtimestamp(clock.now_s, UTC),
    )


def take(limits, names, slots=1, timeout_s=None):
    return run_to_end(limits.acquire(demanded(names, slots), timeout_s, BLOCKING))


def release(limits, held):
    run_to_end(limits.release(held, BLOCKING))


def test_free_slots_are_taken_in_the_name_of_the_pod_and_given_back(api, limits):
    """One list and a patch for each slot; the block's end costs a patch for each."""
    api.limit("db", 3)
    held = take(limits, "db", 2)
    taken = {name: holder for name, holder in api.holders().items() if holder}
    assert set(taken) == set(held.tokens)
    assert all(holder.startswith("pod/team/one/uid-one/") for holder in taken.values())
    assert held.token == 1
    held.check()
    release(limits, held)
    assert set(api.holders().values()) == {""}
    assert len(api.requests) == 5


def test_too_few_free_slots_leave_all_of_them_free(api, limits):
    """Nothing is taken of any limit, also not for a moment."""
    api.limit("a", 2)
    api.limit("b", 1)
    api.take_away("b.slot-0", "run/x/y/z")
    with pytest.raises(TimedOut, match='waiting for 1 slot of limit "a" and 1 slot of limit "b"'):
        take(limits, {"b": 1, "a": 1}, timeout_s=0)
    assert not [request for request in api.requests if request.startswith("PATCH")]


def test_a_lost_race_gives_back_what_was_taken_and_tries_again(api, limits):
    """The slot that somebody else got is not waited for with others in hand."""
    api.limit("db", 2)
    raced = []

    def race(name, patch):
        if isinstance(patch, dict) and len(raced) == 0 and len([h for h in api.holders().values() if h]) == 1:
            raced.append(name)
            api.take_away(name, "run/x/y/z")

    api.before = race
    lost = []

    def freed(name, patch):
        if isinstance(patch, list) and raced and not lost:
            lost.append(name)
            api.take_away(raced[0])

    api.after = freed
    held = take(limits, "db", 2)
    assert raced and lost and raced != lost
    assert sum(held.tokens.values()) == 2 + 1 + 1


@pytest.mark.parametrize("took_effect", [True, False])
def test_a_request_without_an_answer_leaves_no_slot_behind(api, limits, took_effect):
    """Whether it took effect is unknown: it is given back before the next try."""
    api.limit("db", 2)
    failed = []

    def cut(name, patch):
        if not failed and isinstance(patch, dict):
            failed.append(name)
            raise PodApiError("PATCH", 0, "connection reset")

    if took_effect:
        api.after = cut
    else:
        api.before = cut
    held = take(limits, "db")
    assert failed
    assert [name for name, holder in api.holders().items() if holder] == list(held.tokens)


def test_a_slot_that_cannot_be_given_back_is_owed_and_given_back_later(api, limits):
    """The block ends all the same."""
    api.limit("db", 1)
    held = take(limits, "db")
    freed = threading.Event()
    failures = []

    def fail_once(name, patch):
        if not failures:
            failures.append(name)
            raise PodApiError("PATCH", 503, "try again")

    api.before = fail_once
    api.after = lambda name, patch: freed.set()
    release(limits, held)
    assert freed.wait(10)
    assert api.holders() == {"db.slot-0": ""}


def test_what_is_impossible_is_told_at_once(api, limits):
    """A limit that is not there, that is too small, and a block inside a block that waits for itself."""
    api.limit("db", 2)
    with pytest.raises(LimitUnusable, match='limit "nope": there is no such ConcurrencyLimit; kubectl apply'):
        take(limits, "nope")
    with pytest.raises(LimitUnusable, match="3 slots are asked for and there are 2"):
        take(limits, "db", 3)
    nested = Demand((("db", 1),), around=(("db", 2),))
    with pytest.raises(LimitUnusable, match="this would wait for itself"):
        run_to_end(limits.acquire(nested, None, BLOCKING))


def test_a_refusal_is_not_tried_again(api, limits):
    """The admission policy says why."""
    api.limit("db", 1)

    def refuse(name, patch):
        raise PodApiError(f"PATCH {name}", 403, "only pods may write here")

    api.before = refuse
    with pytest.raises(PodApiError, match="403: only pods may write here"):
        take(limits, "db")


async def test_whoever_waits_is_woken_by_a_watch(api, limits):
    """No request is made between the look and the event."""
    api.limit("db", 1)
    api.take_away("db.slot-0", "run/x/y/z")
    waiting = asyncio.create_task(limits.acquire(demanded("db", 1), None, ON_LOOP))
    await asyncio.to_thread(api.watched.wait, 10)
    before = len(api.requests)
    api.take_away("db.slot-0")
    held = await waiting
    assert held.token == 2
    assert [request.split()[0] for request in api.requests[before:]] == ["PATCH"]


async def test_many_waiters_share_one_watch_and_each_gets_its_turn(api, limits):
    """Twenty blocks of one process over two slots."""
    api.limit("db", 2)
    most = 0

    async def block():
        nonlocal most
        held = await limits.acquire(demanded("db", 1), None, ON_LOOP)
        most = max(most, sum(bool(holder) for holder in api.holders().values()))
        await limits.release(held, ON_LOOP)

    await asyncio.gather(*(block() for _ in range(20)))
    assert most == 2
    assert sum(slots.transitions_of(lease) for lease in api.leases.values()) >= 20
    assert sum(request.startswith("WATCH") for request in api.requests) <= 1


async def test_a_cancelled_wait_and_a_cancelled_taking_leave_nothing(api, limits):
    """The request that is under way is waited for, and undone."""
    api.limit("db", 1)
    entered, go_on = threading.Event(), threading.Event()

    def slowly(name, patch):
        if isinstance(patch, dict):
            entered.set()
            go_on.wait(10)

    api.before = slowly
    taking = asyncio.create_task(limits.acquire(demanded("db", 1), None, ON_LOOP))
    await asyncio.to_thread(entered.wait, 10)
    taking.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert api.holders() == {"db.slot-0": ""}


def test_a_renewal_keeps_a_slot_and_an_old_one_does_not(api, limits, clock):
    """Counted from the sending of the last one that was answered."""
    api.limit("db", 1, duration_s=60)
    held = take(limits, "db")
    limits._keeper.let_go(held)  # by hand, below
    clock.now_s += 25
    assert limits._keeper.look_after((held,)) is None  # it was let go: nothing is due
    assert held.taken[0].confirmed_s == 1025
    clock.now_s += 59
    held.check()
    clock.now_s += 1
    with pytest.raises(ConcurrencyLost, match="it was not renewed for 60 s"):
        held.check()


def test_a_process_that_slept_too_long_does_not_renew(api, limits, clock):
    """Though its Lease still has its name: somebody may just be taking it back."""
    api.limit("db", 1, duration_s=60)
    held = take(limits, "db")
    limits._keeper.let_go(held)
    told = []
    held.when_lost(lambda: told.append(1))
    clock.now_s += 61
    before = len(api.requests)
    limits._keeper.look_after((held,))
    assert len(api.requests) == before
    assert told == [1]
    assert isinstance(held.lost, ConcurrencyLost)


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda api: api.take_away("db.slot-0", "run/x/y/z"), "names another holder"),
        (lambda api: api.take_away("db.slot-0"), "names another holder"),
        (lambda api: api.delete("db.slot-0"), "its Lease is gone"),
    ],
    ids=["another holder", "no holder", "no Lease"],
)
def test_a_renewal_finds_out_that_the_slot_is_lost(api, limits, clock, change, cause):
    """At once, and not when the time is over."""
    api.limit("db", 1)
    held = take(limits, "db")
    limits._keeper.let_go(held)
    change(api)
    clock.now_s += 20
    limits._keeper.look_after((held,))
    with pytest.raises(ConcurrencyLost, match=cause):
        held.check()


def test_an_api_server_that_does_not_answer_costs_one_request_a_look(api, limits, clock):
    """And the slots are held until their time is over."""
    api.limit("db", 3)
    held = take(limits, "db", 3)
    limits._keeper.let_go(held)

    def fail(name, patch):
        raise PodApiError("PATCH", 0, "no route")

    api.before = fail
    clock.now_s += 30
    before = len(api.requests)
    limits._keeper.look_after((held,))
    assert len(api.requests) == before + 1
    held.check()
    clock.now_s += 30
    with pytest.raises(ConcurrencyLost):
        held.check()


def test_starts_keep_to_the_rate(api, limits, clock):
    """The third in the window waits; the noted times are those of the starts."""
    api.rate("api", slots.Rate(2, 10))
    run_to_end(limits.start("api", 2, None, BLOCKING))
    with pytest.raises(TimedOut, match='the rate of limit "api"'):
        run_to_end(limits.start("api", 1, 0, BLOCKING))
    clock.now_s += 10
    run_to_end(limits.start("api", 1, 0, BLOCKING))
    assert slots.starts_of(api.leases["api.rate"]) == (1_010_000,)


def test_a_start_that_was_noted_years_ahead_is_looked_at_again(api, limits):
    """By a clock that was wrong; the operator takes it back."""
    api.rate("api", slots.Rate(1, 10))
    api.leases["api.rate"]["metadata"]["annotations"][slots.STARTS_ANNOTATION] = "9" * 15
    wait = limits._note_start("api", 1)
    assert wait.at_most_s < 2 * LONGEST_WAIT_S


def test_a_start_that_another_pod_overtook_is_decided_anew(api, limits, clock):
    """Compare and swap: two pods never count the same place twice."""
    api.rate("api", slots.Rate(2, 10))
    other = pod(api, "two", clock)
    overtaken = []

    def overtake(name, patch):
        if not overtaken:
            overtaken.append(name)
            run_to_end(other.start("api", 1, None, BLOCKING))

    api.before = overtake
    run_to_end(limits.start("api", 1, None, BLOCKING))
    assert slots.starts_of(api.leases["api.rate"]) == (1_000_000, 1_000_000)


def test_a_rate_says_what_it_can_never_meet(api, limits):
    """More at once than its count, or a limit that has slots only."""
    api.rate("api", slots.Rate(2, 10))
    api.limit("db", 1)
    with pytest.raises(LimitUnusable, match=r"3 starts at once are asked for, and spec\.rate\.count is 2"):
        run_to_end(limits.start("api", 3, None, BLOCKING))
    with pytest.raises(LimitUnusable, match=r'write concurrency\("db"\)'):
        run_to_end(limits.start("db", 1, None, BLOCKING))
    with pytest.raises(LimitUnusable, match=r'write rate_limit\("api"\)'):
        take(limits, "api")


async def test_a_watch_that_breaks_is_begun_anew_and_misses_nothing(api, limits):
    """A slot that became free in between is found by the list."""
    api.limit("db", 1)
    api.take_away("db.slot-0", "run/x/y/z")
    broken = threading.Event()
    watch = api.watch

    def breaking(path, params, *, timeout_s):
        if broken.is_set():
            yield from watch(path, params, timeout_s=timeout_s)
            return
        api.take_away("db.slot-0")
        broken.set()
        raise PodApiError("GET", 410, "too old resource version")

    api.watch = breaking
    held = await limits.acquire(demanded("db", 1), None, ON_LOOP)
    assert broken.is_set()
    await limits.release(held, ON_LOOP)

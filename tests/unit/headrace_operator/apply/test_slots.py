"""Slots and starts are taken all or none, and nothing that goes wrong on the way gives one away twice or for ever."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from headrace import slots
from headrace.api.concurrencylimit import ConcurrencyLimitSpec
from headrace.instants import microseconds
from headrace.kubeapi.errors import AlreadyExists, Conflict, Forbidden, Invalid, Unavailable, Unreachable
from headrace.slots import Rate
from headrace_operator.apply.slots import TRIES, change_lease, release_slots, take_slots
from headrace_operator.decide.concurrency_limit import (
    Annotate,
    CreateRate,
    CreateSlot,
    LimitSnapshot,
    Remove,
    TakeBack,
    decide_limit,
)
from headrace_operator.decide.leases import Slot, milliseconds
from headrace_operator.kube.resources import LEASES
from headrace_operator.manifests.slot import giving_back
from tests.builders import NOW
from tests.unit.headrace_operator.leases import SYSTEM, Died, Faulty, Shop, lease, pod, run

ME, OTHER = run("etl-1"), run("etl-2", "u2")
CONFLICT = Conflict(409, "Conflict", "the object has been modified")


async def take(
    shop: Shop,
    limits: dict[str, int] | None = None,
    rates: tuple[str, ...] = (),
    *,
    holder: str = ME,
    cluster: Any = None,
    now: datetime = NOW,
) -> bool:
    return await take_slots(
        cluster or shop.cluster, shop.store, (limits or {}).items(), rates, holder=holder, clock=lambda: now
    )


async def taken_by_a_task(shop: Shop, limit: str, index: int) -> None:
    """Behind the store's back."""
    name = slots.slot_name(limit, index)
    obj = shop.cluster.find(LEASES, SYSTEM, name)
    assert obj is not None
    await shop.cluster.patch(LEASES, SYSTEM, name, slots.taking(obj, pod(), NOW, duration_s=60))


class TestTake:
    async def test_the_first_free_ones_of_each_limit(self) -> None:
        """One write a slot; the Lease tells who holds it since when, and that it does not expire."""
        shop = Shop({"api": 2, "db": 3})

        assert await take(shop, {"db": 2, "api": 1})
        assert (shop.holders("db"), shop.holders("api")) == ([ME, ME, ""], [ME, ""])
        assert shop.cluster.asked("patch") == ["api.slot-0", "db.slot-0", "db.slot-1"]
        obj = shop.cluster.find(LEASES, SYSTEM, "db.slot-1")
        assert obj is not None
        assert obj["spec"] == {
            "holderIdentity": ME,
            "acquireTime": microseconds(NOW),
            "renewTime": microseconds(NOW),
            "leaseTransitions": 1,
        }
        assert shop.store.holders("db") == {ME: 2}

    async def test_what_is_held_already_counts(self) -> None:
        """A retry holds its slots: nothing is written. One slot more is one write."""
        shop = Shop({"db": 3})
        await take(shop, {"db": 1})
        shop.cluster.requests.clear()

        assert await take(shop, {"db": 1})
        assert shop.cluster.requests == []
        assert await take(shop, {"db": 2})
        assert shop.cluster.asked("patch") == ["db.slot-1"]

    async def test_too_few_free_takes_none(self) -> None:
        """What was taken of the limits before it is given back, what was held before is kept."""
        shop = Shop({"api": 1, "db": 1, "gpu": 1})
        await take(shop, {"gpu": 1})
        await take(shop, {"db": 1}, holder=OTHER)

        assert not await take(shop, {"api": 1, "db": 1, "gpu": 1})
        assert [*shop.holders("api"), *shop.holders("db"), *shop.holders("gpu")] == ["", OTHER, ME]

    async def test_a_limit_without_leases_is_waited_for(self) -> None:
        """They are on the way, or the limit is paused."""
        assert not await take(Shop(), {"db": 1})

    async def test_a_closed_slot_is_not_taken(self) -> None:
        """Its limit is being made smaller."""
        shop = Shop()
        shop.cluster.put(LEASES, lease(closed=True))
        shop.listed()

        assert not await take(shop, {"db": 1})
        assert shop.holders("db") == [""]

    async def test_a_task_was_quicker(self) -> None:
        """Another free one is tried; if there is none, nothing is taken, and the store knows who was quicker."""
        shop = Shop({"api": 1, "db": 2})
        await taken_by_a_task(shop, "db", 0)

        assert await take(shop, {"db": 1})
        assert shop.holders("db") == [pod(), ME]
        assert not await take(shop, {"api": 1, "db": 1}, holder=OTHER)
        assert shop.holders("api") == [""]
        assert shop.store.holders("db") == {pod(): 1, ME: 1}

    async def test_a_slot_that_has_gone_is_not_waited_for(self) -> None:
        """Deleted behind the store's back."""
        shop = Shop({"db": 1})
        found = shop.store.of("db")[0]
        await shop.cluster.delete(LEASES, *found.key, uid=found.uid)

        assert not await take(shop, {"db": 1})
        assert shop.store.of("db") == ()

    async def test_two_on_one_slot(self) -> None:
        """Two operators with the same snapshot: one wins."""
        shop = Shop({"db": 1})
        other = Shop()
        other.cluster = shop.cluster
        other.listed()
        won = await asyncio.gather(take(shop, {"db": 1}), take(other, {"db": 1}, holder=OTHER))

        assert sorted(won) == [False, True]
        assert shop.holders("db") == [ME if won[0] else OTHER]

    async def test_runs_of_one_operator_do_not_get_in_each_others_way(self) -> None:
        """At the same time, each picks a slot of its own: one write each."""
        shop = Shop({"db": 8})
        holders = [run(f"etl-{number}") for number in range(8)]

        assert all(await asyncio.gather(*(take(shop, {"db": 1}, holder=holder) for holder in holders)))
        assert sorted(shop.holders("db")) == sorted(holders)
        assert len(shop.cluster.requests) == 8

    async def test_a_failing_api_server_is_told_and_what_was_taken_is_kept(self) -> None:
        """The next call goes on with it."""
        shop = Shop({"api": 1, "db": 1})
        faulty = Faulty(shop.cluster, 1, "unheard")
        shop.cluster.fail_next("patch", LEASES, Unavailable(503, "ServiceUnavailable", "etcd"))
        with pytest.raises(Unavailable):
            await take(shop, {"api": 1, "db": 1})
        with pytest.raises(Unreachable):
            await take(shop, {"api": 1, "db": 1}, cluster=faulty)

        assert await take(shop, {"api": 1, "db": 1})
        assert [*shop.holders("api"), *shop.holders("db")] == [ME, ME]


@pytest.mark.parametrize("fault", ["before", "after", "unheard"])
@pytest.mark.parametrize("at", range(4))
async def test_whatever_write_of_a_take_goes_wrong(at: int, fault: str) -> None:
    """The next operator, or the next try, goes on with what was taken; one set of slots is held, one start a try noted."""
    shop = Shop({"api": 2, "db": 3}, {"api": Rate(3, 60)})
    wanted = {"api": 1, "db": 2}
    with pytest.raises((Died, Unreachable)):
        await take(shop, wanted, ("api",), cluster=Faulty(shop.cluster, at, fault))
    if fault != "unheard":
        shop.restarted()

    assert await take(shop, wanted, ("api",), now=NOW + timedelta(seconds=1))
    assert (shop.holders("api"), shop.holders("db").count(ME)) == ([ME, ""], 2)
    assert len(shop.starts("api")) == (2 if at == 3 and fault != "before" else 1)
    assert await release_slots(shop.cluster, shop.store, ME) == 3
    assert {*shop.holders("api"), *shop.holders("db")} == {""}


class TestRelease:
    async def test_every_slot_of_the_holder_and_no_other(self) -> None:
        """The count of its holders stays; once more is nothing."""
        shop = Shop({"api": 2, "db": 2})
        await take(shop, {"api": 1, "db": 2})
        await take(shop, {"api": 1}, holder=OTHER)

        assert await release_slots(shop.cluster, shop.store, ME) == 3
        assert (shop.holders("api"), shop.holders("db")) == (["", OTHER], ["", ""])
        obj = shop.cluster.find(LEASES, SYSTEM, "db.slot-0")
        assert obj is not None
        assert obj["spec"] == {"leaseTransitions": 1}
        assert await release_slots(shop.cluster, shop.store, ME) == 0

    async def test_a_slot_that_is_somebody_elses_by_now_is_let_be(self) -> None:
        """Freed and taken behind the store's back."""
        shop = Shop({"db": 1})
        await take(shop, {"db": 1})
        held = shop.store.of("db")[0]
        await shop.cluster.patch(LEASES, *held.key, slots.giving_back(ME, 1))
        await taken_by_a_task(shop, "db", 0)
        await release_slots(shop.cluster, shop.store, ME)

        assert shop.holders("db") == [pod()]
        assert shop.store.holders("db") == {pod(): 1}

    @pytest.mark.parametrize("fault", ["before", "after", "unheard"])
    @pytest.mark.parametrize("at", range(2))
    async def test_half_way(self, at: int, fault: str) -> None:
        """Whoever comes next frees the rest."""
        shop = Shop({"db": 2})
        await take(shop, {"db": 2})
        with pytest.raises((Died, Unreachable)):
            await release_slots(Faulty(shop.cluster, at, fault), shop.store, ME)
        if fault != "unheard":
            shop.restarted()
        await release_slots(shop.cluster, shop.store, ME)

        assert shop.holders("db") == ["", ""]

    async def test_a_slot_that_was_perhaps_given_back_is_taken_anew(self) -> None:
        """A run that goes back into line and comes again must not trust what it held; nor is it freed by a late request."""
        shop = Shop({"db": 1})
        await take(shop, {"db": 1})
        late = giving_back(shop.store.of("db")[0])
        with pytest.raises(Unreachable):
            await release_slots(Faulty(shop.cluster, 0, "unheard"), shop.store, ME)
        assert shop.store.holders("db") == {ME: 1}

        assert await take(shop, {"db": 1})
        assert shop.holders("db") == [ME]
        with pytest.raises(Invalid):
            await shop.cluster.patch(LEASES, SYSTEM, "db.slot-0", late)

    async def test_one_that_was_perhaps_given_back_goes_again_if_there_are_too_few(self) -> None:
        """Who waits holds nothing of what it was giving back."""
        shop = Shop({"db": 2})
        await take(shop, {"db": 1})
        await take(shop, {"db": 1}, holder=OTHER)
        with pytest.raises(Unreachable):
            await release_slots(Faulty(shop.cluster, 0, "unheard"), shop.store, ME)

        assert not await take(shop, {"db": 2})
        assert shop.holders("db") == ["", OTHER]

    async def test_a_slot_that_was_not_given_back_after_all_is_made_sure_of(self) -> None:
        """The request never arrived, or arrives later: then it finds another holding."""
        shop = Shop({"db": 1})
        await take(shop, {"db": 1})
        late = giving_back(shop.store.of("db")[0])
        shop.cluster.fail_next("patch", LEASES, Unreachable(0, "Unreachable", "timed out"))
        with pytest.raises(Unreachable):
            await release_slots(shop.cluster, shop.store, ME)

        assert await take(shop, {"db": 1})
        with pytest.raises(Invalid):
            await shop.cluster.patch(LEASES, SYSTEM, "db.slot-0", late)
        assert shop.holders("db") == [ME]
        shop.cluster.requests.clear()
        assert await take(shop, {"db": 1})
        assert shop.cluster.requests == []

    async def test_one_that_cannot_be_freed_is_told(self) -> None:
        """Rather than taken for free."""
        shop = Shop({"db": 1})
        await take(shop, {"db": 1})
        shop.cluster.fail_next("patch", LEASES, *[Invalid(422, "Invalid", "a policy")] * TRIES)

        with pytest.raises(Invalid):
            await release_slots(shop.cluster, shop.store, ME)


class TestRates:
    async def test_a_start_is_noted_once_for_a_run(self) -> None:
        """However many slots it takes, and after them."""
        shop = Shop({"api": 2}, {"api": Rate(2, 60)})

        assert await take(shop, {"api": 2}, ("api",))
        assert shop.starts("api") == (milliseconds(NOW),)
        assert shop.cluster.asked("patch") == ["api.slot-0", "api.slot-1", "api.rate"]

    async def test_a_start_is_noted_for_when_it_is_written(self) -> None:
        """Writes before it take long where the API server asks for patience; a start noted too early lets the next one in too early."""
        shop = Shop({"db": 1}, {"api": Rate(2, 60)})

        def clock() -> datetime:
            return NOW + timedelta(seconds=12 * len(shop.cluster.asked("patch")))

        assert await take_slots(shop.cluster, shop.store, [("db", 1)], ["api"], holder=ME, clock=clock)
        assert shop.starts("api") == (milliseconds(NOW + timedelta(seconds=12)),)

    async def test_a_rate_that_is_used_up_takes_nothing(self) -> None:
        """Not even a request; in time it lets somebody through again, and forgets what has left the window."""
        shop = Shop({"db": 1}, {"api": Rate(1, 60)})
        await take(shop, rates=("api",))
        shop.cluster.requests.clear()

        assert not await take(shop, {"db": 1}, ("api",), now=NOW + timedelta(seconds=59.9))
        assert shop.cluster.requests == []
        assert await take(shop, {"db": 1}, ("api",), now=NOW + timedelta(seconds=60))
        assert shop.starts("api") == (milliseconds(NOW + timedelta(seconds=60)),)

    async def test_a_task_was_quicker(self) -> None:
        """Its start counts, whatever the store knew: the slots go back."""
        shop = Shop({"db": 1}, {"api": Rate(1, 60)})
        obj = shop.cluster.find(LEASES, SYSTEM, "api.rate")
        assert obj is not None
        await shop.cluster.patch(LEASES, SYSTEM, "api.rate", slots.noting(obj, [milliseconds(NOW)]))

        assert not await take(shop, {"db": 1}, ("api",))
        assert shop.holders("db") == [""]
        assert shop.starts("api") == (milliseconds(NOW),)

    async def test_a_race_that_leaves_room_is_run_again(self) -> None:
        """By what the Lease says then."""
        shop = Shop(rates={"api": Rate(2, 60)})
        obj = shop.cluster.find(LEASES, SYSTEM, "api.rate")
        assert obj is not None
        await shop.cluster.patch(LEASES, SYSTEM, "api.rate", slots.noting(obj, [milliseconds(NOW)]))

        assert await take(shop, rates=("api",))
        assert shop.starts("api") == (milliseconds(NOW),) * 2

    async def test_a_race_that_is_lost_again_and_again_is_given_up(self) -> None:
        """The run waits for its next turn."""
        shop = Shop({"db": 1}, {"api": Rate(2, 60)})
        shop.cluster.fail_next("patch", LEASES, *[CONFLICT] * TRIES)

        assert not await take(shop, rates=("api",))
        assert shop.starts("api") == ()

    async def test_runs_of_one_operator_note_one_after_another(self) -> None:
        """No write has to be done again, and no more start than may."""
        shop = Shop(rates={"api": Rate(5, 60)})
        holders = [run(f"etl-{number}") for number in range(8)]
        won = await asyncio.gather(*(take(shop, rates=("api",), holder=holder) for holder in holders))

        assert sum(won) == 5
        assert len(shop.starts("api")) == 5
        assert len(shop.cluster.asked("patch")) == 5

    async def test_a_rate_without_a_lease_is_waited_for(self) -> None:
        """It is on the way, or cannot be read."""
        assert not await take(Shop(), rates=("api",))


class TestChange:
    async def change(self, shop: Shop, action: Any, cluster: Any = None) -> None:
        await change_lease(cluster or shop.cluster, shop.store, action, limit="db", namespace=SYSTEM)

    async def test_leases_are_made_with_what_they_tell(self) -> None:
        """The store knows them at once."""
        shop = Shop()
        await self.change(shop, CreateSlot(0, 30))
        await self.change(shop, CreateRate(Rate(5, 60)))

        assert [(each.index, each.noted_duration_s) for each in shop.store.of("db")] == [(0, 30)]
        rate = shop.store.rate_of("db")
        assert rate is not None
        assert rate.rate == Rate(5, 60)

    async def test_one_that_exists_is_taken_as_it_is(self) -> None:
        """Its holder counts."""
        shop = Shop({"db": 1})
        await take(shop, {"db": 1})
        fresh = Shop()
        fresh.cluster = shop.cluster
        await self.change(fresh, CreateSlot(0, 30))

        assert fresh.store.holders("db") == {ME: 1}

    async def test_a_stranger_of_that_name_is_told(self) -> None:
        """And not touched."""
        shop = Shop()
        shop.cluster.put(LEASES, {"metadata": {"name": "db.slot-0", "namespace": SYSTEM}})

        with pytest.raises(AlreadyExists):
            await self.change(shop, CreateSlot(0, 30))

    async def test_a_slot_is_taken_back(self) -> None:
        """As if its holder had given it back."""
        shop = Shop({"db": 1})
        await take(shop, {"db": 1})
        await self.change(shop, TakeBack(shop.store.of("db")[0]))

        assert shop.holders("db") == [""]
        assert shop.store.holders("db") == {}

    async def test_not_from_a_holder_that_was_heard_of_meanwhile(self) -> None:
        """The renewal had not come through: the write rests on the version that was silent."""
        shop = Shop({"db": 1})
        await taken_by_a_task(shop, "db", 0)
        shop.listed()
        silent = shop.store.of("db")[0]
        later = NOW + timedelta(seconds=20)
        await shop.cluster.patch(LEASES, *silent.key, slots.renewing(pod(), 1, later))
        await self.change(shop, TakeBack(silent))

        assert shop.holders("db") == [pod()]
        known = shop.store.of("db")[0]
        assert (known.renewed, known.unchanged_since_s) == (later, None)

    async def test_a_slot_is_removed_unless_it_was_taken(self) -> None:
        """The write rests on the version that was free."""
        shop = Shop({"db": 2})
        await taken_by_a_task(shop, "db", 0)
        for each in shop.store.of("db"):
            await self.change(shop, Remove(each))

        assert shop.holders("db") == [pod()]
        assert shop.store.holders("db") == {pod(): 1}
        assert len(shop.store.of("db")) == 1

    async def test_annotations_are_set_and_removed(self) -> None:
        """Others stay."""
        shop = Shop({"db": 1})
        for value in ("true", None):
            await self.change(shop, Annotate(shop.store.of("db")[0], ((slots.CLOSED_ANNOTATION, value),)))
            assert shop.store.of("db")[0].closed is (value is not None)
        assert shop.store.of("db")[0].noted_duration_s == 60

    async def test_a_refusal_is_told(self) -> None:
        """Rights that are missing are for people to mend."""
        shop = Shop()
        shop.cluster.fail_next("create", LEASES, Forbidden(403, "Forbidden", "leases"))

        with pytest.raises(Forbidden):
            await self.change(shop, CreateSlot(0, 30))


FAULTS = st.one_of(st.none(), st.tuples(st.integers(0, 3), st.sampled_from(["before", "after", "unheard"])))
NAMES = ("api", "db")


class Limits(RuleBasedStateMachine):
    """
    Runs that take and give back, tasks beside them, limits that change; each may go wrong at each write.

    What is checked is what the API server has, never what the operator believes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shop = Shop({"api": 2, "db": 3})
        self.slots: dict[str, int | None] = {"api": 2, "db": 3}
        self.over: set[str] = {pod()}
        self.at_work: dict[str, dict[str, int]] = {}
        self.born = [0] * 5

    @rule(name=st.integers(0, 4), api=st.integers(0, 2), db=st.integers(0, 3), fault=FAULTS)
    def a_run_takes(self, name: int, api: int, db: int, fault: tuple[int, str] | None) -> None:
        """All or nothing, beside what it has; what a former try left it with unheard goes too."""
        holder = self.holder(name)
        before = self.held_by(holder)
        wanted = {"api": api, "db": db}
        done = self.carry_out(lambda cluster: take(self.shop, wanted, holder=holder, cluster=cluster), fault)
        if done is False:
            assert all(held <= before[limit] for limit, held in self.held_by(holder).items())
        elif done:
            assert all(held >= wanted[limit] for limit, held in self.held_by(holder).items())
            # What it holds beside that, by a request that nobody heard the answer of, may go again: it never counted on it.
            had = self.at_work.get(holder, wanted)
            self.at_work[holder] = {limit: max(had[limit], wanted[limit]) for limit in NAMES}

    @rule(name=st.integers(0, 4), fault=FAULTS)
    def a_run_is_over(self, name: int, fault: tuple[int, str] | None) -> None:
        """The next of its name is another one."""
        holder = self.holder(name)
        self.born[name] += 1
        self.over.add(holder)
        self.at_work.pop(holder, None)
        self.carry_out(lambda cluster: release_slots(cluster, self.shop.store, holder), fault)

    @rule(limit=st.sampled_from(NAMES), index=st.integers(0, 3))
    def a_task_takes(self, limit: str, index: int) -> None:
        """By itself, unheard of by the operator; a policy holds it to what is free."""
        obj = self.shop.cluster.find(LEASES, SYSTEM, slots.slot_name(limit, index))
        if obj is not None and slots.is_free(obj):
            self.over.discard(pod())
            asyncio.run(taken_by_a_task(self.shop, limit, index))

    @rule()
    def the_tasks_are_killed(self) -> None:
        """Without giving anything back."""
        self.over.add(pod())

    @rule(limit=st.sampled_from(NAMES), count=st.integers(0, 4) | st.none())
    def somebody_resizes(self, limit: str, count: int | None) -> None:
        """None: the limit is deleted."""
        self.slots[limit] = count

    @rule(limit=st.sampled_from(NAMES), fault=FAULTS)
    def the_limit_is_looked_at(self, limit: str, fault: tuple[int, str] | None) -> None:
        """Whatever the operator knows or does not know."""
        before = len(self.shop.holders(limit))
        self.carry_out(lambda cluster: self.looked_at(limit, cluster), fault)
        assert len(self.shop.holders(limit)) <= max(before, self.slots[limit] or 0)

    @rule(limit=st.sampled_from(NAMES))
    def it_catches_up(self, limit: str) -> None:
        """Then no more can be taken than there are to be, those that are held among them."""
        self.settled(limit)
        held = sum(bool(holder) for holder in self.shop.holders(limit))
        assert self.takeable(limit) == max(0, (self.slots[limit] or 0) - held)

    @rule()
    def the_operator_is_killed(self) -> None:
        """What it knew is gone."""
        self.shop.restarted()

    @invariant()
    def whoever_is_at_work_keeps_its_slots(self) -> None:
        """Until it is over, whatever becomes of operators and limits; a try that went wrong may leave it more."""
        for holder, counts in self.at_work.items():
            held = self.held_by(holder)
            assert all(held[limit] >= count for limit, count in counts.items())

    def teardown(self) -> None:
        """Everybody ends: no slot has leaked, and there are as many as there are to be."""
        self.over |= {self.holder(name) for name in range(5)} | {pod()}
        for limit in NAMES:
            self.settled(limit)
            assert set(self.shop.holders(limit)) <= {""}
            assert self.takeable(limit) == (self.slots[limit] or 0)

    def holder(self, name: int) -> str:
        return run(f"etl-{name}", f"u{self.born[name]}")

    def carry_out(self, work: Any, fault: tuple[int, str] | None) -> Any:
        """The result, None where it went wrong; after a death the process is another one."""
        cluster: Any = Faulty(self.shop.cluster, *fault) if fault else self.shop.cluster
        try:
            return asyncio.run(work(cluster))
        except Died:
            self.shop.restarted()
        except Unreachable:
            return None
        return None

    def held_by(self, holder: str) -> dict[str, int]:
        return {limit: self.shop.holders(limit).count(holder) for limit in NAMES}

    def takeable(self, limit: str) -> int:
        leases = (obj for obj in self.shop.cluster.all(LEASES) if obj["metadata"]["name"].startswith(f"{limit}."))
        return sum(slots.is_free(obj) for obj in leases)

    def settled(self, limit: str) -> None:
        for _ in range(3):
            self.shop.listed()
            asyncio.run(self.looked_at(limit, self.shop.cluster))

    async def looked_at(self, limit: str, cluster: Any) -> None:
        count = self.slots[limit]
        seen = LimitSnapshot(
            name=limit,
            exists=count is not None,
            generation=1,
            spec=None if count is None else ConcurrencyLimitSpec(slots=count),
            problem=None,
            conditions=(),
            slots=self.shop.store.of(limit),
            rate=None,
            waiting=0,
            over=frozenset(self.over),
        )
        for action in decide_limit(seen, NOW, 0.0).actions:
            await change_lease(cluster, self.shop.store, action, limit=limit, namespace=SYSTEM)


TestLimits = Limits.TestCase
TestLimits.settings = settings(max_examples=60, stateful_step_count=30)


class TestHandOver:
    """The run that held the slot is over, and another one waits."""

    async def offered(self, shop: Shop) -> None:
        """By the first holder's release."""
        assert await take(shop, {"db": 1})
        shop.cluster.requests.clear()
        assert await release_slots(shop.cluster, shop.store, ME, offer=lambda slot: shop.store.offer(slot, 0.0)) == 1

    async def test_one_write_in_place_of_two(self) -> None:
        shop = Shop({"db": 1})
        await self.offered(shop)

        assert await take(shop, {"db": 1}, holder=OTHER)
        assert shop.holders("db") == [OTHER]
        assert shop.cluster.asked("patch") == ["db.slot-0"]
        assert (shop.store.holders("db"), shop.store.offered("db")) == ({OTHER: 1}, 0)

    async def test_a_lease_that_was_freed_meanwhile_is_taken_all_the_same(self) -> None:
        """The next leader found that its run is over, or a person did: the first write is refused, and the Lease is read."""
        shop = Shop({"db": 1})
        await self.offered(shop)
        (held,) = (record for record in shop.store.held.values() if isinstance(record, Slot))
        await shop.cluster.patch(LEASES, SYSTEM, held.name, giving_back(replace(held, holder=ME)))

        assert await take(shop, {"db": 1}, holder=OTHER)
        assert shop.holders("db") == [OTHER]

    async def test_a_task_that_was_quicker_keeps_it(self) -> None:
        shop = Shop({"db": 1})
        await self.offered(shop)
        (held,) = (record for record in shop.store.held.values() if isinstance(record, Slot))
        await shop.cluster.patch(LEASES, SYSTEM, held.name, giving_back(replace(held, holder=ME)))
        await taken_by_a_task(shop, "db", 0)

        assert not await take(shop, {"db": 1}, holder=OTHER)
        assert shop.holders("db") == [pod()]

    @pytest.mark.parametrize("fault", ["before", "after", "unheard"])
    async def test_whoever_dies_in_the_hand_over_leaves_one_holder(self, fault: str) -> None:
        """The Lease names one run all the time; a new leader goes on from what it says."""
        shop = Shop({"db": 1})
        await self.offered(shop)

        with pytest.raises((Died, Unreachable)):
            await take(shop, {"db": 1}, holder=OTHER, cluster=Faulty(shop.cluster, 0, fault))
        assert shop.holders("db") == [ME if fault == "before" else OTHER]
        shop.restarted()
        assert shop.store.holders("db") == {shop.holders("db")[0]: 1}
        assert shop.store.offered("db") == 0

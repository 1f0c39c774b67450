"""
Random histories: runs come, start, retry and end; tasks take slots; sizes change; the operator dies and starts anew.

After each pass the board must have let in whom the naive world lets in; no grant may exceed anything; the accounts must
say what the world adds up; and when all that is held comes free, everybody who can be met is let in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.terms import Admission, Demand, Holding, LimitTerms, PoolTerms, Rate
from headrace_operator.decide.snapshot import ObjectKey
from tests.unit.headrace_operator.decide.queueing.world import Thing, World, holder

Item = TypeVar("Item")

NAMESPACES = ("team-a", "team-b")
DEPLOYMENTS = tuple(ObjectKey(namespace, name) for namespace in NAMESPACES for name in ("d", "e"))
LIMITS, RATES, POOLS = ("db", "gpu"), ("api", "web"), ("cheap", "dear")
ONE_CPU, TWO_CPUS, MEMORY = (
    amounts_of({"cpu": "1"}),
    amounts_of({"cpu": 2}),
    amounts_of({"cpu": "500m", "memory": "1Gi"}),
)

KINDS_OF_RUNS: tuple[dict[str, Any], ...] = (
    {"limits": (("db", 1),)},
    {"limits": (("db", 2),)},
    {"limits": (("db", 3),)},
    {"limits": (("gpu", 1),)},
    {"limits": (("db", 1), ("gpu", 1))},
    {"limits": (("db", 2), ("gpu", 2))},
    {"limits": (("db", 1),), "deployment": "d"},
    {"limits": (("db", 2),), "rates": ("api",)},
    {"limits": (("db", 1),), "pools": POOLS, "requests": ONE_CPU},
    {"limits": (("gpu", 2),), "pools": ("cheap",)},
    {"rates": ("api",)},
    {"rates": ("api", "web")},
    {"rates": ("web",), "pools": ("dear",)},
    {"pools": ("cheap",)},
    {"pools": ("cheap",), "requests": MEMORY},
    {"pools": POOLS, "requests": TWO_CPUS},
    {"pools": ("dear", "cheap"), "requests": ONE_CPU},
    {"pools": ("dear",), "deployment": "d"},
    {"deployment": "d"},
    {"deployment": "e", "limits": (("gpu", 1),)},
    {"pools": ()},
    {},
)

SIZES: tuple[tuple[str, str, Any], ...] = (
    *(("limit", name, LimitTerms(slots=slots)) for name in LIMITS for slots in (0, 1, 2, 3, 4, None)),
    *(("limit", name, LimitTerms(rate=Rate(count, 10.0))) for name in RATES for count in (1, 2, 3)),
    *(("limit", name, None) for name in LIMITS + RATES),
    *(("pool", name, PoolTerms(runs, preempts=runs == 2)) for name in POOLS for runs in (0, 1, 2, 3, None)),
    *(
        ("pool", name, PoolTerms(resources=cores))
        for name in POOLS
        for cores in (TWO_CPUS, amounts_of({"cpu": "3500m"}))
    ),
    *(("pool", name, None) for name in POOLS),
    *(("deployment", number, limit) for number in "0123" for limit in (0, 1, 2, None)),
    *(("quota", name, quota) for name in NAMESPACES for quota in (0, 2, 3, 5, None)),
    *(("weight", name, weight) for name in NAMESPACES for weight in (0.5, 1.0, 3.0)),
)

CROWD = 12
"""No more come while so many wait: the naive world is slow, and more would show nothing new."""

PICKS = st.integers(0, 2**24)
MANY = st.lists(PICKS, min_size=1, max_size=6)


def picked(items: Sequence[Item], pick: int) -> Item:
    return items[pick % len(items)]


def a_run(number: int, pick: int, now: datetime) -> Demand:
    """Any of many sorts of runs."""
    pick, kind = divmod(pick, len(KINDS_OF_RUNS))
    pick, namespace = divmod(pick, len(NAMESPACES))
    pick, age = divmod(pick, 4)
    pick, urgent = divmod(pick, 4)
    wants = {"priority": 0 if urgent else 5, "preempts": bool(pick % 4), **KINDS_OF_RUNS[kind]}
    run = ObjectKey(NAMESPACES[namespace], f"r{number}")
    if "deployment" in wants:
        wants["deployment"] = ObjectKey(run.namespace, wants["deployment"])
    return Demand(run, f"u{number}", now - timedelta(seconds=age), **wants)


class Histories(RuleBasedStateMachine):
    """The world and the board, step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.limits = {name: LimitTerms(slots=3) for name in LIMITS}
        self.world.limits |= {name: LimitTerms(rate=Rate(2, 10.0)) for name in RATES}
        self.world.pools = {name: PoolTerms(runs=2) for name in POOLS}
        self.world.deployments = {key: 1 for key in DEPLOYMENTS if key.name == "d"}
        self.board: Board = self.world.board()
        self.made = 0
        self.steps = 0
        self.sent_away: set[ObjectKey] = set()

    # Runs

    @precondition(lambda self: len(self.world.waiting) < CROWD)
    @rule(picks=MANY)
    def runs_come(self, picks: list[int]) -> None:
        for pick in picks:
            self.made += 1
            self._enrol(a_run(self.made, pick, self.world.now))

    def _enrol(self, demand: Demand) -> None:
        self.world.waiting[demand.run] = demand
        self.board.enrol(demand)

    @precondition(lambda self: self.world.waiting)
    @rule(pick=PICKS)
    def a_waiting_run_is_cancelled(self, pick: int) -> None:
        run = picked(list(self.world.waiting), pick)
        demand = self.world.waiting.pop(run)
        self.board.withdraw(run)
        self._give_back(run, demand.uid)
        self._end(run)

    @precondition(lambda self: self.world.waiting)
    @rule(pick=PICKS, priority=st.integers(0, 5))
    def a_demand_changes(self, pick: int, priority: int) -> None:
        demand = picked(list(self.world.waiting.values()), pick)
        self._enrol(replace(demand, priority=priority))

    @precondition(lambda self: self.world.granted)
    @rule(fates=MANY)
    def launches_go_on(self, fates: list[int]) -> None:
        """Each gets so far: not at all, its slots, its pod; or it falls through."""
        for run, fate in zip(list(self.world.granted), fates, strict=False):
            demand, _ = self.world.granted[run]
            if fate % 6 == 0 and (run in self.world.to_start or not demand.rates):
                self._fall_through(run, demand, self.world.holdings.get(run))
            elif fate % 6 == 1:
                self._take_slots(run)
            else:
                self._launch(run, active_first=bool(fate % 2))

    def _launch(self, run: ObjectKey, *, active_first: bool) -> None:
        """The run may count as active before its slots are taken, or only once its pod is there."""
        demand, pool = self.world.granted[run]
        if not active_first and not self._take_slots(run):
            return
        before = self.world.holdings.get(run)
        held = Holding(
            uid=demand.uid,
            since=self.world.now,
            priority=demand.priority,
            deployment=demand.deployment or (before.deployment if before else None),
            limits=demand.limits or (before.limits if before else ()),
            pool=pool,
            requests=demand.requests,
        )
        del self.world.granted[run]
        self._hold(run, held)
        if active_first:
            self._admit()
            self._store(run, demand, before)

    def _take_slots(self, run: ObjectKey) -> bool:
        demand, _ = self.world.granted[run]
        return self._store(run, demand, self.world.holdings.get(run))

    def _store(self, run: ObjectKey, demand: Demand, before: Holding | None) -> bool:
        """Whoever took a slot in the meantime keeps it, and the launch falls through."""
        signed = holder(run, demand.uid)
        wanted = {limit: self._charged(limit, signed) for limit, _ in demand.limits}
        if any(not self._has_free(limit, slots, signed) for limit, slots in wanted.items()):
            self._fall_through(run, demand, before)
            return False
        for limit, slots in wanted.items():
            self._lease(limit, signed, slots)
        for limit in self.world.to_start.pop(run, ()):
            self._start(limit)
        return True

    def _charged(self, limit: str, signed: str) -> int:
        return self.world.charged(limit)[signed]

    def _has_free(self, limit: str, slots: int, signed: str) -> bool:
        leased = self.world.leases.get(limit, {})
        terms = self.world.limits.get(limit)
        others = sum(count for each, count in leased.items() if each != signed)
        return leased.get(signed, 0) >= slots or (
            terms is not None and (terms.slots is None or others + slots <= terms.slots)
        )

    def _lease(self, limit: str, signed: str, slots: int) -> None:
        leases = self.world.leases.setdefault(limit, {})
        leases.pop(signed, None)
        if slots:
            leases[signed] = slots
        self.board.set_leases(limit, {signed: slots})

    def _start(self, limit: str) -> None:
        starts = self.world.starts.setdefault(limit, [])
        starts.append(self.world.now)
        self.board.set_starts(limit, tuple(starts))

    def _hold(self, run: ObjectKey, held: Holding) -> None:
        before = self.world.holdings.get(run)
        if before is not None and before.pool != held.pool:
            self.sent_away.discard(run)
        self.world.holdings[run] = held
        self.board.hold(run, held)

    def _fall_through(self, run: ObjectKey, demand: Demand, before: Holding | None) -> None:
        """It is as it was before its grant."""
        self.world.granted.pop(run, None)
        self.world.to_start.pop(run, None)
        self.board.forgo(run)
        if before is not None:
            self._hold(run, before)
        elif self.world.holdings.pop(run, None) is not None:
            self.board.release(run)
        self._give_back(run, demand.uid, keep=dict(before.limits) if before else {})
        self._enrol(demand)

    def _give_back(self, run: ObjectKey, uid: str, keep: dict[str, int] | None = None) -> None:
        signed = holder(run, uid)
        for limit, holders in self.world.leases.items():
            if signed in holders:
                self._lease(limit, signed, min(holders[signed], (keep or {}).get(limit, 0)))

    @precondition(lambda self: self.world.holdings)
    @rule(picks=MANY)
    def runs_end(self, picks: list[int]) -> None:
        """Some leave their slots behind for a while."""
        for pick in picks[: (len(self.world.holdings) + 1) // 2]:
            run = picked(list(self.world.holdings), pick)
            uid = self.world.holdings[run].uid
            self._end_for_good(run)
            if pick // 64 % 4:
                self._give_back(run, uid)

    @precondition(lambda self: self.sent_away)
    @rule()
    def those_who_were_sent_away_go(self) -> None:
        for run in list(self.sent_away):
            uid = self.world.holdings[run].uid
            self._end_for_good(run)
            self._give_back(run, uid)

    def _end(self, run: ObjectKey) -> None:
        self.world.holdings.pop(run, None)
        self.world.granted.pop(run, None)
        self.sent_away.discard(run)
        if self.world.to_start.pop(run, None):
            self.board.forgo(run)
        self.board.release(run)

    @precondition(lambda self: self.world.holdings)
    @rule(pick=PICKS)
    def an_attempt_ends_and_is_retried(self, pick: int) -> None:
        run = picked(list(self.world.holdings), pick)
        held = self.world.holdings[run]
        if run in self.world.waiting or run in self.world.granted:
            return
        self._hold(run, replace(held, pool=None, requests=()))
        pools = None if held.pool is None else POOLS
        self._enrol(
            Demand(run, held.uid, held.since, priority=held.priority, pools=pools, requests=held.requests, counts=False)
        )

    @precondition(lambda self: self.world.holdings)
    @rule(pick=PICKS)
    def a_run_is_told_of_again(self, pick: int) -> None:
        run = picked(list(self.world.holdings), pick)
        self.board.hold(run, self.world.holdings[run])
        for demand in [
            *self.world.waiting.values(),
            *(demand for demand, _ in self.world.granted.values() if demand.counts),
        ]:
            self.board.enrol(demand)

    # Slots

    @precondition(lambda self: any(self.world.leases.values()))
    @rule()
    def slots_of_ended_runs_come_free(self) -> None:
        known = {holder(run, held.uid) for run, held in self.world.holdings.items()}
        known |= {holder(run, demand.uid) for run, demand in self.world.waiting.items()}
        known |= {holder(run, demand.uid) for run, (demand, _) in self.world.granted.items()}
        for limit, holders in self.world.leases.items():
            for signed in list(holders):
                if signed.startswith("run/") and signed not in known:
                    self._lease(limit, signed, 0)

    @rule(pick=PICKS, limit=st.sampled_from(LIMITS))
    def a_task_takes_a_slot(self, pick: int, limit: str) -> None:
        signed = f"pod/{picked(NAMESPACES, pick)}/p{pick % 3}/uid/1"
        if self._has_free(limit, 1, signed):
            self._lease(limit, signed, 1)

    @precondition(lambda self: any(self.world.leases.values()))
    @rule()
    def tasks_end(self) -> None:
        for limit, holders in self.world.leases.items():
            for signed in [each for each in holders if each.startswith("pod/")]:
                self._lease(limit, signed, 0)

    # Sizes

    @rule(size=st.sampled_from(SIZES))
    def a_size_changes(self, size: tuple[str, str, Any]) -> None:
        what, name, value = size
        if what in {"limit", "pool"}:
            self._change_terms(what, name, value)
        elif what == "deployment":
            self._change_deployment(DEPLOYMENTS[int(name)], value)
        else:
            changed: dict[str, Any] = self.world.quotas if what == "quota" else self.world.weights
            changed[name] = value
            quota, weight = self.world.quotas.get(name), self.world.weights.get(name, 1.0)
            self.board.set_namespace(name, quota=quota, weight=weight)

    def _change_terms(self, what: str, name: str, terms: Any) -> None:
        known: dict[str, Any] = self.world.limits if what == "limit" else self.world.pools
        known.pop(name, None)
        if terms is None:
            (self.board.drop_limit if what == "limit" else self.board.drop_pool)(name)
        else:
            known[name] = terms
            if what == "limit":
                self.board.set_limit(name, terms)
            else:
                self.board.set_pool(name, terms)

    def _change_deployment(self, key: ObjectKey, limit: int | None) -> None:
        self.world.deployments.pop(key, None)
        if limit is None:
            self.board.drop_deployment(key)
        else:
            self.world.deployments[key] = limit
            self.board.set_deployment(key, limit)

    # Time and the process

    @rule(seconds=st.sampled_from([0.5, 1.0, 5.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.world.now += timedelta(seconds=seconds)

    @rule()
    def the_operator_dies_and_starts_anew(self) -> None:
        for run, (demand, _) in list(self.world.granted.items()):
            del self.world.granted[run]
            self.world.waiting[run] = demand
        self.world.to_start.clear()
        self.sent_away.clear()
        self.board = self.world.board()

    # Admission

    @rule()
    def admission_is_decided(self) -> None:
        self._admit()

    @invariant()
    def life_goes_on(self) -> None:
        """Every other step admission is decided, and after each fourth what was granted is launched."""
        self.steps += 1
        if self.steps % 2:
            self._admit()
        if self.steps % 4 == 0:
            for number, run in enumerate(list(self.world.granted)):
                if run in self.world.granted:
                    self._launch(run, active_first=bool(number % 2))

    def _admit(self) -> Admission:
        expected = self.world.admit()
        over = self._over() if expected else set()
        admission = self.board.admit(self.world.now)
        assert [(grant.run, grant.pool) for grant in admission.grants] == expected
        for grant in admission.grants:
            demand = self.world.waiting.pop(grant.run)
            self.world.give(demand, grant.pool)
        assert not expected or self._over() <= over
        for run in self.world.waiting:
            assert self.board.explain(run) is not None
        self._check_preemption(admission)
        return admission

    def _over(self) -> set[Thing]:
        """What is used beyond its size, as happens after a shrink."""
        uses = self.world.uses()
        things = {thing for _, thing in uses} | {("rate", limit) for limit in RATES if limit in self.world.limits}
        sized = [(thing, self.world.size(thing)) for thing in things]
        return {thing for thing, size in sized if size is not None and self.world.used(thing, uses) > size}

    def _check_preemption(self, admission: Admission) -> None:
        urgent = [self.world.waiting[run] for run, _ in admission.blocked]
        for run in admission.preempt:
            victim = self.world.holdings[run]
            assert run not in self.sent_away
            assert any(demand.priority > victim.priority and self._may_preempt(demand) for demand in urgent)
            self.sent_away.add(run)

    def _may_preempt(self, demand: Demand) -> bool:
        pools = [self.world.pools[pool] for pool in demand.pools or () if pool in self.world.pools]
        return demand.preempts or any(pool.preempts for pool in pools)

    @invariant()
    def the_accounts_say_what_the_world_adds_up(self) -> None:
        uses = self.world.uses()
        for limit in LIMITS:
            assert self.board.active_in_limit(limit) == self.world.used(("slots", limit), uses)
            waiting = [demand for demand in self.world.waiting.values() if limit in dict(demand.limits)]
            assert self.board.waiting_for_limit(limit) == len(waiting)
        for pool in POOLS:
            runs, requests = self.board.active_in_pool(pool)
            assert runs == self.world.used(("runs", pool), uses)
            assert dict(requests).get("cpu", 0) == self.world.used(("requests", pool, "cpu"), uses)
        for namespace in NAMESPACES:
            assert self.board.active_in_namespace(namespace) == self.world.used(("quota", namespace), uses)
        for key in DEPLOYMENTS:
            assert self.board.active_of(key) == self.world.used(("deployment", *key), uses)
        assert all(self.board.is_waiting(run) for run in self.world.waiting)

    def teardown(self) -> None:
        """
        When those who wait for nothing end, again and again, every retry is let in, though others wait for what it
        holds; and everybody who can be met, when all that is held comes free.
        """
        self._all_end(lambda run: run not in self.world.waiting)
        assert all(demand.counts or self.world.hopeless(demand) for demand in self.world.waiting.values())
        self._all_end(lambda _: True)
        assert not self.world.granted
        for demand in self.world.waiting.values():
            assert self.world.hopeless(demand) or self._closed_by_its_own(demand)

    def _all_end(self, ends: Callable[[ObjectKey], bool]) -> None:
        for _ in range(3 * len(self.world.waiting) + 3 * len(self.world.granted) + 10):
            for run in filter(ends, [*self.world.holdings, *self.world.granted]):
                self._end_for_good(run)
            self.tasks_end()
            self.slots_of_ended_runs_come_free()
            admission = self._admit()
            if not admission.grants and admission.look_again_at is None:
                break
            if not admission.grants and admission.look_again_at is not None:
                assert admission.look_again_at > self.world.now
                self.world.now = admission.look_again_at

    def _end_for_good(self, run: ObjectKey) -> None:
        demand = self.world.waiting.pop(run, None)
        if demand is not None:
            self.board.withdraw(run)
        self._end(run)

    def _closed_by_its_own(self, demand: Demand) -> bool:
        slots = self.world.deployments.get(demand.deployment) if demand.deployment else None
        return 0 in {slots, self.world.quotas.get(demand.run.namespace)}


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=100, stateful_step_count=30)
"""Finds few histories and makes those that fail short; the seeded ones below are many."""

Step = tuple[int, Callable[[Histories], Any], Callable[[Histories, Random], Any]]


def some(chance: Random) -> list[int]:
    return [pick(chance) for _ in range(chance.randint(1, 5))]


def pick(chance: Random) -> int:
    return chance.randrange(2**24)


STEPS: tuple[Step, ...] = (
    (6, lambda on: len(on.world.waiting) < CROWD, lambda on, chance: on.runs_come(some(chance))),
    (6, lambda on: on.world.granted, lambda on, chance: on.launches_go_on(some(chance))),
    (4, lambda on: on.world.holdings, lambda on, chance: on.runs_end(some(chance))),
    (2, lambda on: on.world.holdings, lambda on, chance: on.an_attempt_ends_and_is_retried(pick(chance))),
    (2, lambda on: on.world.holdings, lambda on, chance: on.a_run_is_told_of_again(pick(chance))),
    (1, lambda on: on.world.waiting, lambda on, chance: on.a_waiting_run_is_cancelled(pick(chance))),
    (1, lambda on: on.world.waiting, lambda on, chance: on.a_demand_changes(pick(chance), chance.randint(0, 5))),
    (2, lambda on: on.sent_away, lambda on, _: on.those_who_were_sent_away_go()),
    (2, lambda on: any(on.world.leases.values()), lambda on, _: on.slots_of_ended_runs_come_free()),
    (2, lambda _: True, lambda on, chance: on.a_task_takes_a_slot(pick(chance), chance.choice(LIMITS))),
    (1, lambda on: any(on.world.leases.values()), lambda on, _: on.tasks_end()),
    (3, lambda _: True, lambda on, chance: on.a_size_changes(chance.choice(SIZES))),
    (2, lambda _: True, lambda on, chance: on.time_passes(chance.choice((0.5, 1.0, 5.0, 10.0)))),
    (1, lambda _: True, lambda on, _: on.the_operator_dies_and_starts_anew()),
)


def a_history(chance: Random) -> None:
    history = Histories()
    for _ in range(16):
        ready = [step for step in STEPS if step[1](history)]
        (_, _, act), *_ = chance.choices(ready, weights=[weight for weight, _, _ in ready])
        act(history, chance)
        history.life_goes_on()
        history.the_accounts_say_what_the_world_adds_up()
    history.teardown()


@pytest.mark.parametrize("chapter", range(8))
def test_seeded_histories(chapter: int) -> None:
    """Two thousand in all; the number of one that fails is told."""
    for number in range(250):
        seed = 250 * chapter + number
        try:
            a_history(Random(seed))
        except AssertionError as error:
            error.add_note(f"history {seed}: a_history(Random({seed})) tells it again")
            raise

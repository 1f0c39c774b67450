"""
The gate through which runs pass to their pods.

    cache, Leases ──> told to the board ──> pass ──> runs whose turn it is are woken
    a run's demand ──> ask() ──> its turn, or what it waits for

What the board is told follows from the API alone, so that a new leader's board comes to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from typing import TypeVar

from headrace.api.common import Preemption
from headrace.api.concurrencylimit import ConcurrencyLimitSpec
from headrace.api.conditions import Reason
from headrace_operator.decide.circuit import circuit_wait
from headrace_operator.decide.cost import price_of
from headrace_operator.decide.demand import LimitView, Surroundings, Wish, pools_for
from headrace_operator.decide.placement import Pool, Tenant, placement_of, pool_of
from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.slots import run_holder, run_of
from headrace_operator.decide.queueing.terms import Demand, Holding, LimitTerms, PoolTerms, Rate
from headrace_operator.decide.reservations import RUNS, Appetite, Extent
from headrace_operator.decide.run_status import gives_way
from headrace_operator.decide.settle import is_live
from headrace_operator.decide.snapshot import (
    Blocked,
    HourlyPrice,
    ObjectKey,
    Placement,
    Run,
    Snapshot,
    Turn,
    Unresolved,
    current_pod,
)
from headrace_operator.observe.budget import budget_waits
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.deployment import awaits_history, runs_allowed
from headrace_operator.observe.hand_over import HandOver
from headrace_operator.observe.history import History
from headrace_operator.observe.records import LimitRecord, PoolRecord
from headrace_operator.observe.rooms import Rooms
from headrace_operator.observe.workkeys import ADMISSION, Kind, Waker, WorkKey

V = TypeVar("V")

IN_LINE = Blocked(Reason.WAITING_FOR_SLOT, "waits for its turn")
"""What is told before the first pass has said more."""
AWAITS_HISTORY = Blocked(
    Reason.WAITING_FOR_SLOT,
    "waits until the ends of its deployment's earlier runs are read, which its circuit breaker counts",
)
ROOM_DELAY_S = 0.02
"""By how much a booking in a pool follows what asks for it: one write for many launches."""
NOT_MADE = "slots without a Lease"
OF_OTHER_SHARDS = "slots of other shards"
"""They hold these on the board."""


class Gate:
    """
    Keeps the board, and wakes whom it lets through.

    Args:
        status_delay_s: By how much the statuses of limits and pools follow their counts, to gather changes.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self, cache: Cache, history: History, waker: Waker, *, status_delay_s: float, monotonic: Callable[[], float]
    ) -> None:
        self.board = Board()
        self.slots = cache.slots
        self.hand_over = HandOver(self.board, self.slots, is_alone=cache.share.is_alone, monotonic=monotonic)
        self._slot_news = self.slots.listen(cache.share.serves)
        self._keeps_cluster = cache.share.keeps_cluster
        self._cache = cache
        self._history = history
        self._waker = waker
        self._status_delay_s = status_delay_s
        self._asked: dict[ObjectKey, Demand] = {}
        self._told: dict[ObjectKey, Blocked] = {}
        self._outranked: set[ObjectKey] = set()
        self._unheard: set[ObjectKey] = set()
        self._limits: dict[str, LimitView] = {}
        self._pools: dict[str, Pool] = {}
        self.rooms = None if cache.share.is_alone else Rooms(cache.share, waker)
        """None: nobody else launches into the pools."""
        self._allowed: dict[str, tuple[Extent, bool]] = {}

    # What runs ask

    def around(self, run: Run) -> Surroundings:
        """What a run's demand rests on beside the run."""
        namespace = self._cache.namespaces.get(ObjectKey("", run.key.namespace))
        return Surroundings(
            limits=tuple(self._limits.values()),
            pools=tuple(self._pools.values()),
            tenant=Tenant(run.key.namespace, namespace.labels if namespace else {}),
            held=self._held_slots(run),
            labels=self._cache.labels_of(run),
            parents=tuple(parent.key for parent in self._cache.parents_of(run)),
        )

    def pool(self, name: str | None) -> Pool | None:
        """The WorkPool of this name, None where there is none."""
        return self._pools.get(name or "")

    def placement(self, seen: Snapshot) -> Placement | None:
        """Where the run's pod is, and where else it could be; None where it is in no pool."""
        pod = current_pod(seen)
        if pod is None or pod.pool is None or isinstance(seen.flow, Unresolved):
            return None
        found = pools_for(seen, seen.flow, self.around(seen.run), pod.requests)
        return placement_of(self.pool(pod.pool), found, seen.run.status.attempts)

    def price(self, seen: Snapshot) -> HourlyPrice | None:
        """What the run's current pod costs; None where that is unknown."""
        pod = current_pod(seen)
        return None if pod is None else price_of(self.pool(pod.pool), pod.requests)

    def ask(self, wish: Wish, now: datetime) -> Turn | Blocked | None:
        """
        The run's turn, charged to it from now on, or what it waits for. It stays in line until `withdraw`.

        None: that is not known yet; the run is woken when it is.
        """
        demand = wish.demand
        self.board.enrol(demand)
        if self._unheard:
            self._enter(demand)
            return None
        self.run(now, asking=demand.run)
        grant = self.board.grant_of(demand.run)
        if grant is not None:
            self._leave(demand.run)
            return Turn(grant.pool, wish.limits, wish.rates, demand.requests)
        self._enter(demand)
        blocked = self.board.explain(demand.run) or IN_LINE
        self._told[demand.run] = blocked
        return blocked

    def hear_first(self, runs: Iterable[ObjectKey]) -> None:
        """Nobody is given a turn before each of these was looked at: a place that is free at the start is for who stands first in line."""
        self._unheard = set(runs)

    def heard(self, run: ObjectKey) -> None:
        """The run was looked at, whatever came of it: it stands in line by now if it is to."""
        if run in self._unheard:
            self._unheard.discard(run)
            if not self._unheard:
                self._waker.add(ADMISSION)
                for waiting in self._asked:
                    self._waker.add_behind(WorkKey(Kind.FLOW_RUN, waiting))

    def withdraw(self, run: ObjectKey) -> None:
        """The run asks for nothing any more; a grant that it did not use is given back."""
        if self._cache.turn_of(run) is not None:
            return  # it is being launched: whether its pod exists is not known yet
        self._leave(run)
        self.board.withdraw(run)
        if self.board.grant_of(run) is not None:
            self.board.forgo(run)
        self._pass_soon()  # others may have stood behind it

    def run(self, now: datetime, *, asking: ObjectKey | None = None) -> datetime | None:
        """
        One pass over all that waits: wakes the runs whose turn it is, and those that wait for something else now.

        Args:
            asking: The run that is being looked at; it needs no waking.
        Returns: When time alone may let somebody through.
        """
        if self._unheard:
            return None
        for limit in tuple(self._slot_news.limits):
            self._look_at_slots(limit)
        found = self.board.admit(now)
        granted = [grant.run for grant in found.grants]
        changed = [run for run, blocked in found.blocked if self._told.get(run, blocked) != blocked]
        self._outranked.update(found.preempt)
        for run in (*granted, *changed, *found.preempt):
            if run != asking:
                self._waker.add(WorkKey(Kind.FLOW_RUN, run))
        self._want_room(found.blocked)
        if found.look_again_at is not None and asking is not None:
            self._waker.add(ADMISSION, max(0.0, (found.look_again_at - now).total_seconds()))
        return found.look_again_at

    @property
    def waiting(self) -> int:
        """How many runs stand in line."""
        return len(self._asked)

    def is_outranked(self, run: ObjectKey) -> bool:
        """Whether a run of higher priority was promised its place."""
        return run in self._outranked

    def charge(self, run: ObjectKey, attempt: int, turn: Turn) -> None:
        """The run uses its turn: it is active from now on. The board goes on counting its grant until its pod is known."""
        self._cache.charge(run, attempt, turn)

    def discharge(self, run: ObjectKey) -> None:
        """Its launch fell through: it is as it was before its turn."""
        self._cache.discharge(run)
        self.board.forgo(run)
        self.run_changed(run)
        self._pass_soon()

    # What the cache tells

    def run_changed(self, key: ObjectKey) -> None:
        """A run, or one of its pods, came, changed or went."""
        run, before = self._cache.runs.get(key), self.board.holding(key)
        if run is None or run.finished:
            self.heard(key)
            # One that was deleted uses what it held until its pod is out.
            if run is not None or before is None or not self._lives(key, before.uid):
                self._forget(key, before)
        elif not self._cache.is_admitted(run):
            if before is not None:  # outranked, or its launch fell through
                self._release(key, before)
        elif self._cache.turn_of(key) is None or self.board.grant_of(key) is None:
            self._hold(key, self._holding(run), before)

    def _forget(self, key: ObjectKey, before: Holding | None) -> None:
        self._leave(key)
        self.board.withdraw(key)
        self._release(key, before)

    def _release(self, key: ObjectKey, before: Holding | None) -> None:
        self._outranked.discard(key)
        self.board.release(key)
        self._tell_counts(pools=(before.pool if before else None,))
        self._pass_soon()

    def _hold(self, key: ObjectKey, holding: Holding, before: Holding | None) -> None:
        if holding == before:
            return
        self.board.hold(key, holding)
        self._tell_counts(pools=(holding.pool, before.pool if before else None))
        self._pass_soon()

    def deployment_changed(self, key: ObjectKey) -> None:
        """Its limit, its circuit or its budget may be another."""
        record = self._cache.deployments.get(key)
        if record is None or record.spec is None:
            self.board.drop_deployment(key)
        else:
            wait = circuit_wait(record.circuit)
            why = (
                Blocked(*wait)
                if wait is not None
                else AWAITS_HISTORY
                if awaits_history(record, self._history)
                else budget_waits(record, self._history)
            )
            self.board.set_deployment(key, runs_allowed(record, self._history), why=why)
        self._pass_soon()

    def namespace_changed(self, name: str) -> None:
        """Its quota, its weight or its labels may be others."""
        record = self._cache.namespaces.get(ObjectKey("", name))
        if record is None:
            self.board.drop_namespace(name)
        else:
            self.board.set_namespace(name, quota=record.quota, weight=record.weight)
        self._pass_soon()

    def limit_changed(self, name: str, record: LimitRecord | None) -> None:
        """A ConcurrencyLimit came, changed, or went (None)."""
        view = _limit_view(record) if record else None
        if record is None:
            self.hand_over.forget(name)
        if record is None or record.spec is None or view is None:
            self.board.drop_limit(name)
        else:
            self._tell_limit(name, record.spec)
        if self._limits.get(name) != view:
            self._replace(self._limits, name, view)
            self.wake_waiting()  # they may need it, or need it no more
        self._pass_soon()

    def pool_changed(self, name: str, record: PoolRecord | None) -> None:
        """A WorkPool came, changed, or went (None)."""
        pool = pool_of(name, record.labels, record.spec) if record else None
        if pool is None or pool.spec is None:
            self.board.drop_pool(name)
        else:
            capacity = pool.spec.capacity
            preempts = pool.spec.preemption is Preemption.LOWER_PRIORITY
            terms = PoolTerms(capacity.runs if capacity else None, amounts_of(pool.caps), preempts)
            self.board.set_pool(name, terms)
        if self._pools.get(name) != pool:
            self._replace(self._pools, name, pool)
            self.wake_waiting()  # it may fit them, or fit them no more
            self._wake_homeless()
        self._tell_allowed(name)  # knows the capacity only now
        self._pass_soon()

    def slots_changed(self, limit: str) -> None:
        """Its Leases say something else about who holds them, or when runs were started."""
        self._look_at_slots(limit)
        if not self._keeps_cluster:  # the status is not its business, but holders of its own that are over
            self._waker.add(WorkKey(Kind.LIMIT, ObjectKey("", limit)), self._status_delay_s)
        self._pass_soon()

    def slots_told(self, limit: str | None) -> None:
        """
        There may be news of the limit's Leases, of any limit's for None: it is looked at.

        What is of no holder of ours, and nobody waits for, is looked at before the next pass.
        """
        news = self._slot_news
        for name in tuple(news.limits) if limit is None else (limit,) if limit in news.limits else ():
            if name in news.own:
                self.slots_changed(name)
            elif self._asked:
                self._look_at_slots(name)
                self._pass_soon()
            elif self._keeps_cluster:
                self._tell_counts(limits=(name,))

    def close(self) -> None:
        """Nothing is told of slots any more."""
        self.slots.leave(self._slot_news)

    def _look_at_slots(self, limit: str) -> None:
        record = self._cache.limits.get(ObjectKey("", limit))
        if record is not None and record.spec is not None:
            news = self._tell_limit(limit, record.spec)
        else:
            news = self._tell_leases(limit, missing=0)
        rate = self.slots.rate_of(limit)
        self.board.set_starts(limit, rate.starts if rate else ())
        for holder in news:
            run = run_of(holder)
            if run in self._cache.runs and any(slot.limit == limit for slot in self.slots.held_by(holder)):
                self.run_changed(run)
        self._tell_counts(limits=(limit,))

    def _tell_leases(self, limit: str, *, missing: int) -> set[str]:
        """Of whose slots there is news. All holders that are not ours are one, and so are slots that are not made yet."""
        others = self.slots.taken(limit) - self._slot_news.held(limit)
        own = self.slots.numbers(limit, self._slot_news.take(limit))
        return self.board.set_leases(limit, own | {OF_OTHER_SHARDS: others, NOT_MADE: missing})

    def _tell_limit(self, name: str, spec: ConcurrencyLimitSpec) -> set[str]:
        """
        Of whose slots there is news.

        What has no Lease yet cannot be had: a run that was granted it would come back with nothing, at once and again.
        """
        rate = spec.rate
        starts = rate.count if rate and self.slots.rate_of(name) else 0
        self.board.set_limit(name, LimitTerms(spec.slots, Rate(starts, float(rate.per_seconds)) if rate else None))
        missing = max(0, (spec.slots or 0) - self.slots.count(name))
        return self._tell_leases(name, missing=missing)

    def _lives(self, run: ObjectKey, uid: str) -> bool:
        return any(pod.run_uid == uid and is_live(pod) for pod in self._cache.pods_of(run))

    def _holding(self, run: Run) -> Holding:
        turn = self._cache.turn_of(run.key)
        pods = [pod for pod in self._cache.pods_of(run.key) if pod.run_uid == run.uid and is_live(pod)]
        pod = pods[-1] if pods else None
        last = run.status.attempts[-1] if run.status.attempts else None
        asked = dict(turn.limits) if turn else {}
        held = self._held_slots(run)
        limits = tuple(sorted((name, max(asked.get(name, 0), held.get(name, 0))) for name in {*asked, *held}))
        return Holding(
            uid=run.uid,
            since=(last.started_at if last else None) or run.created,
            priority=self._cache.priority_of(run),
            deployment=ObjectKey(run.key.namespace, run.deployment_ref) if run.deployment_ref else None,
            limits=limits,
            pool=pod.pool if pod else turn.pool if turn else None,
            requests=pod.requests if pod and pod.pool else turn.requests if turn and not pod else (),
            counts=run.task is None,
            leaving=run.cancel or bool(pod and (pod.deleting or gives_way(run.status, pod.attempt))),
        )

    def _held_slots(self, run: Run) -> dict[str, int]:
        held: dict[str, int] = {}
        for slot in self.slots.held_by(run_holder(run.key, run.uid)):
            held[slot.limit] = held.get(slot.limit, 0) + 1
        return held

    def _enter(self, demand: Demand) -> None:
        if self._asked.get(demand.run) != demand:
            self._asked[demand.run] = demand
            self._tell_demand(demand)

    def _leave(self, run: ObjectKey) -> None:
        demand = self._asked.pop(run, None)
        self._told.pop(run, None)
        if demand is not None:
            self._tell_demand(demand)

    def _tell_demand(self, demand: Demand) -> None:
        self._tell_counts(limits=(*(name for name, _ in demand.limits), *demand.rates), pools=demand.pools or ())

    def _tell_counts(self, *, limits: Iterable[str] = (), pools: Iterable[str | None] = ()) -> None:
        """Statuses follow a little later, several changes at once."""
        for name in limits if self._keeps_cluster else ():
            self._waker.add(WorkKey(Kind.LIMIT, ObjectKey("", name)), self._status_delay_s)
        for pool in pools:
            if pool is not None:
                self._waker.add(WorkKey(Kind.POOL, ObjectKey("", pool)), self._status_delay_s)
                self._wake_room(pool)

    # What this shard may have of the pools

    def capacity(self, pool: str) -> Extent:
        """What the WorkPool takes in all; nothing where it has no bound, or is none."""
        found = self._pools.get(pool)
        if found is None or found.spec is None:
            return {}
        runs = found.spec.capacity.runs if found.spec.capacity else None
        return dict(amounts_of(found.caps)) | ({} if runs is None else {RUNS: Decimal(runs)})

    def appetite(self, pool: str) -> Appetite:
        """What this shard's runs use of the pool, and wait for."""
        return self.board.appetite(pool)

    def allow(self, pool: str, room: Extent, *, may_grow: bool = False) -> None:
        """So much of the pool is booked for this shard; `may_grow` tells whether it could have more."""
        if self._allowed.get(pool) != (room, may_grow):
            self._allowed[pool] = room, may_grow
            self._tell_allowed(pool)
            self._pass_soon()

    def _tell_allowed(self, pool: str) -> None:
        if self.rooms is None:
            return
        room, may_grow = self._allowed.get(pool, ({}, False))
        capacity = self.capacity(pool)
        elsewhere = {unit: max(Decimal(0), size - room.get(unit, Decimal(0))) for unit, size in capacity.items()}
        self.board.set_elsewhere(pool, elsewhere, may_grow=may_grow)
        if capacity or self.rooms.has_heard_of(pool):
            self.rooms.wake(pool)

    def _wake_room(self, pool: str) -> None:
        if self.rooms is not None and self.capacity(pool):
            self.rooms.wake(pool, ROOM_DELAY_S)

    def _want_room(self, blocked: Iterable[tuple[ObjectKey, Blocked]]) -> None:
        if self.rooms is None:
            return
        short = (self._asked.get(run) for run, why in blocked if why.reason is Reason.WAITING_FOR_POOL)
        for pool in {pool for demand in short if demand is not None for pool in demand.pools or ()}:
            self._wake_room(pool)

    def wake_waiting(self) -> None:
        """Have every waiting run look at what it needs anew."""
        for run in self._asked:
            self._waker.add(WorkKey(Kind.FLOW_RUN, run))

    def _wake_homeless(self) -> None:
        """Runs whose pods have no node yet: they may go to another pool from now on."""
        for pod in self._cache.pods.values():
            if pod.node is None and pod.pool is not None:
                self._waker.add(WorkKey(Kind.FLOW_RUN, pod.run))

    def _pass_soon(self) -> None:
        if self._asked and self.board.changed:  # whoever comes next has a pass of its own
            self._waker.add(ADMISSION)

    @staticmethod
    def _replace(views: dict[str, V], name: str, view: V | None) -> None:
        views.pop(name, None)
        if view is not None:
            views[name] = view


def _limit_view(record: LimitRecord) -> LimitView | None:
    spec = record.spec
    if spec is None:
        return None
    return LimitView(record.key.name, spec.slots is not None, spec.rate is not None, spec.selector)

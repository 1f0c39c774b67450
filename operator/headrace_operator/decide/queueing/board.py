"""
The board: who holds what, who waits for what, and who may go on.

    told of      limits, pools, deployments, namespaces · Leases and starts · what active runs hold
    asked by     enrol(demand) ─> admit(now) ─> grant ─> hold(run) when its pod exists, forgo(run) when it fell through
    answers      explain(run) says what a waiting run waits for, head of its line or not

Everything here follows from what the API says: a new board that is told the same decides the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from headrace.api.conditions import Reason
from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.queueing.admission import Pass
from headrace_operator.decide.queueing.books import Books
from headrace_operator.decide.queueing.lines import Line, Lines
from headrace_operator.decide.queueing.resources import Resource, deployment_slot, quota_of, runs_in, slots_of
from headrace_operator.decide.queueing.slots import run_holder, run_of
from headrace_operator.decide.queueing.terms import (
    Admission,
    Demand,
    Grant,
    Holders,
    Holding,
    LimitTerms,
    PoolTerms,
    Slots,
)
from headrace_operator.decide.reservations import RUNS, Appetite
from headrace_operator.decide.snapshot import Blocked, ObjectKey


def _in_pool(pool: str, unit: str) -> Resource:
    return runs_in(pool) if unit == RUNS else Resource("requests", pool, unit)


class Board:
    """
    Decides who may start.

    Attributes:
        looked_at: How many demands all passes have looked at: what admission costs.
    """

    def __init__(self) -> None:
        self.looked_at = 0
        self._books = Books()
        self._lines = Lines()
        self._changed = True
        self._last = Admission()

    @property
    def changed(self) -> bool:
        """Whether a pass may come to something else than the last one did."""
        return self._changed

    # What there is

    def set_limit(self, name: str, terms: LimitTerms) -> None:
        """A ConcurrencyLimit, new or changed."""
        if self._books.limits.get(name) == terms:
            return
        self._changed = True
        self._books.limits[name] = terms
        self._books.accounts.resize(slots_of(name), terms.slots)

    def drop_limit(self, name: str) -> None:
        """A ConcurrencyLimit is gone. Who holds its slots still counts, should it be made anew."""
        self._changed |= self._books.limits.pop(name, None) is not None
        self._books.accounts.resize(slots_of(name), None)

    def set_pool(self, name: str, terms: PoolTerms) -> None:
        """A WorkPool, new or changed."""
        before = self._books.pools.get(name, PoolTerms())
        self._changed |= name not in self._books.pools or before != terms
        self._books.pools[name] = terms
        self._resize_pool(name, before, terms)

    def drop_pool(self, name: str) -> None:
        """A WorkPool is gone; runs in it go on."""
        before = self._books.pools.pop(name, None)
        if before is not None:
            self._changed = True
            self._resize_pool(name, before, PoolTerms())

    def _resize_pool(self, name: str, before: PoolTerms, after: PoolTerms) -> None:
        self._books.accounts.resize(runs_in(name), after.runs)
        sizes: dict[str, Decimal | None] = {unit: None for unit, _ in before.resources} | dict(after.resources)
        for unit, size in sizes.items():
            self._books.accounts.resize(Resource("requests", name, unit), size)

    def set_elsewhere(self, pool: str, room: Mapping[str, Decimal], *, may_grow: bool) -> None:
        """
        What of a pool is not for the runs that are told of here.

        Args:
            room: By unit, as reservations count it.
            may_grow: It could become less: nobody is sent away meanwhile.
        """
        needs = tuple((_in_pool(pool, unit), amount) for unit, amount in sorted(room.items()))
        self._changed |= self._books.keep_elsewhere(pool, needs)
        before = pool in self._books.growing
        (self._books.growing.add if may_grow else self._books.growing.discard)(pool)
        self._changed |= before != may_grow

    def appetite(self, pool: str) -> Appetite:
        """What active runs use of the pool, and what those ask for that wait for it alone."""
        runs, requests = self.active_in_pool(pool)
        wanted: dict[str, Decimal] = {}
        least: dict[str, Decimal] = {}
        for line in self._lines:
            if self._waits_for(line, pool):
                for unit, amount in ((RUNS, Decimal(1)), *line.common.like.requests):
                    wanted[unit] = wanted.get(unit, Decimal(0)) + amount * len(line)
                    least[unit] = max(amount, least.get(unit, Decimal(0)))
        return Appetite({RUNS: Decimal(runs), **dict(requests)}, wanted, least)

    @staticmethod
    def _waits_for(line: Line, pool: str) -> bool:
        is_short = line.blocked is not None and line.blocked.reason is Reason.WAITING_FOR_POOL
        return is_short and pool in (line.common.like.pools or ())

    def set_deployment(self, key: ObjectKey, limit: int | None, *, why: Blocked | None = None) -> None:
        """
        How many runs of a Deployment may be active.

        Args:
            limit: None for any number.
            why: What runs that find no slot are told; None for the usual words.
        """
        news = self._books.accounts.resize(deployment_slot(key), limit)
        if news or self._books.stopped.get(key) != why:
            self._changed = True
            self._books.accounts.touched.add(deployment_slot(key))
        self._books.stopped.pop(key, None)
        if why is not None:
            self._books.stopped[key] = why

    def drop_deployment(self, key: ObjectKey) -> None:
        """A Deployment is gone, and its limit with it."""
        self.set_deployment(key, None)

    def set_namespace(self, name: str, *, quota: int | None = None, weight: float = 1.0) -> None:
        """
        How many runs of a namespace may be active, None for any number, and what its share weighs.

        Raises: ValueError: `weight` is not above zero.
        """
        if not weight > 0:
            message = f"namespace {name}: weight {weight} is not above zero; give a number such as 1"
            raise ValueError(message)
        self._changed |= self._books.accounts.resize(quota_of(name), quota)
        self._changed |= self._books.weights.get(name, 1.0) != weight
        self._books.weights[name] = weight

    def drop_namespace(self, name: str) -> None:
        """A namespace is gone."""
        self.set_namespace(name)
        del self._books.weights[name]

    # Who has it

    def set_leases(self, limit: str, holders: Holders) -> set[str]:
        """
        Who holds slots of the limit, by its Leases. Returns the holders of whom this says something new.

        A run that is also charged on the board counts once, with the larger figure.

        Args:
            holders: Those whose number of slots may be another one now, 0 for none; what was told of others holds on.
        """
        news = self._books.slots.tell_leases(limit, holders)
        for holder, more in news.items():
            self._changed |= more != 0
            run = run_of(holder)
            if run is not None:
                self._file_anew(run)
        return set(news)

    def set_starts(self, limit: str, starts: tuple[datetime, ...]) -> None:
        """The starts under the limit's rate that are stored, all of them within its window."""
        self._changed |= self._books.starts_of(limit).tell(starts)

    def hold(self, run: ObjectKey, holding: Holding) -> None:
        """
        An active run holds this and nothing else.

        A grant of its own ends when a holding is told that covers it: its deployment's slot, its limits, its pool. The
        start that it was granted counts on until one is stored.
        """
        is_charged_anew = self._books.hold(run, holding)
        self._changed |= is_charged_anew or run in self._lines.waiting_holders() or self._may_preempt()
        self._file_anew(run)

    def release(self, run: ObjectKey) -> None:
        """The run holds nothing more, and has no grant. A demand of its own stays."""
        if self._books.release(run):
            self._changed = True
            self._file_anew(run)

    def forgo(self, run: ObjectKey) -> None:
        """
        The run's launch fell through; what it is told to hold stays. To wait again it must be enrolled again.

        May be said after `hold` too: then it takes back the start that the run was to make.
        """
        self._changed |= self._books.forgo(run)

    def holding(self, run: ObjectKey) -> Holding | None:
        """What the run was told to hold."""
        return self._books.holdings.get(run)

    def grant_of(self, run: ObjectKey) -> Grant | None:
        """A grant that has become neither a holding nor nothing yet."""
        found = self._books.grants.get(run)
        return None if found is None else found[0]

    # Who waits

    def enrol(self, demand: Demand) -> None:
        """Have the run wait with this demand. One that has its grant already keeps that."""
        granted = self._books.grants.get(demand.run)
        if granted is not None and granted[1].uid == demand.uid:
            return
        self._changed |= granted is not None and self._books.forgo(demand.run)
        came = demand.run not in self._lines
        if self._lines.put(demand, self._owned(demand)):
            self._changed |= not (came and self._stands_behind(demand.run))

    def withdraw(self, run: ObjectKey) -> None:
        """The run waits no longer."""
        self._changed |= self._lines.remove(run)

    def is_waiting(self, run: ObjectKey) -> bool:
        """Whether the run is enrolled and not granted."""
        return run in self._lines

    def explain(self, run: ObjectKey) -> Blocked | None:
        """What a waiting run waits for: what the head of its line does. None before its first pass."""
        line = self._lines.line_of(run)
        return None if line is None else line.blocked

    def admit(self, now: datetime) -> Admission:
        """
        Grant what can be granted now.

        If nothing has changed and no instant has come, this costs nothing and gives no grants.
        """
        due = self._last.look_again_at is not None and self._last.look_again_at <= now
        if not (self._changed or due):
            return self._last
        touched, self._books.accounts.touched = self._books.accounts.touched, set()
        self._lines.wake(touched)
        one = Pass(self._books, self._lines, now)
        admission = one.run()
        self.looked_at += one.looked_at
        self._changed = False
        self._last = Admission(blocked=admission.blocked, look_again_at=admission.look_again_at)
        return admission

    # For statuses and metrics

    def waiting_for_limit(self, name: str) -> int:
        """How many waiting runs ask for slots or a start of this limit."""
        return self._lines.asking(name)

    def namespaces_at_limit(self, name: str) -> set[str]:
        """Whose runs wait and ask for slots or a start of this limit."""
        return {line.namespace for line in self._lines if line.asks_limit(name) and len(line)}

    def waiting_for_pool(self, name: str) -> int:
        """How many waiting runs fit this pool; one that fits several counts in each."""
        return sum(len(line) for line in self._lines if name in (line.common.like.pools or ()))

    def holders_of(self, limit: str) -> dict[str, int]:
        """Slots of this limit by holder, granted ones among them."""
        return self._books.slots.holders(limit)

    def active_in_limit(self, name: str) -> int:
        """How many slots of this limit are taken."""
        return int(self._books.accounts.used(slots_of(name)))

    def active_in_pool(self, name: str) -> tuple[int, Amounts]:
        """Active runs in this pool, and what they request together."""
        accounts, elsewhere = self._books.accounts, dict(self._books.elsewhere.get(name, ()))
        requests = (
            (unit, amount - elsewhere.get(Resource("requests", name, unit), 0))
            for unit, amount in accounts.requests_in(name)
        )
        runs = accounts.used(runs_in(name)) - elsewhere.get(runs_in(name), 0)
        return int(runs), tuple((unit, amount) for unit, amount in requests if amount)

    def active_in_namespace(self, name: str) -> int:
        """Active runs of this namespace."""
        return int(self._books.accounts.used(quota_of(name)))

    def active_of(self, deployment: ObjectKey) -> int:
        """Active runs of this Deployment."""
        return int(self._books.accounts.used(deployment_slot(deployment)))

    def _stands_behind(self, run: ObjectKey) -> bool:
        """Whether a pass comes to the same with and without the run: the head of its line must wait, and it with that."""
        line = self._lines.line_of(run)
        return line is not None and line.blocked is not None and not line.keeps and line.head().run != run

    def _may_preempt(self) -> bool:
        """Whether somebody who waits may send runs away: whom, is chosen by more than by what they hold."""
        return self._lines.preempting > 0 or any(pool.preempts for pool in self._books.pools.values())

    def _owned(self, demand: Demand) -> Slots:
        """Slots that the run has Leases of beyond what it is charged with: it need not wait for these."""
        holder = run_holder(demand.run, demand.uid)
        owned = ((limit, min(asked, self._books.slots.uncharged(limit, holder))) for limit, asked in demand.limits)
        return tuple((limit, slots) for limit, slots in owned if slots)

    def _file_anew(self, run: ObjectKey) -> None:
        demand = self._lines.demand_of(run)
        if demand is not None:
            self._changed |= self._lines.put(demand, self._owned(demand))

"""
What is scarce and who has it: terms, holdings and grants, with every account that follows from them.

A grant is charged in full when it is given, beside what the run holds already. It ends when its run is told to hold
what it was given, or gives it back; what is told of the run meanwhile does not touch it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from headrace_operator.decide.queueing.accounts import Accounts
from headrace_operator.decide.queueing.preemption import Occupant
from headrace_operator.decide.queueing.resources import (
    Amount,
    Needs,
    Resource,
    deployment_slot,
    quota_of,
    room_in,
    runs_in,
    slots_of,
)
from headrace_operator.decide.queueing.slots import SlotBook, run_holder
from headrace_operator.decide.queueing.starts import Starts
from headrace_operator.decide.queueing.terms import Demand, Grant, Holding, LimitTerms, PoolTerms, Slots
from headrace_operator.decide.snapshot import Blocked, ObjectKey

ELSEWHERE = ""
"""In place of a namespace: what other shards may use, and these runs may not."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a run is charged with: slots by its Leases' signature, all else thing by thing."""

    namespace: str
    holder: str
    slots: Slots
    rest: Needs


class Books:
    """All accounts, and the only place that posts to them."""

    def __init__(self) -> None:
        self.limits: dict[str, LimitTerms] = {}
        self.pools: dict[str, PoolTerms] = {}
        self.weights: dict[str, float] = {}
        self.stopped: dict[ObjectKey, Blocked] = {}
        self.elsewhere: dict[str, Needs] = {}
        self.growing: set[str] = set()
        self.accounts = Accounts()
        self.slots = SlotBook(self.accounts)
        self.starts: dict[str, Starts] = {}
        self.holdings: dict[ObjectKey, Holding] = {}
        self.grants: dict[ObjectKey, tuple[Grant, Demand]] = {}
        self._starting: dict[ObjectKey, tuple[str, ...]] = {}  # under which rates the last launch of a run started
        self._sent_away: set[ObjectKey] = set()
        self._occupants: dict[Resource, dict[ObjectKey, None]] = {}

    def keep_elsewhere(self, pool: str, needs: Needs) -> bool:
        """So much of the pool is not for the runs that are told of here. Returns whether that is news."""
        before = self.elsewhere.get(pool, ())
        if before == needs:
            return False
        for resource, amount in needs:
            self.accounts.post(ELSEWHERE, resource, amount)
        for resource, amount in before:
            self.accounts.post(ELSEWHERE, resource, -amount)
        self.elsewhere[pool] = needs
        return True

    def hold(self, run: ObjectKey, holding: Holding) -> bool:
        """
        The run holds this and nothing else; a grant that the holding covers has become part of it. Returns whether
        anything is free now that was not, or the other way round.
        """
        before = self.holdings.get(run)
        if before == holding:
            return self._ends_grant(run, holding) and self._take_back(run)
        is_charged_anew = self._recharge(run, before, holding)
        if before is not None:
            self._drop(run, before)
        self._keep(run, holding)
        if before is None or (before.uid, before.pool, before.limits) != (holding.uid, holding.pool, holding.limits):
            self._sent_away.discard(run)
        return is_charged_anew

    def release(self, run: ObjectKey) -> bool:
        """The run holds nothing more, granted or not. Returns whether it did."""
        self._sent_away.discard(run)
        before = self.holdings.get(run)
        if before is not None:
            self._post(_of_holding(run, before), -1)
            self._drop(run, before)
        started = self._end_start(run)
        return self._take_back(run) or before is not None or started

    def grant(self, demand: Demand, pool: str | None) -> Grant:
        """Charge all that was asked for, in this pool."""
        grant = Grant(demand.run, pool)
        self.grants[demand.run] = (grant, demand)
        self._post(_of_grant(grant, demand), 1)
        self._end_start(demand.run)
        self._starting[demand.run] = demand.rates
        for limit in demand.rates:
            self.starts_of(limit).grant(demand.run)
        return grant

    def forgo(self, run: ObjectKey) -> bool:
        """
        Take back the run's grant, and the start that it was to make; what it holds stays. Returns whether there was
        anything to take back.
        """
        rates = self._starting.pop(run, ())
        for limit in rates:
            self.starts_of(limit).take_back(run)
        return self._take_back(run) or bool(rates)

    def _end_start(self, run: ObjectKey) -> bool:
        rates = self._starting.pop(run, ())
        for limit in rates:
            self.starts_of(limit).end(run)
        return bool(rates)

    def _ends_grant(self, run: ObjectKey, holding: Holding) -> bool:
        grant, demand = self.grants.get(run, (None, None))
        return grant is not None and demand is not None and _settles(holding, grant, demand)

    def _recharge(self, run: ObjectKey, before: Holding | None, holding: Holding) -> bool:
        """Most often what comes is what goes, a grant or a holding: then there is nothing to post. Returns whether there was."""
        goes = [_of_holding(run, before)] if before is not None else []
        if self._ends_grant(run, holding):
            goes.append(_of_grant(*self.grants.pop(run)))
        comes = _of_holding(run, holding)
        if goes == [comes]:
            return False
        self._post(comes, 1)
        for charge in goes:
            self._post(charge, -1)
        return True

    def _take_back(self, run: ObjectKey) -> bool:
        grant, demand = self.grants.pop(run, (None, None))
        if grant is None or demand is None:
            return False
        self._post(_of_grant(grant, demand), -1)
        return True

    def send_away(self, run: ObjectKey) -> None:
        """Count on the run's leaving, so that nobody else is sent away for the same room."""
        self._sent_away.add(run)

    def starts_of(self, limit: str) -> Starts:
        """The starts that this limit's rate counts."""
        return self.starts.setdefault(limit, Starts())

    def free(self, resource: Resource, now: datetime) -> Amount | None:
        """How much is left of it; None for no bound."""
        if resource.kind != "rate":
            return self.accounts.free(resource)
        terms = self.limits.get(str(resource.owner))
        if terms is None or terms.rate is None:
            return None
        return self.starts_of(str(resource.owner)).free(terms.rate, now)

    def share(self, namespace: str, shared: tuple[Resource, ...]) -> float:
        """The largest part of any of these that the namespace uses, by its weight."""
        largest = 0.0
        for resource in shared:
            largest = max(largest, self.accounts.fraction(namespace, resource))
        return largest / self.weights.get(namespace, 1.0)

    def occupants(self, missing: Mapping[Resource, Amount]) -> Iterator[Occupant]:
        """The active runs that hold any of these."""
        groups = dict.fromkeys(group_of(resource) for resource in missing)
        runs = dict.fromkeys(run for group in groups for run in self._occupants.get(group, ()))
        for run in runs:
            held = self.holdings[run]
            leaving = held.leaving or run in self._sent_away
            yield Occupant(run, held.priority, held.since, leaving, self._would_leave(run, held))

    def held_by(self, runs: Iterable[ObjectKey]) -> set[Resource]:
        """What any of these runs hold of slots and of pools, each pool as the runs in it."""
        return {group for run in runs if run in self.holdings for group in _groups(self.holdings[run])}

    def _would_leave(self, run: ObjectKey, held: Holding) -> dict[Resource, Amount]:
        holder = run_holder(run, held.uid)
        slots = {slots_of(limit): self.slots.held(limit, holder) for limit, _ in held.limits}
        return slots | dict(room_in(held.pool, held.requests))

    def _keep(self, run: ObjectKey, holding: Holding) -> None:
        self.holdings[run] = holding
        for group in _groups(holding):
            self._occupants.setdefault(group, {})[run] = None

    def _drop(self, run: ObjectKey, holding: Holding) -> None:
        del self.holdings[run]
        for group in _groups(holding):
            del self._occupants[group][run]

    def _post(self, charge: Charge, times: int) -> None:
        for limit, slots in charge.slots:
            self.slots.charge(limit, charge.holder, times * slots)
        for resource, amount in charge.rest:
            self.accounts.post(charge.namespace, resource, times * amount)


def _settles(holding: Holding, grant: Grant, demand: Demand) -> bool:
    """Whether the grant has become this holding, or was made to a run of that name that is gone."""
    if holding.uid != demand.uid:
        return True
    held = dict(holding.limits)
    covered = all(held.get(limit, 0) >= slots for limit, slots in demand.limits)
    return covered and holding.pool == grant.pool and demand.deployment in {None, holding.deployment}


def _of_holding(run: ObjectKey, held: Holding) -> Charge:
    rest = (*_own(run, held.deployment, counts=held.counts), *room_in(held.pool, held.requests))
    return Charge(run.namespace, run_holder(run, held.uid), held.limits, rest)


def _of_grant(grant: Grant, demand: Demand) -> Charge:
    rest = (*_own(grant.run, demand.deployment, counts=demand.counts), *room_in(grant.pool, demand.requests))
    return Charge(grant.run.namespace, run_holder(grant.run, demand.uid), demand.limits, rest)


def _own(run: ObjectKey, deployment: ObjectKey | None, *, counts: bool) -> Needs:
    slot: Needs = ((deployment_slot(deployment), 1),) if deployment is not None else ()
    return (*slot, (quota_of(run.namespace), 1)) if counts else slot


def _groups(holding: Holding) -> list[Resource]:
    limits = [slots_of(limit) for limit, _ in holding.limits]
    return limits if holding.pool is None else [*limits, runs_in(holding.pool)]


def group_of(resource: Resource) -> Resource:
    """Requests are held by the runs of the pool."""
    return Resource("runs", resource.owner) if resource.kind == "requests" else resource

"""
One pass over the heads of the lines, in order: grant what can be granted, and hold the place of who is first in line.

The order: higher priority; runs that keep something while they wait; the smaller share of the namespace; age.

Who is short of something, and stands behind nobody for it, closes it to all behind, and reserves what else it
needs and could have. So what comes free gathers for it, and a run that needs much is not starved by runs that need
little. Who stands behind somebody closes and reserves nothing: its turn comes. What can never be met closes nothing.

What it is short of may be held by a run that waits itself, for a retry or for a remote task. That one comes to its end
only if nothing is kept from it: then the claim holds for those alone that keep nothing while they wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from heapq import heapify, heappop, heappush

from headrace_operator.decide.queueing.books import Books, group_of
from headrace_operator.decide.queueing.lines import Line, Lines
from headrace_operator.decide.queueing.preemption import still_missing, victims
from headrace_operator.decide.queueing.reasons import (
    limit_not_found,
    limit_too_small,
    no_pool_fits,
    pools_not_found,
    waits_for,
)
from headrace_operator.decide.queueing.resources import Amount, Need, Needs, PoolNeeds, Resource, slots_of
from headrace_operator.decide.queueing.terms import Admission, Grant
from headrace_operator.decide.snapshot import Blocked, ObjectKey

Missing = dict[Resource, Amount]
Rank = tuple[int, bool, float, datetime, ObjectKey]


@dataclass(frozen=True, slots=True)
class Room:
    """There is room, in this pool; None where no pools are in use."""

    pool: str | None


@dataclass(frozen=True, slots=True)
class Shortage:
    """What is missing for a start in one pool."""

    pool: str | None
    slots: Missing
    room: Missing

    @property
    def missing(self) -> Missing:
        """Slots and room together: how much of each resource is missing."""
        return {**self.slots, **self.room}


@dataclass(frozen=True, slots=True)
class Stop:
    """
    There is not enough of something.

    Args:
        aside: The line need not be looked at until there may be more of this.
        again: When time alone may help.
        shortages: Others could be sent away for these, best pool first.
    """

    why: Blocked
    aside: Resource | None = None
    again: datetime | None = None
    shortages: tuple[Shortage, ...] = ()


@dataclass(slots=True)
class Claims:
    """What those in line have closed to all behind, and what they have reserved."""

    closed: set[Resource] = field(default_factory=set)
    reserved: Missing = field(default_factory=dict)


@dataclass(slots=True)
class Pass:
    """One pass; used once. `looked_at` counts the demands that were looked at."""

    books: Books
    lines: Lines
    now: datetime
    looked_at: int = 0
    _for_all: Claims = field(default_factory=Claims)
    _for_new: Claims = field(default_factory=Claims)
    _held_by_waiting: set[Resource] | None = None
    _grants: list[Grant] = field(default_factory=list)
    _blocked: list[tuple[ObjectKey, Blocked]] = field(default_factory=list)
    _preempt: list[ObjectKey] = field(default_factory=list)
    _again: list[datetime] = field(default_factory=list)

    def run(self) -> Admission:
        """Grant what can be granted."""
        queue = [(self._rank(line), line) for line in self.lines.awake()]
        heapify(queue)
        while queue:
            rank, line = heappop(queue)
            # A grant makes its namespace's share larger, never smaller: who was ranked before it may only fall back.
            if self._grants and (later := self._rank(line)) > rank:
                heappush(queue, (later, line))
            elif self._settle(line) and line:
                heappush(queue, (self._rank(line), line))
        again = min(self._again, default=None)
        return Admission(tuple(self._grants), tuple(self._blocked), tuple(self._preempt), again)

    def _rank(self, line: Line) -> Rank:
        head = line.head()
        share = self.books.share(line.namespace, line.shared)
        return -head.priority, not line.keeps, share, head.due, head.run

    def _settle(self, line: Line) -> bool:
        """Grant the head of the line, or note why not. Returns whether it was granted."""
        self.looked_at += 1
        head = line.head()
        found = self._look(line)
        if isinstance(found, Room):
            self.lines.remove(head.run)
            self._grants.append(self.books.grant(head, found.pool))
            if line.keeps:
                self._held_by_waiting = None
            return True
        line.blocked = found.why
        self._blocked.append((head.run, found.why))
        if found.again is not None:
            self._again.append(found.again)
        if found.aside is not None:
            self.lines.put_aside(line, found.aside)
        self._make_room(line, found.shortages)
        return False

    def _look(self, line: Line) -> Room | Stop:
        ways = [way for way in line.needs.pools if self._fits(way)]
        if hopeless := self._hopeless(line, ways):
            return Stop(hopeless)
        return self._at_own(line) or self._at_rates(line) or self._at_shared(line, ways)

    def _hopeless(self, line: Line, ways: list[PoolNeeds]) -> Blocked | None:
        """Why the demand cannot be met, whoever ends."""
        demand = line.common.like
        for limit in line.limits:
            if limit not in self.books.limits:
                return limit_not_found(limit)
        for limit, asked in demand.limits:
            slots = self.books.limits[limit].slots
            if slots is not None and asked > slots:
                return limit_too_small(limit, asked=asked, slots=slots)
        if ways:
            return None
        gone = demand.pools and not any(pool in self.books.pools for pool in demand.pools)
        return pools_not_found(demand) if gone else no_pool_fits(demand)

    def _fits(self, way: PoolNeeds) -> bool:
        if way.pool is None:
            return True
        capacities = ((self.books.accounts.capacity(resource), amount) for resource, amount in way.needs)
        return way.pool in self.books.pools and all(size is None or amount <= size for size, amount in capacities)

    def _at_own(self, line: Line) -> Stop | None:
        """What only its own team can free: nobody else needs it, so nothing is closed for it."""
        missing = self._missing(line, line.needs.own)
        return self._stop(line, next(iter(missing))) if missing else None

    def _at_rates(self, line: Line) -> Stop | None:
        """What time frees. Starts under its other rates are kept for it, nothing else."""
        rates = line.needs.rates
        if not rates:
            return None
        behind = self._first_closed(line, rates)
        if behind is not None:
            return self._stop(line, behind)
        missing = self._missing(line, rates)
        if not missing:
            return None
        stop = self._stop(line, next(iter(missing)))
        self._keep_place([missing], [*line.needs.own, *rates])
        return stop

    def _at_shared(self, line: Line, ways: list[PoolNeeds]) -> Room | Stop:
        """Room for it among all, or what it is short of."""
        slots = line.needs.slots
        open_ways = [way for way in ways if self._first_closed(line, way.needs) is None]
        behind = self._first_closed(line, slots)
        if behind is None and not open_ways:
            behind = self._first_closed(line, ways[0].needs)
        if behind is not None:
            return self._stop(line, behind)
        missing = self._missing(line, slots)
        shortages = [Shortage(way.pool, missing, self._missing(line, way.needs)) for way in open_ways]
        with_room = next((index for index, shortage in enumerate(shortages) if not shortage.room), None)
        if with_room is not None and not missing:
            return Room(open_ways[with_room].pool)
        chosen = slice(None) if with_room is None else slice(with_room, with_room + 1)
        return self._first_in_line(line, shortages[chosen], open_ways[chosen])

    def _first_in_line(self, line: Line, shortages: list[Shortage], ways: list[PoolNeeds]) -> Stop:
        """It takes the first pool of these that it can get, and meanwhile keeps its place in that of the best one."""
        needs = line.needs
        self._keep_place(
            [short.missing for short in shortages], [*needs.own, *needs.rates, *needs.slots, *ways[0].needs]
        )
        return Stop(self._why(line, next(iter(shortages[0].missing))), shortages=tuple(shortages))

    def _claims_on(self, line: Line) -> tuple[Claims, ...]:
        return (self._for_all,) if line.keeps else (self._for_all, self._for_new)

    def _first_closed(self, line: Line, needs: Needs) -> Resource | None:
        claims = self._claims_on(line)
        for resource, _ in needs:
            for each in claims:
                if resource in each.closed:
                    return resource
        return None

    def _reserved(self, line: Line, resource: Resource) -> Amount:
        reserved: Amount = 0
        for each in self._claims_on(line):
            reserved += each.reserved.get(resource, 0)
        return reserved

    def _missing(self, line: Line, needs: Iterable[Need]) -> Missing:
        """How much more would have to be free, of what there is too little."""
        missing: Missing = {}
        for resource, amount in needs:
            free = self.books.free(resource, self.now)
            if free is not None and (lacking := amount + self._reserved(line, resource) - free) > 0:
                missing[resource] = lacking
        return missing

    def _keep_place(self, missing: list[Missing], needs: Iterable[Need]) -> None:
        """Close what is missing to all behind, reserve the rest of these needs."""
        claims = self._for_new if any(map(self._is_held_by_waiting, missing)) else self._for_all
        for short in missing:
            claims.closed.update(short)
        for resource, amount in needs:
            if resource not in claims.closed:
                claims.reserved[resource] = claims.reserved.get(resource, 0) + amount

    def _is_held_by_waiting(self, missing: Missing) -> bool:
        if self._held_by_waiting is None:
            owned = {slots_of(limit) for line in self.lines for limit, _ in line.common.owned}
            self._held_by_waiting = owned | self.books.held_by(self.lines.waiting_holders())
        return not self._held_by_waiting.isdisjoint(map(group_of, missing))

    def _stop(self, line: Line, resource: Resource) -> Stop:
        aside = again = None
        if resource.kind in {"deployment", "quota"} and self._exhausted(resource):
            aside = resource
        if resource.kind == "rate":
            again = self._opens_at(line, resource)
        return Stop(self._why(line, resource), aside, again)

    def _exhausted(self, resource: Resource) -> bool:
        """Whether others have it all, whatever is reserved: then only a change of the account helps."""
        free = self.books.accounts.free(resource)
        return free is not None and free <= 0

    def _opens_at(self, line: Line, rate: Resource) -> datetime | None:
        limit = str(rate.owner)
        terms = self.books.limits[limit].rate
        needed = 1 + int(self._reserved(line, rate))
        return None if terms is None else self.books.starts_of(limit).opens_at(terms, self.now, needed)

    def _why(self, line: Line, resource: Resource) -> Blocked:
        if resource.kind == "deployment" and isinstance(resource.owner, ObjectKey):
            stopped = self.books.stopped.get(resource.owner)
            if stopped is not None:
                return stopped
        terms = self.books.limits.get(str(resource.owner))
        return waits_for(resource, line.common.like, terms, self.books.accounts.capacity(resource))

    def _make_room(self, line: Line, shortages: tuple[Shortage, ...]) -> None:
        """Name those who must go for the head of the line, unless enough are leaving for one of the pools."""
        if not any(self._may_preempt(line, shortage) for shortage in shortages):
            return
        if any(shortage.pool in self.books.growing for shortage in shortages):
            return
        ways = [(shortage, tuple(self.books.occupants(shortage.missing))) for shortage in shortages]
        lacking = [(shortage, still_missing(shortage.missing, occupants), occupants) for shortage, occupants in ways]
        if not all(missing for _, missing, _ in lacking):
            return
        chosen = (
            victims(missing, occupants, line.common.like.priority)
            for shortage, missing, occupants in lacking
            if self._may_preempt(line, shortage)
        )
        for run in next(filter(None, chosen), ()):
            self.books.send_away(run)
            self._preempt.append(run)

    def _may_preempt(self, line: Line, shortage: Shortage) -> bool:
        if line.common.like.preempts:
            return True
        return not shortage.slots and shortage.pool is not None and self.books.pools[shortage.pool].preempts

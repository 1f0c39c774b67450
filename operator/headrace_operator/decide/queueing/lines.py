"""
Waiting runs, in lines of equal demands.

Runs that need the same, for the same namespace, at the same priority, differ by their age alone: if the oldest must
wait, all must. So a pass looks at the head of each line, and a queue of ten thousand costs what a queue of one does.

A line that waits for its own deployment or its namespace's quota, and for nothing else yet, is put aside until there
is more of that: it holds nothing back in the meantime.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from heapq import heapify, heappop, heappush
from typing import TypeVar

from headrace_operator.decide.queueing.resources import Requirements, Resource, requirements
from headrace_operator.decide.queueing.terms import Demand, Slots
from headrace_operator.decide.snapshot import Blocked, ObjectKey

Turn = tuple[datetime, ObjectKey]
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Common:
    """
    What the runs of a line have in common.

    Args:
        like: A demand of the line with its run's uid and age left out.
        owned: Slots that it has Leases of, though nobody charged it for them.
    """

    like: Demand
    owned: Slots


class Line:
    """
    Runs of equal demands, oldest first.

    Attributes:
        namespace: Whose runs they are.
        limits: Those of which they ask for slots or a start, in the order in which they name them.
        keeps: Whether they hold something while they wait: the sooner they go on, the sooner it is given back.
    """

    def __init__(self, common: Common) -> None:
        self.common = common
        self.namespace = common.like.run.namespace
        self.keeps = not common.like.counts or bool(common.owned)
        self.needs: Requirements = requirements(common.like, _lacking(common))
        self.shared = requirements(common.like, common.like.limits).shared
        self.limits = tuple(dict.fromkeys((*(limit for limit, _ in common.like.limits), *common.like.rates)))
        self.blocked: Blocked | None = None
        self.aside: Resource | None = None  # what it was put aside for
        self._members: dict[ObjectKey, Demand] = {}
        self._turns: list[Turn] = []  # those who left are dropped when they come up

    def __len__(self) -> int:
        return len(self._members)

    def asks_limit(self, name: str) -> bool:
        """Whether slots or a start of this limit are asked for."""
        return name in self.limits

    def head(self) -> Demand:
        """The first in line; there must be one."""
        while (found := self._members.get(self._turns[0][1])) is None or found.due != self._turns[0][0]:
            heappop(self._turns)
        return found

    def add(self, demand: Demand) -> None:
        """Let it in, at its place by age."""
        self._members[demand.run] = demand
        heappush(self._turns, (demand.due, demand.run))

    def remove(self, run: ObjectKey) -> None:
        """Let it go, wherever it stands."""
        del self._members[run]
        if len(self._turns) > 2 * len(self._members) + 16:
            self._turns = [(demand.due, demand.run) for demand in self._members.values()]
            heapify(self._turns)


class Lines:
    """
    All lines, each waiting run in one of them.

    Attributes:
        preempting: How many lines there are whose runs may send others away.
    """

    def __init__(self) -> None:
        self.preempting = 0
        self._lines: dict[Common, Line] = {}
        self._line_of: dict[ObjectKey, tuple[Line, Demand]] = {}
        self._aside: dict[Resource, list[Line]] = {}
        self._awake: dict[Common, Line] = {}
        self._waiting_holders: Counter[ObjectKey] = Counter()
        self._asking: Counter[str] = Counter()

    def __contains__(self, run: ObjectKey) -> bool:
        return run in self._line_of

    def __iter__(self) -> Iterator[Line]:
        return iter(self._lines.values())

    def demand_of(self, run: ObjectKey) -> Demand | None:
        """What a waiting run asked for."""
        found = self._line_of.get(run)
        return None if found is None else found[1]

    def line_of(self, run: ObjectKey) -> Line | None:
        """Where a run waits."""
        found = self._line_of.get(run)
        return None if found is None else found[0]

    def waiting_holders(self) -> Collection[ObjectKey]:
        """The runs that keep something while they wait, or wait for a task that does."""
        return self._waiting_holders.keys()

    def asking(self, limit: str) -> int:
        """How many runs ask for slots or a start of this limit."""
        return self._asking[limit]

    def awake(self) -> list[Line]:
        """The lines that a pass must look at."""
        return list(self._awake.values())

    def put(self, demand: Demand, owned: Slots) -> bool:
        """Have the run wait with this demand, in place of what it asked for before. Returns whether that is news."""
        common = Common(_without_age(demand), owned)
        line, known = self._line_of.get(demand.run, (None, None))
        if line is not None and line.common == common and known == demand:
            return False
        self.remove(demand.run)
        line = self._lines.get(common) or self._open(common)
        line.add(demand)
        self._line_of[demand.run] = (line, demand)
        self._waiting_holders.update(_holders(line, demand))
        self._asking.update(line.limits)
        return True

    def remove(self, run: ObjectKey) -> bool:
        """Have the run wait no longer. Returns whether it did."""
        line, demand = self._line_of.pop(run, (None, None))
        if line is None or demand is None:
            return False
        line.remove(run)
        _take_off(self._waiting_holders, _holders(line, demand))
        _take_off(self._asking, line.limits)
        if not line:
            self._close(line)
        return True

    def put_aside(self, line: Line, resource: Resource) -> None:
        """Leave the line out of passes until there may be more of this."""
        del self._awake[line.common]
        line.aside = resource
        self._aside.setdefault(resource, []).append(line)

    def wake(self, resources: Iterable[Resource]) -> None:
        """Look again at the lines that were put aside for these."""
        for resource in resources:
            for line in self._aside.pop(resource, ()):
                line.aside = None
                self._awake[line.common] = line

    def _open(self, common: Common) -> Line:
        line = self._lines[common] = self._awake[common] = Line(common)
        self.preempting += common.like.preempts
        return line

    def _close(self, line: Line) -> None:
        del self._lines[line.common]
        self.preempting -= line.common.like.preempts
        self._awake.pop(line.common, None)
        if line.aside is not None:
            self._aside[line.aside].remove(line)


def _take_off(counts: Counter[K], keys: Iterable[K]) -> None:
    for key in keys:
        counts[key] -= 1
        if not counts[key]:
            del counts[key]


_ANY_AGE = datetime(1970, 1, 1, tzinfo=UTC)


def _without_age(demand: Demand) -> Demand:
    return replace(demand, run=ObjectKey(demand.run.namespace, ""), uid="", due=_ANY_AGE, parents=())


def _holders(line: Line, demand: Demand) -> tuple[ObjectKey, ...]:
    return (demand.run, *demand.parents) if line.keeps else ()


def _lacking(common: Common) -> Slots:
    owned = dict(common.owned)
    return tuple((limit, slots - owned.get(limit, 0)) for limit, slots in common.like.limits)

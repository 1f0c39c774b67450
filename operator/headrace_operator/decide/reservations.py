"""
How shards share the capacity of a WorkPool: each books its part of it, and launches no more than it has booked.

    pods of a shard ≤ what it has booked        its own board sees to that
    all that is booked ≤ the capacity           each booking is compare and swap on one Lease

So the pods of all are never more than the capacity, whoever dies when: a booking is the shard's, and its next holder finds it.

What is booked and not used is kept while nobody else wants it, which costs no writes; else it is given back, down to a fair part.
A shard that has nothing in the pool and runs that wait for it comes before all others that are less hungry, the longest first: they book nothing
more until it has room for one run. So a large run gets its room, and a pool for one run goes round.

Nobody books more than is in use until every shard has told how much it uses of each unit, be it none: pods that were launched under another
number of shards, or before the pool had a bound in that unit, are found so, before their room is counted as free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Final

RUNS: Final = "runs"
"""The unit that counts runs; all others are resources of pods."""
NOTHING: Final = Decimal(0)

Extent = Mapping[str, Decimal]
"""Amounts by unit; what is absent is none."""


@dataclass(frozen=True, slots=True)
class Booking:
    """
    What one shard has booked in a pool.

    Args:
        room: With zeros: of a unit that is absent the shard has not told what it uses.
        wants: It has runs that wait for more.
        hungry_since_ms: Since when runs wait while none is in the pool; None: not so. In milliseconds since 1970.
    """

    room: Extent = field(default_factory=dict)
    wants: bool = False
    hungry_since_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Appetite:
    """
    What a shard does in a pool.

    Args:
        used: Of its active runs, those about to be launched among them.
        wanted: Of all its runs that wait for the pool.
        least: Of the one of these that asks for the most.
    """

    used: Extent
    wanted: Extent
    least: Extent

    @property
    def is_hungry(self) -> bool:
        """Whether it has nothing in the pool, and wants something."""
        return not self.used.get(RUNS) and bool(self.wanted.get(RUNS))


@dataclass(frozen=True, slots=True)
class Ledger:
    """
    All bookings of a pool.

    Args:
        shards: The names of all shards; bookings under other names are of another number of shards.
    """

    bookings: Mapping[str, Booking]
    shards: frozenset[str]

    @property
    def is_complete(self) -> bool:
        """Whether every shard has booked, be it nothing."""
        return self.bookings.keys() >= self.shards

    def tells(self, units: Iterable[str]) -> bool:
        """Whether every shard has told what it uses of each of these."""
        rooms = [self.bookings[name].room if name in self.bookings else {} for name in self.shards]
        return all(unit in room for room in rooms for unit in units)

    def leaves(self, capacity: Extent) -> bool:
        """Whether more could be booked of each unit: nobody need be sent away for room then."""
        booked = [each.room for each in self.bookings.values()]
        return all(size > sum(room.get(unit, NOTHING) for room in booked) for unit, size in capacity.items())

    def others(self, me: str) -> dict[str, Booking]:
        """Bookings that count beside mine; those under old names until all new ones are there."""
        counts = self.shards if self.is_complete else self.bookings.keys()
        return {name: booking for name, booking in self.bookings.items() if name != me and name in counts}

    def with_mine(self, me: str, booking: Booking) -> Ledger:
        """The ledger once that is booked."""
        new = Ledger({**self.bookings, me: booking}, self.shards)
        return Ledger({**new.others(me), me: booking}, self.shards)


def settled(capacity: Extent, ledger: Ledger, me: str, *, appetite: Appetite, now_ms: int) -> Booking:
    """
    The booking to have, which may be the present one.

    It is at least what is used; and it is more than now only where the capacity has that left.
    """
    mine, others = ledger.bookings.get(me, Booking()), ledger.others(me)
    since_ms = (mine.hungry_since_ms or now_ms) if appetite.is_hungry else None
    goal = _goal(capacity, ledger, me, appetite=appetite, since_ms=since_ms)
    room = {}
    for unit, size in capacity.items():
        left = size - sum((other.room.get(unit, NOTHING) for other in others.values()), NOTHING)
        room[unit] = max(appetite.used.get(unit, NOTHING), min(goal[unit], left))
    wanted = ((unit, appetite.used.get(unit, NOTHING) + amount) for unit, amount in appetite.wanted.items())
    wants = any(total > room[unit] for unit, total in wanted if unit in room)
    return Booking(room, wants, since_ms)


def held_throughout(mine: Booking | None, wanted: Booking) -> Extent:
    """What may be used while the booking is changed: it is booked whether the change has taken effect or not."""
    if mine is None:
        return {}
    return {unit: min(amount, mine.room[unit]) for unit, amount in wanted.room.items() if unit in mine.room}


def _goal(capacity: Extent, ledger: Ledger, me: str, *, appetite: Appetite, since_ms: int | None) -> dict[str, Decimal]:
    """What it would book if there were enough."""
    others = ledger.others(me)
    mine = ledger.bookings.get(me, Booking())
    used = {unit: appetite.used.get(unit, NOTHING) for unit in capacity}
    if not ledger.tells(capacity) or _comes_later(since_ms, me, others):
        return used
    need = {unit: used[unit] + appetite.wanted.get(unit, NOTHING) for unit in capacity}
    if since_ms is None and not any(other.wants for other in others.values()):
        return {unit: max(need[unit], mine.room.get(unit, NOTHING)) for unit in capacity}
    contenders = 1 + sum(1 for other in others.values() if other.wants or any(other.room.values()))
    goal = {}
    for unit, size in capacity.items():
        fair = max(
            _part(unit, size, contenders), appetite.least.get(unit, NOTHING) if since_ms is not None else NOTHING
        )
        goal[unit] = max(used[unit], min(need[unit], fair))
    return goal


def _comes_later(since_ms: int | None, me: str, others: Mapping[str, Booking]) -> bool:
    """Whether another shard is hungry that comes before this one."""
    hungry = [(other.hungry_since_ms, name) for name, other in others.items() if other.hungry_since_ms is not None]
    return bool(hungry) and (since_ms is None or min(hungry) < (since_ms, me))


def _part(unit: str, size: Decimal, contenders: int) -> Decimal:
    part = size / contenders
    return part.to_integral_value(ROUND_CEILING) if unit == RUNS else part.quantize(Decimal("0.001"))

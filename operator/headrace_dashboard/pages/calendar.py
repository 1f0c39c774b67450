"""
The partitions of a Backfill as a calendar: how those of each day ended, from the positions that its status keeps.

    a range of up to 800 days   a row for each month, a cell for each day
    a longer one                a row for each year, a cell for each month
    a list or a matrix          rows of 30 cells, in the order of the spec

A cell stands for neighbours, so that 300,000 partitions are as many cells as their days. Which position a partition has is the
operator's own arithmetic; a second one that must agree with it would disagree one day.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice, takewhile
from typing import Any, Final
from zoneinfo import ZoneInfo

from headrace.api.backfill import BackfillSpec, Order, PartitionOutcomes
from headrace.backfills.outcomes import Outcomes, decoded
from headrace.backfills.ranges import Ranges
from headrace_operator.decide.backfill.partitions import Partitions

COUNTS: Final = ("deploymentRef", "partitions", "order")
"""Fields that say what the partitions are; others may be of a newer version, and are none of this page."""
MAX_DAYS: Final = 800
ROW: Final = 30
MAX_CELLS: Final = 900
MOST_SHUFFLED: Final = 20_000
"""Partitions in random order whose places are computed one by one, a few microseconds each; of more, cells are places in the order of running."""
MOST_NAMED: Final = 50


@dataclass(frozen=True, slots=True)
class Cell:
    """
    Some neighbours and how many of them ended how.

    Attributes: `row` and `column` count from 0.
    """

    label: str
    row: int
    column: int
    total: int
    succeeded: int
    failed: int
    cancelled: int
    active: int

    @property
    def word(self) -> str:
        """The one thing to know of it."""
        if self.failed:
            return "failed"
        if self.cancelled:
            return "cancelled"
        if self.succeeded == self.total:
            return "succeeded"
        return "running" if self.active or self.succeeded else "pending"


@dataclass(frozen=True, slots=True)
class Calendar:
    """
    All cells.

    Attributes: `rows` are the names of the rows. `failed` are the first partitions that failed, with their names. `by_running` says that
    cells are places in the order of running.
    """

    cells: Sequence[Cell]
    rows: Sequence[str]
    columns: int
    failed: Sequence[str]
    by_running: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A cell that is not counted yet: the partitions with an index from `first` to before `stop`."""

    label: str
    row: int
    column: int
    first: int
    stop: int


def calendar(spec: Mapping[str, Any], status: Mapping[str, Any], active: Sequence[int]) -> Calendar:
    """
    The calendar of a Backfill.

    Args:
        active: Positions of the partitions whose runs have not ended.
    Raises: ValueError: the spec has no partitions, as the operator says too, or the status cannot be read.
    """
    whole = BackfillSpec.model_validate({name: spec[name] for name in COUNTS if name in spec})
    partitions = Partitions.of(whole)
    told = status.get("outcomes")
    outcomes = decoded(PartitionOutcomes.model_validate(told) if told else None)
    by_running = whole.order is Order.RANDOM and partitions.total > MOST_SHUFFLED
    failed = [partitions.at(each).name for each in _first(outcomes.failed, partitions.total)]
    if by_running:
        slots, rows, columns = _grid(partitions, by_running=True)
        counted = _Counted.of(outcomes, active)
    else:
        slots, rows, columns = _layout(whole, partitions)
        counted = _Counted.of(outcomes, active).by_index(partitions)
    return Calendar([counted.cell(slot) for slot in slots], rows, columns, failed, by_running)


@dataclass(frozen=True, slots=True)
class _Counted:
    """Who ended how, by position or by index."""

    succeeded: Ranges
    failed: Ranges
    cancelled: Ranges
    active: Ranges

    @classmethod
    def of(cls, outcomes: Outcomes, active: Sequence[int]) -> _Counted:
        """By position."""
        return cls(outcomes.succeeded, outcomes.failed, outcomes.cancelled, Ranges.of(active))

    def by_index(self, partitions: Partitions) -> _Counted:
        """The same by index: the order of running mirrored or unshuffled."""
        order, total = partitions.ordering.order, partitions.total
        if order is Order.OLDEST:
            return self
        sets = (self.succeeded, self.failed, self.cancelled, self.active)
        if order is Order.NEWEST:
            return _Counted(*(_mirrored(each, total) for each in sets))
        return _Counted(
            *(Ranges.of(partitions.ordering.index_at(place) for place in each if place < total) for each in sets)
        )

    def cell(self, slot: Slot) -> Cell:
        """With the numbers of its partitions."""
        sets = (self.succeeded, self.failed, self.cancelled, self.active)
        counts = (_count(each, slot.first, slot.stop) for each in sets)
        return Cell(slot.label, slot.row, slot.column, slot.stop - slot.first, *counts)


def _layout(spec: BackfillSpec, partitions: Partitions) -> tuple[list[Slot], list[str], int]:
    """Slots, names of rows, and how many columns there are."""
    within = spec.partitions.range
    if within is None:
        return _grid(partitions, by_running=False)
    zone = ZoneInfo(within.time_zone)
    first, last = _start(partitions, 0, zone), _start(partitions, partitions.total - 1, zone)
    if (last.date() - first.date()).days <= MAX_DAYS:
        return _by_day(partitions, first.date(), last.date(), zone)
    return _by_month(partitions, first.date(), last.date(), zone)


def _by_day(partitions: Partitions, first: date, last: date, zone: ZoneInfo) -> tuple[list[Slot], list[str], int]:
    days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    stops = _stops(partitions, [day + timedelta(days=1) for day in days], zone)
    rows = {(day.year, day.month): f"{day:%Y-%m}" for day in days}
    order = {key: number for number, key in enumerate(rows)}
    slots = [
        Slot(f"{day}", order[day.year, day.month], day.day - 1, start, stop)
        for day, start, stop in zip(days, [0, *stops], stops, strict=False)
        if start < stop
    ]
    return slots, list(rows.values()), 31


def _by_month(partitions: Partitions, first: date, last: date, zone: ZoneInfo) -> tuple[list[Slot], list[str], int]:
    count = 12 * (last.year - first.year) + last.month - first.month + 1
    months = [
        date(first.year + place // 12, place % 12 + 1, 1) for place in range(first.month - 1, first.month - 1 + count)
    ]
    stops = _stops(partitions, [(month + timedelta(days=31)).replace(day=1) for month in months], zone)
    slots = [
        Slot(f"{month:%Y-%m}", month.year - first.year, month.month - 1, start, stop)
        for month, start, stop in zip(months, [0, *stops], stops, strict=False)
        if start < stop
    ]
    return slots, [str(year) for year in range(first.year, last.year + 1)], 12


def _stops(partitions: Partitions, ends: Sequence[date], zone: ZoneInfo) -> list[int]:
    """For each midnight the index of the first partition that starts at it or later."""
    found: list[int] = []
    low = 0
    for end in ends:
        low = _first_from(partitions, end, low, zone)
        found.append(low)
    return found


def _first_from(partitions: Partitions, end: date, low: int, zone: ZoneInfo) -> int:
    """The first index from `low` on that starts on `end` or later: leaps that double, then halves, as days have few partitions."""

    def day(index: int) -> date:
        return _start(partitions, index, zone).date()

    leap, high = 1, low
    while high < partitions.total and day(high) < end:
        low, high, leap = high + 1, high + leap, 2 * leap
    return bisect_left(range(partitions.total), end, lo=low, hi=min(high, partitions.total), key=day)


def _grid(partitions: Partitions, *, by_running: bool) -> tuple[list[Slot], list[str], int]:
    size = -(-partitions.total // MAX_CELLS)
    slots = []
    for number, first in enumerate(range(0, partitions.total, size)):
        stop = min(first + size, partitions.total)
        ends = (
            (f"{first:,}", f"{stop - 1:,}")
            if by_running
            else tuple(partitions.source.at(each).name for each in (first, stop - 1))
        )
        label = ends[0] if first == stop - 1 else f"{ends[0]} to {ends[1]}"
        slots.append(Slot(label, number // ROW, number % ROW, first, stop))
    rows = [f"{number * ROW * size + 1:,}" for number in range(-(-len(slots) // ROW))]
    return slots, rows, min(ROW, len(slots))


def _start(partitions: Partitions, index: int, zone: ZoneInfo) -> datetime:
    """When the partition with this index starts, on the clock of the range."""
    start = partitions.source.at(index).start
    if start is None:
        raise ValueError("a partition of a range has no start")
    return start.astimezone(zone)


def _first(positions: Ranges, total: int) -> list[int]:
    return list(islice(takewhile(lambda position: position < total, positions), MOST_NAMED))


def _mirrored(positions: Ranges, total: int) -> Ranges:
    """Position p as total - 1 - p; those beyond are left out."""
    bits = positions.bits & ((1 << total) - 1)
    return Ranges(int(f"{bits:0{total}b}"[::-1], 2)) if total else positions


def _count(positions: Ranges, first: int, stop: int) -> int:
    return (positions.bits >> first & ((1 << (stop - first)) - 1)).bit_count()

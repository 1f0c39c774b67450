"""
The partitions of a Backfill: each found by its number, none listed that can be computed.

    index      from 0, as the spec has them: by time, as in the list, the matrix' last axis fastest
    position   from 0, in the order of running; what the status keeps outcomes by

A million partitions of a range take as much memory as its days, however many a day has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from math import prod
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from headrace.api.backfill import BackfillSpec, ListedPartition, MatrixAxis, PartitionRange, PartitionSource
from headrace.instants import stamp
from headrace_operator.decide.backfill import names
from headrace_operator.decide.backfill.calendar import zone_of_window
from headrace_operator.decide.backfill.errors import InvalidBackfill
from headrace_operator.decide.backfill.orders import Ordering, ordering_of
from headrace_operator.decide.backfill.steps import Steps, cron_steps, interval_steps
from headrace_operator.decide.cron import Cron
from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.recurrence import parse, zone_of

MOST: Final = 1_000_000
"""Partitions of one Backfill: what a status can still tell the outcomes of."""

FIRST_YEAR, LAST_YEAR = 1970, 2199

_SCALARS = (str, int, float, bool)
_UTC_NAMES: Final = frozenset({"Etc/UTC", "UTC", "Etc/UCT", "UCT", "Zulu", "Etc/Zulu"})


@dataclass(frozen=True, slots=True)
class Partition:
    """
    One partition.

    Args:
        name: A part of a DNS label, once in its Backfill: "20260101", "20260101t0600z", "eu-large".
        parameters: Of its run: spec.parameters, and over them the partition's own.
        start, end: Of a range: aware UTC, `end` not in it. None otherwise.
    """

    index: int
    name: str
    parameters: Mapping[str, Any]
    start: datetime | None = None
    end: datetime | None = None


class _Source(Protocol):
    """Where partitions come from."""

    @property
    def total(self) -> int:
        """How many there are."""

    def at(self, index: int) -> Partition:
        """The one with this index, its own parameters only."""


@dataclass(frozen=True, slots=True)
class Partitions:
    """The partitions of one Backfill, in the order of running. Made by `of`."""

    source: _Source
    ordering: Ordering
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, spec: BackfillSpec) -> Partitions:
        """
        The partitions that a spec describes; the same for the same `partitions` and `order`, in every process.

        Raises: InvalidBackfill: there are none, too many, or some that cannot be told apart; or the window, which is
            looked at here as well, has no such time zone.
        """
        source = _source(spec.partitions)
        if spec.window is not None:
            zone_of_window(spec.window)
        if source.total > MOST:
            raise InvalidBackfill(
                "spec.partitions",
                f"has at least {source.total:,} partitions; expected {MOST:,} at most: make several Backfills",
            )
        # Nothing but the number goes into the seed: whatever else a later version reads, the order stays.
        return cls(source, ordering_of(spec.order, source.total, str(source.total)), dict(spec.parameters or {}))

    @property
    def total(self) -> int:
        """How many there are, 1 to MOST."""
        return self.ordering.total

    def at(self, position: int) -> Partition:
        """
        The partition that goes in this place.

        Raises: IndexError: `position` is not from 0 to total - 1.
        """
        if not 0 <= position < self.total:
            raise IndexError(f"{position} is no position; expected 0 to {self.total - 1}")
        found = self.source.at(self.ordering.index_at(position))
        return replace(found, parameters={**self.parameters, **found.parameters})

    def position_of(self, index: int) -> int:
        """The place in which the partition with this index goes."""
        return self.ordering.position_of(index)

    @staticmethod
    def run_name(backfill: str, partition: Partition, attempt: int = 1, *, rerun: int = 0) -> str:
        """The name of its FlowRun, at most 63 characters, as `names.run_name` says."""
        return names.run_name(backfill, partition.name, attempt=attempt, rerun=rerun)


def _source(spec: PartitionSource) -> _Source:
    if spec.range is not None:
        return _range(spec.range)
    if spec.list_ is not None:
        return _listed(spec.list_)
    if spec.matrix is not None:
        return _matrix(spec.matrix)
    raise InvalidBackfill("spec.partitions", "is empty; set one of range, list and matrix")


@dataclass(frozen=True, slots=True)
class _Range:
    steps: Steps
    end: datetime
    zone: ZoneInfo
    start_parameter: str
    end_parameter: str
    by_date: bool  # every partition starts at a midnight

    @property
    def total(self) -> int:
        return self.steps.total

    def at(self, index: int) -> Partition:
        start = self.steps.at(index)
        end = self.end if index + 1 == self.total else self.steps.at(index + 1)
        times = {self.start_parameter: self._told(start), self.end_parameter: self._told(end)}
        return Partition(index, self._name(start), times, start, end)

    def _name(self, start: datetime) -> str:
        if self.by_date:
            return f"{start.astimezone(self.zone):%Y%m%d}"
        return f"{start:%Y%m%dt%H%M%Sz}" if start.second else f"{start:%Y%m%dt%H%Mz}"

    def _told(self, instant: datetime) -> str:
        local = instant.astimezone(self.zone).isoformat()
        return local.replace("+00:00", "Z") if self.zone.key in _UTC_NAMES else local


def _range(spec: PartitionRange) -> _Range:
    where = "spec.partitions.range"
    start, end = _whole_second(spec.from_, f"{where}.from"), _whole_second(spec.to, f"{where}.to")
    if start >= end:
        raise InvalidBackfill(f"{where}.to", f"{stamp(end)} is not later than from; choose a later time")
    try:
        zone = zone_of(spec.time_zone)
        steps, by_date = _steps(spec, start, end, zone)
    except InvalidSchedule as error:
        raise InvalidBackfill(f"{where}.{error.field}", f'"{error.value}": {error.message}') from error
    if steps.total == 0:
        message = (
            f'"{spec.cron}" has no time between from and to ({spec.time_zone}); choose another line or a longer range'
        )
        raise InvalidBackfill(f"{where}.cron", message)
    return _Range(steps, end, zone, spec.parameter_names.start, spec.parameter_names.end, by_date)


def _steps(spec: PartitionRange, start: datetime, end: datetime, zone: ZoneInfo) -> tuple[Steps, bool]:
    """The times at which partitions start, and whether each of them is the first instant of a day in `zone`."""
    if spec.cron is None:
        seconds = spec.interval_seconds or 0
        midnights = zone.key in _UTC_NAMES and start.time() == time() and seconds % 86400 == 0
        parse(interval_seconds=seconds)
        return interval_steps(start, end, seconds), midnights
    cron = parse(cron=spec.cron, time_zone=spec.time_zone).rule
    assert isinstance(cron, Cron)
    return cron_steps(cron, start, end, MOST), cron.hours == (0,) and cron.minutes == (0,)


def _whole_second(instant: datetime, field: str) -> datetime:
    if not FIRST_YEAR <= instant.year <= LAST_YEAR:
        found = instant.isoformat()
        raise InvalidBackfill(
            field, f'"{found}" is not between the years {FIRST_YEAR} and {LAST_YEAR}; choose a nearer time'
        )
    if instant.microsecond:
        raise InvalidBackfill(field, f'"{instant.isoformat()}" has fractions of a second; leave them out')
    return instant.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class _Listed:
    items: Sequence[ListedPartition]
    item_names: tuple[str, ...]

    @property
    def total(self) -> int:
        return len(self.items)

    def at(self, index: int) -> Partition:
        return Partition(index, self.item_names[index], dict(self.items[index].parameters or {}))


def _listed(items: Sequence[ListedPartition]) -> _Listed:
    where = "spec.partitions.list"
    _refuse_twice([(item.name or "", dict(item.parameters or {})) for item in items], where)
    named = [item.name for item in items if item.name is not None]
    _refuse_twice(named, where)
    return _Listed(items, names.distinct([_title(item) for item in items]))


def _title(item: ListedPartition) -> str:
    return item.name or " ".join(names.shown(value) for value in (item.parameters or {}).values())


@dataclass(frozen=True, slots=True)
class _Matrix:
    axes: Sequence[MatrixAxis]
    tokens: tuple[tuple[str, ...], ...]
    digits: int  # of the number behind each name; 0: the values alone tell partitions apart

    @property
    def total(self) -> int:
        return prod(len(axis.values) for axis in self.axes)

    def at(self, index: int) -> Partition:
        places, rest = [], index
        for axis in reversed(self.axes):
            rest, place = divmod(rest, len(axis.values))
            places.append(place)
        places.reverse()
        chosen = {axis.name: axis.values[place] for axis, place in zip(self.axes, places, strict=True)}
        name = names.joined(tokens[place] for tokens, place in zip(self.tokens, places, strict=True))
        return Partition(index, names.numbered(name, index, self.digits) if self.digits else name, chosen)


def _matrix(axes: Sequence[MatrixAxis]) -> _Matrix:
    for number, axis in enumerate(axes):
        where = f"spec.partitions.matrix[{number}].values"
        for value in axis.values:
            if not isinstance(value, _SCALARS):
                raise InvalidBackfill(
                    where, f"{json.dumps(value)[:80]} is no text, number, true or false; write it as a text"
                )
        _refuse_twice(axis.values, where)
    tokens = tuple(tuple(names.token(value) for value in axis.values) for axis in axes)
    tells_apart = all(all(each) and len(set(each)) == len(each) for each in tokens)
    longest = sum(max(map(len, each)) + 1 for each in tokens) - 1
    found = _Matrix(axes, tokens, 0)
    if tells_apart and longest <= names.MAX_PARTITION_NAME:
        return found
    return _Matrix(axes, tokens, len(names.in_base_36(found.total - 1)))


def _refuse_twice(values: Sequence[Any], where: str) -> None:
    seen: dict[str, int] = {}
    for number, value in enumerate(values):
        text = json.dumps(value, sort_keys=True)
        if text in seen:
            raise InvalidBackfill(
                where, f"{text[:80]} is there twice, at {seen[text]} and {number}; leave one of them out"
            )
        seen[text] = number

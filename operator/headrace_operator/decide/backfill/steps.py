"""
The times at which the partitions of a range start, found by their number without listing them.

An even interval is a multiplication. A cron line fires the same number of times on each of its days, but where the
clock changes: the times of such a day, and of the one after it, are enumerated, all others are counted. So a range
costs a few microseconds a day, and holds one number a day, whether it has one partition a day or one a minute.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, tzinfo
from itertools import dropwhile, takewhile
from typing import Protocol

from headrace_operator.decide.cron import Cron
from headrace_operator.decide.wallclock import wall_time

DAY = timedelta(days=1)


class Steps(Protocol):
    """Instants in order, aware UTC."""

    @property
    def total(self) -> int:
        """How many there are."""

    def at(self, number: int) -> datetime:
        """The one with this number, from 0 to total - 1."""


@dataclass(frozen=True, slots=True)
class IntervalSteps:
    """Even steps of elapsed time from `start` on, below the end of the range."""

    start: datetime
    step: timedelta
    total: int

    def at(self, number: int) -> datetime:
        """As promised by Steps."""
        return self.start + number * self.step


def interval_steps(start: datetime, end: datetime, seconds: int) -> IntervalSteps:
    """The steps of a range; the last one may be cut short by its end."""
    step = timedelta(seconds=seconds)
    return IntervalSteps(start, step, -((start - end) // step))


@dataclass(frozen=True, slots=True)
class CronSteps:
    """
    The times of a cron line in [start, end). Made by `cron_steps`.

    Args:
        counts: How many times there are in all the days (of 24 hours, from `start` on) up to and including each one.
        changes: The times of the days on which they cannot be counted, by the day's number.
    """

    cron: Cron
    start: datetime
    counts: array[int]
    changes: dict[int, tuple[datetime, ...]]
    times: tuple[timedelta, ...] = field(repr=False)

    @property
    def total(self) -> int:
        """How many there are."""
        return self.counts[-1] if self.counts else 0

    def at(self, number: int) -> datetime:
        """As promised by Steps."""
        day = bisect_right(self.counts, number)
        within = number - (self.counts[day - 1] if day else 0)
        if day in self.changes:
            return self.changes[day][within]
        since = self.start + day * DAY
        wall = wall_time(since, self.cron.zone)
        for first, low, high in _parts(self.cron, self.times, wall, wall + DAY):
            if within < high - low:
                return since + (first + self.times[low + within] - wall)
            within -= high - low
        raise IndexError(number)


def cron_steps(cron: Cron, start: datetime, end: datetime, most: int) -> CronSteps:
    """
    The times of `cron` in [start, end).

    Args:
        most: Counting ends on the day on which there are more: what is refused must not take seconds.
    """
    times = tuple(timedelta(hours=hour, minutes=minute) for hour in cron.hours for minute in cron.minutes)
    steps = CronSteps(cron, start, array("L"), {}, times)
    found = 0
    for number in range(-((start - end) // DAY)):
        since, until = start + number * DAY, min(end, start + (number + 1) * DAY)
        if _is_even(since, until, cron.zone):
            wall = wall_time(since, cron.zone)
            found += sum(high - low for _, low, high in _parts(cron, times, wall, wall + (until - since)))
        else:
            steps.changes[number] = tuple(_times_in(cron, since, until))
            found += len(steps.changes[number])
        steps.counts.append(found)
        if found > most:
            break
    return steps


def _is_even(since: datetime, until: datetime, zone: tzinfo) -> bool:
    """Whether the clock keeps its offset: then, and on the day before, as a repeated hour may reach into this one."""
    offset = since.astimezone(zone).utcoffset()
    return all(at.astimezone(zone).utcoffset() == offset for at in (since - DAY, until))


def _parts(
    cron: Cron, times: tuple[timedelta, ...], low: datetime, high: datetime
) -> Iterator[tuple[datetime, int, int]]:
    """For each date that the wall-clock times [low, high) touch, its midnight and the span of its `times` in them."""
    day: date = low.date()
    while (midnight := datetime.combine(day, time())) < high:
        if cron.fires_on(day):
            yield midnight, bisect_left(times, low - midnight), bisect_left(times, high - midnight)
        day += DAY


def _times_in(cron: Cron, since: datetime, until: datetime) -> Iterator[datetime]:
    instants = dropwhile(lambda instant: instant < since, cron.instants(since - DAY))
    return takewhile(lambda instant: instant < until, instants)

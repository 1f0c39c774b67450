"""
From the wall clock of a time zone to instants, over the hours that a clock change skips or repeats.

    01:30 does not exist  ──>  the first instant after the gap     clock put forward: 00:59:59 -> 02:00
    01:30 occurs twice    ──>  its first occurrence                clock put back:    01:59:59 -> 01:00

That is vixie cron's rule for jobs at fixed hours: each wall-clock time fires once a day, none is lost and none is
doubled. Schedules of every hour follow elapsed time instead: they fire whenever the clock shows a matching time,
in both passes of a repeated hour, and have nothing to make up for in a skipped one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from heapq import heappop, heappush


def wall_time(instant: datetime, zone: tzinfo) -> datetime:
    """What a clock on the wall shows then: naive, in `zone`."""
    return instant.astimezone(zone).replace(tzinfo=None)


def earliest_wall_time(after: datetime, zone: tzinfo) -> datetime:
    """A wall-clock time that nothing later than `after` precedes: before an hour that is about to be repeated."""
    put_back = _offset(after, zone) - _offset(after + timedelta(days=1), zone)
    return wall_time(after, zone) - max(put_back, timedelta())


def once_each(walls: Iterable[datetime], zone: tzinfo) -> Iterator[datetime]:
    """One instant for each wall-clock time, a skipped one moved to the end of the gap; strictly increasing."""
    last = None
    for wall in walls:
        instant = first_instant(wall, zone)
        if instant != last:
            yield instant
        last = instant


def whenever_shown(walls: Iterable[datetime], zone: tzinfo) -> Iterator[datetime]:
    """Each instant at which the clock shows one of the wall-clock times; strictly increasing."""
    repeated: list[datetime] = []
    for wall in walls:
        earlier, later = _readings(wall, zone)
        while repeated and repeated[0] < min(earlier, later):
            yield heappop(repeated)
        if earlier <= later:
            yield earlier
        if earlier < later:
            heappush(repeated, later)
    yield from sorted(repeated)


def first_instant(wall: datetime, zone: tzinfo) -> datetime:
    """The instant, aware UTC, at which the clock first shows `wall`, or first shows a later time."""
    earlier, later = _readings(wall, zone)
    return earlier if earlier <= later else _end_of_gap(later, earlier, zone)


def _readings(wall: datetime, zone: tzinfo) -> tuple[datetime, datetime]:
    """The wall-clock time read with the offset before and after a clock change: equal where there is none.

    In a repeated hour the first is the earlier one; in a gap, where neither is true, it is the later one.
    """
    earlier = wall.replace(tzinfo=zone).astimezone(UTC)
    later = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    return earlier, later


def _end_of_gap(low: datetime, high: datetime, zone: tzinfo) -> datetime:
    """The clock change in (low, high], found by halving."""
    offset = _offset(high, zone)
    seconds = range(int((high - low).total_seconds()))
    found = bisect_left(seconds, x=True, key=lambda s: _offset(low + timedelta(seconds=s), zone) == offset)
    return low + timedelta(seconds=found)


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset

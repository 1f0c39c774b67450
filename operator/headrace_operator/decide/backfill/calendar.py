"""
The daily window in which a Backfill starts runs.

It opens and closes when a clock on the wall shows so. A time that a clock change skips is the end of the gap, one that
it shows twice is the first of the two. A window over midnight belongs to the day on which it opens.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Final, NamedTuple

from headrace.api.backfill import Weekday, Window
from headrace_operator.decide.backfill.errors import InvalidBackfill
from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.recurrence import zone_of
from headrace_operator.decide.wallclock import first_instant, wall_time

DAY: Final = timedelta(days=1)
LOOK_AHEAD_DAYS: Final = 22
"""A window of one day a week that a clock change swallows opens a week later."""

_WEEKDAYS: Final = tuple(Weekday)


class _Stretch(NamedTuple):
    start: datetime
    end: datetime


def is_open(window: Window, now: datetime) -> bool:
    """
    Whether runs may be started now.

    Args:
        now: Aware.
    Raises: InvalidBackfill: the time zone is none.
    """
    return any(stretch.start <= now < stretch.end for stretch in _stretches(window, now))


def next_change(window: Window, now: datetime) -> datetime:
    """
    When the window closes, if it is open, or else opens: aware UTC, later than `now`.

    Raises: InvalidBackfill: the time zone is none.
    """
    for start, end in _stretches(window, now):
        if now < start:
            return start
        if now < end:
            return end
    raise AssertionError("a window opens within three weeks")


def zone_of_window(window: Window) -> tzinfo:
    """Its time zone. Raises: InvalidBackfill: there is no such zone."""
    try:
        return zone_of(window.time_zone)
    except InvalidSchedule as error:
        raise InvalidBackfill("spec.window.timeZone", f'"{error.value}" {error.message}') from error


def _stretches(window: Window, now: datetime) -> Iterator[_Stretch]:
    """The stretches of time around and past `now` in which it is open, in order; those that touch are one."""
    open_now: _Stretch | None = None
    for stretch in _days(window, now):
        if open_now is not None and stretch.start <= open_now.end:
            open_now = _Stretch(open_now.start, max(open_now.end, stretch.end))
            continue
        if open_now is not None:
            yield open_now
        open_now = stretch
    if open_now is not None:
        yield open_now


def _days(window: Window, now: datetime) -> Iterator[_Stretch]:
    zone = zone_of_window(window)
    opens, closes = time.fromisoformat(window.from_), time.fromisoformat(window.to)
    today = wall_time(now, zone).date()
    for day in (today + k * DAY for k in range(-2, LOOK_AHEAD_DAYS)):
        if window.days and _WEEKDAYS[day.weekday()] not in window.days:
            continue
        last = day if closes > opens else day + DAY
        start, end = _instant(day, opens, zone), _instant(last, closes, zone)
        if start < end:
            yield _Stretch(start, end)


def _instant(day: date, clock: time, zone: tzinfo) -> datetime:
    return first_instant(datetime.combine(day, clock), zone)

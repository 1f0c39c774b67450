"""
The instants of one schedule: a cron line, an even interval, or an RRULE.

    cron, rrule    times on the wall clock of a zone; wallclock.py carries them over clock changes
    interval       anchor + k * seconds in elapsed time; no clock change touches it

Asking for the next instant of a schedule that fires once in years is quick, and every question has a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum
from itertools import count, dropwhile, islice, takewhile
from typing import Protocol
from zoneinfo import ZoneInfo, available_timezones

from headrace_operator.decide.cron import parse_cron
from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.rrule import parse_rrule

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""The anchor of an interval that has none: 3600 fires on the hour."""

LONGEST_INTERVAL_S = 1_000_000_000
"""31 years: more is a slip of the keyboard."""

FIRST_LOOK_BACK = timedelta(hours=1)
"""`newest` looks back this far first, then twice as far, and so on."""


class Kind(StrEnum):
    """How a schedule is written."""

    CRON = "cron"
    INTERVAL = "interval"
    RRULE = "rrule"


class Rule(Protocol):
    """What a schedule was understood as."""

    def instants(self, after: datetime) -> Iterator[datetime]:
        """Aware UTC instants around and past `after`, strictly increasing; some may precede it."""


@dataclass(frozen=True, slots=True)
class Recurrence:
    """A schedule that was read without complaint. `expression` is its text, seconds for an interval."""

    kind: Kind
    expression: str
    anchor: datetime | None
    zone: str
    rule: Rule = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Interval:
    """Even steps of elapsed time in both directions from `anchor`."""

    seconds: int
    anchor: datetime

    def instants(self, after: datetime) -> Iterator[datetime]:
        """Aware UTC instants past `after`, strictly increasing."""
        step = timedelta(seconds=self.seconds)
        passed = (after - self.anchor) // step
        return (self.anchor + k * step for k in count(passed + 1))


def parse(
    *,
    cron: str | None = None,
    interval_seconds: int | None = None,
    rrule: str | None = None,
    anchor: datetime | None = None,
    time_zone: str = "Etc/UTC",
) -> Recurrence:
    """
    The schedule that these fields describe; exactly one of the first three is given.

    Args:
        anchor: Aware. What an interval is counted from (default EPOCH), and where an RRULE starts.
    Raises: InvalidSchedule: With the field, the value found, and what to write instead.
    """
    given = {Kind.CRON: cron, Kind.INTERVAL: interval_seconds, Kind.RRULE: rrule}
    kinds = [kind for kind, value in given.items() if value is not None]
    if len(kinds) != 1:
        found = " and ".join(_SPELLING[kind] for kind in kinds) or "none"
        raise InvalidSchedule("schedule", found, "give exactly one of cron, intervalSeconds and rrule")
    zone = zone_of(time_zone)
    _check_anchor(anchor)
    if cron is not None:
        return Recurrence(Kind.CRON, cron, None, time_zone, parse_cron(cron, zone))
    if rrule is not None:
        return Recurrence(Kind.RRULE, rrule, anchor, time_zone, parse_rrule(rrule, zone, anchor))
    assert interval_seconds is not None
    rule = _interval(interval_seconds, anchor)
    return Recurrence(Kind.INTERVAL, str(interval_seconds), anchor, time_zone, rule)


_SPELLING = {Kind.CRON: "cron", Kind.INTERVAL: "intervalSeconds", Kind.RRULE: "rrule"}


def next_after(recurrence: Recurrence, after: datetime, limit: int) -> list[datetime]:
    """The next instants, soonest first: at most `limit`, aware UTC, strictly increasing, `after` left out."""
    return list(islice(_past(recurrence, after), limit))


def between(recurrence: Recurrence, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """The oldest instants in (after, until]: at most `limit`, aware UTC, strictly increasing."""
    return list(islice(takewhile(lambda instant: instant <= until, _past(recurrence, after)), limit))


def newest(recurrence: Recurrence, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """The newest instants in (after, until]: at most `limit`, aware UTC, strictly increasing."""
    look_back = FIRST_LOOK_BACK
    while True:
        start = max(after, until - look_back)
        instants = takewhile(lambda instant: instant <= until, _past(recurrence, start))
        found = deque(instants, maxlen=limit)
        if len(found) == limit or start == after:
            return list(found)
        look_back *= 2


def _past(recurrence: Recurrence, after: datetime) -> Iterator[datetime]:
    return dropwhile(lambda instant: instant <= after, recurrence.rule.instants(after))


def _interval(seconds: int, anchor: datetime | None) -> Interval:
    if not 1 <= seconds <= LONGEST_INTERVAL_S:
        message = f"is not between 1 and {LONGEST_INTERVAL_S:,}; give whole seconds, 3600 for every hour"
        raise InvalidSchedule("intervalSeconds", seconds, message)
    return Interval(seconds, (anchor or EPOCH).astimezone(UTC).replace(microsecond=0))


def _check_anchor(anchor: datetime | None) -> None:
    if anchor is None:
        return
    if anchor.tzinfo is None:
        raise InvalidSchedule(
            "anchor", anchor.isoformat(), "has no offset; end it in Z for UTC, or in one such as +02:00"
        )
    if not 1900 <= anchor.year < 2200:
        raise InvalidSchedule(
            "anchor", anchor.isoformat(), "is not between the years 1900 and 2199; choose a nearer one"
        )


def zone_of(name: str) -> ZoneInfo:
    """The time zone of this name. Raises: InvalidSchedule."""
    try:
        return ZoneInfo(name)
    # Which of them depends on the name: no such file, a folder, a path out of the zone database.
    except (KeyError, ValueError, OSError) as error:
        near = get_close_matches(name, available_timezones(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else 'expected a name such as "Europe/London" or "Etc/UTC"'
        raise InvalidSchedule("timeZone", name, f"is no known time zone; {hint}") from error

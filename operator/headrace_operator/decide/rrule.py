"""
Recurrence rules of RFC 5545 (`FREQ=WEEKLY;BYDAY=MO,WE;BYHOUR=7`), expanded by dateutil on the wall clock.

dateutil walks a rule from its start, day by day, to the end of the calendar if nothing matches. So the start is moved
close to the time that is asked for, by whole periods, and a rule must prove in the calendar's last years that it fires.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import MAXYEAR, UTC, datetime, time, timedelta, tzinfo

from dateutil.rrule import rrule, rrulestr

from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.wallclock import earliest_wall_time, once_each, wall_time, whenever_shown

DEFAULT_START = datetime(2000, 1, 1)  # noqa: DTZ001 - wall-clock time of any zone
"""Where a rule without an anchor begins to count its periods: a Saturday, the first day of a year, at midnight."""

LAST_YEARS = datetime(MAXYEAR - 41, 1, 1)  # noqa: DTZ001 - as above
"""A walk from here ends soon by itself, and meets all kinds of years: the calendar repeats itself after 28 of them."""

COUNT_LIMIT = 10_000
"""A rule with COUNT is walked from its start each time, so this bounds the work."""

INTERVAL_LIMIT = 1_000
"""Three years of days; a rule that fires more rarely is better written with a larger FREQ."""

_UNITS = {
    "WEEKLY": timedelta(weeks=1),
    "DAILY": timedelta(days=1),
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
}
_EVERY_HOUR = {"HOURLY": 1, "MINUTELY": 60}
"""Frequencies whose interval, up to this, leaves no hour out."""
_FREQUENCIES = ("YEARLY", "MONTHLY", "WEEKLY", "DAILY", "HOURLY", "MINUTELY")
_ONLY_WITH = {
    "BYWEEKNO": ("YEARLY",),
    "BYYEARDAY": ("YEARLY",),
    "BYMONTHDAY": ("YEARLY", "MONTHLY", "DAILY", "HOURLY", "MINUTELY"),
}
_NUMBERS = {
    "BYMONTH": range(1, 13),
    "BYHOUR": range(24),
    "BYMINUTE": range(60),
    "BYSECOND": range(60),
    "BYMONTHDAY": range(-31, 32),
    "BYYEARDAY": range(-366, 367),
    "BYWEEKNO": range(-53, 54),
    "BYSETPOS": range(-366, 367),
}
_WEEKDAY = re.compile(r"[+-]?\d{0,2}(MO|TU|WE|TH|FR|SA|SU)")
_STAMP = re.compile(r"(19|20|21)\d{6}(T\d{6}Z?)?")


@dataclass(frozen=True, slots=True)
class CalendarRule:
    """
    The wall-clock times of an RRULE in `zone`.

    Args:
        body: The rule without COUNT and UNTIL, as dateutil reads it.
        start, until: Naive, in `zone`.
        names_hours: It picks hours of the day: then each fires once a day, whatever the clock does.
    """

    zone: tzinfo
    body: str
    frequency: str
    interval: int
    count: int | None
    start: datetime
    until: datetime | None
    names_hours: bool

    def instants(self, after: datetime) -> Iterator[datetime]:
        """Aware UTC instants around and past `after`, strictly increasing; some may precede it."""
        if self.names_hours:
            return once_each(self.walls(wall_time(after, self.zone)), self.zone)
        return whenever_shown(self.walls(earliest_wall_time(after, self.zone)), self.zone)

    def walls(self, start: datetime) -> Iterator[datetime]:
        """Its wall-clock times from `start` on, strictly increasing."""
        rule = rrulestr(self.body, dtstart=self._start_near(start))
        assert isinstance(rule, rrule)
        return (wall for wall in rule.replace(count=self.count, until=self.until) if wall >= start)

    def fires(self) -> bool:
        """Whether any time matches, were there no COUNT and no UNTIL."""
        try:
            return next(replace(self, count=None, until=None).walls(LAST_YEARS), None) is not None
        except ValueError:  # dateutil finds that INTERVAL steps over every BYHOUR or BYMINUTE
            return False

    def _start_near(self, wall: datetime) -> datetime:
        """A start in step with the rule's own, at least one period before `wall`, or the rule's own."""
        if wall <= self.start or self.count is not None:
            return self.start
        unit = _UNITS.get(self.frequency)
        if unit is None:
            return self._months_near(wall)
        period = unit * self.interval
        # One period in reserve: BYDAY and the like pick times from all over a period.
        return self.start + max(0, (wall - self.start) // period - 1) * period

    def _months_near(self, wall: datetime) -> datetime:
        """The same for periods of months and years, on a day that its month has."""
        months = self.interval * (1 if self.frequency == "MONTHLY" else 12)
        passed = (wall.year - self.start.year) * 12 + wall.month - self.start.month
        for periods in range(max(0, passed // months - 1), 0, -1):
            year, month = divmod(self.start.year * 12 + self.start.month - 1 + periods * months, 12)
            if self.start.day <= monthrange(year, month + 1)[1]:
                return self.start.replace(year=year, month=month + 1)
        return self.start


def parse_rrule(text: str, zone: tzinfo, anchor: datetime | None) -> CalendarRule:
    """
    An RRULE, understood.

    Args:
        text: One RRULE, `RRULE:` in front or not, with a line `DTSTART:20260101T070000` or not.
        anchor: Aware; the rule's start unless it has a DTSTART. None stands for DEFAULT_START in `zone`.
    Raises: InvalidSchedule: It cannot be read, or never fires.
    """
    start, parts = _lines(text, zone)
    if start is None and anchor is not None:
        start = wall_time(anchor, zone).replace(microsecond=0)
    try:
        _check(parts, has_start=start is not None)
        rule = _rule(parts, start or DEFAULT_START, zone)
    except ValueError as error:
        raise InvalidSchedule("rrule", text, str(error)) from error
    if rule.until is not None and rule.until < rule.start:
        message = (
            f"ends before it begins: UNTIL is {rule.until} and the start {rule.start}; set anchor or a later UNTIL"
        )
        raise InvalidSchedule("rrule", text, message)
    if not rule.fires():
        raise InvalidSchedule("rrule", text, "never fires: no time satisfies all of its parts; take one of them out")
    return rule


def _lines(text: str, zone: tzinfo) -> tuple[datetime | None, dict[str, str]]:
    start, rules = None, []
    for line in text.upper().split():
        name, _, value = line.rpartition(":")
        if name in {"", "RRULE"}:
            rules.append(value)
        elif name == "DTSTART":
            start = _dtstart(text, value, zone)
        elif name.startswith("DTSTART;"):
            raise InvalidSchedule("rrule", text, "DTSTART has parameters; write DTSTART:20260101T070000 and timeZone")
        else:
            raise InvalidSchedule("rrule", text, f"has a {name} line; only one RRULE and a DTSTART are understood")
    if len(rules) != 1:
        raise InvalidSchedule("rrule", text, f"has {len(rules)} rules, expected one; add a schedule for each")
    return start, _parts(text, rules[0])


def _dtstart(text: str, value: str, zone: tzinfo) -> datetime:
    try:
        return _stamp("DTSTART", value, zone, bare=time())
    except ValueError as error:
        raise InvalidSchedule("rrule", text, str(error)) from error


def _parts(text: str, rule: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for pair in rule.strip(";").split(";"):
        name, equals, value = pair.partition("=")
        if not equals or not value:
            raise InvalidSchedule("rrule", text, f'"{pair}" is no NAME=value, as in "FREQ=DAILY;BYHOUR=7"')
        if name in parts:
            raise InvalidSchedule("rrule", text, f"{name} is given twice; separate several values by commas")
        parts[name] = value
    return parts


def _check(parts: dict[str, str], *, has_start: bool) -> None:
    for name, value in parts.items():
        if name not in _CHECKS:
            raise ValueError(f"{name} is not known; expected {', '.join(_CHECKS)}")
        _CHECKS[name](name, value)
    if "FREQ" not in parts:
        raise ValueError(f"has no FREQ; add FREQ= with one of {', '.join(_FREQUENCIES)}")
    misplaced = next((name for name in parts if parts["FREQ"] not in _ONLY_WITH.get(name, _FREQUENCIES)), None)
    if misplaced:
        raise ValueError(
            f"{misplaced} goes with FREQ={' or '.join(_ONLY_WITH[misplaced])}; choose that FREQ, or other parts"
        )
    if "COUNT" in parts and "UNTIL" in parts:
        raise ValueError("COUNT and UNTIL exclude each other; keep one of them")
    if "COUNT" in parts and not has_start:
        raise ValueError("COUNT needs a start to count from; set anchor to the first time")


def _is_frequency(name: str, value: str) -> None:
    if value not in _FREQUENCIES:
        hint = "; write intervalSeconds for less than a minute" if value == "SECONDLY" else ""
        raise ValueError(f'{name} is "{value}", expected one of {", ".join(_FREQUENCIES)}{hint}')


def _is_weekday(name: str, value: str) -> None:
    if value not in {"MO", "TU", "WE", "TH", "FR", "SA", "SU"}:
        raise ValueError(f'{name} is "{value}", expected a weekday such as MO')


def _is_positive(name: str, value: str) -> None:
    limit = COUNT_LIMIT if name == "COUNT" else INTERVAL_LIMIT
    if not value.isdecimal() or not 1 <= int(value[:9]) <= limit:
        raise ValueError(f'{name} is "{value}", expected a whole number from 1 to {limit:,}')


def _is_stamp(name: str, value: str) -> None:
    _stamp(name, value, UTC, bare=time())


def _are_numbers(name: str, value: str) -> None:
    allowed = _NUMBERS[name]
    for number in value.split(","):
        is_number = re.fullmatch(r"[+-]?\d{1,3}", number) and int(number) in allowed
        if not is_number or (allowed.start < 0 and int(number) == 0):
            signed = f"1 to {allowed.stop - 1}, or -1 to {allowed.start} from the end"
            expected = signed if allowed.start < 0 else f"{allowed.start} to {allowed.stop - 1}"
            raise ValueError(f'{name} holds "{number}", expected {expected}')


def _are_weekdays(name: str, value: str) -> None:
    for day in value.split(","):
        if not _WEEKDAY.fullmatch(day):
            raise ValueError(f'{name} holds "{day}", expected MO, TU, WE, TH, FR, SA, SU, or 2MO for the second Monday')


_CHECKS: dict[str, Callable[[str, str], None]] = {
    "FREQ": _is_frequency,
    "INTERVAL": _is_positive,
    "COUNT": _is_positive,
    "UNTIL": _is_stamp,
    "WKST": _is_weekday,
    "BYDAY": _are_weekdays,
    **dict.fromkeys(_NUMBERS, _are_numbers),
}


def _rule(parts: dict[str, str], start: datetime, zone: tzinfo) -> CalendarRule:
    # dateutil would refuse an aware UNTIL beside a naive start.
    body = ";".join(f"{name}={value}" for name, value in parts.items() if name not in {"COUNT", "UNTIL"})
    interval = int(parts.get("INTERVAL", 1))
    longest = _EVERY_HOUR.get(parts["FREQ"], 0)
    return CalendarRule(
        zone=zone,
        body=body,
        frequency=parts["FREQ"],
        interval=interval,
        count=int(parts["COUNT"]) if "COUNT" in parts else None,
        start=start,
        until=_stamp("UNTIL", parts["UNTIL"], zone, bare=time(23, 59, 59)) if "UNTIL" in parts else None,
        names_hours="BYHOUR" in parts or interval > longest,
    )


def _stamp(name: str, value: str, zone: tzinfo, *, bare: time) -> datetime:
    """Naive wall-clock time in `zone`; `bare` is the time of a date that has none."""
    try:
        stamp = datetime.fromisoformat(value if _STAMP.fullmatch(value) else "")
        if "T" not in value:
            stamp = datetime.combine(stamp, bare)
        return stamp if stamp.tzinfo is None else wall_time(stamp, zone)
    except (ValueError, OverflowError) as error:
        raise ValueError(f'{name} is "{value}", expected a time such as 20261231T235959Z') from error

"""
Cron lines: five fields, read strictly, as sets of minutes, hours and days.

croniter is not used to read them: it takes `7-7` as every hour and `R` as a random value, and where the clock is put
back it fires fixed hours twice. The tests hold this reading against croniter's where no clock is changed.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, date, datetime, tzinfo

from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.wallclock import earliest_wall_time, once_each, wall_time, whenever_shown

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

LAST_DAY = 0
"""Stands for `L` among the days of the month."""
EVERY_WEEK, LAST_WEEK = 0, -1
"""Stand for a weekday alone, and for `5L`."""
LONGEST_MONTHS = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}

_ITEM = re.compile(r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\d+))?", re.ASCII)
_WEEK = re.compile(r"(?P<days>[^#]*?)(?:#(?P<week>[1-5])|(?P<last>(?<=.)l))?")


@dataclass(frozen=True, slots=True)
class Field:
    """One of the five fields: its name, bounds, and the names of its values, the first of which means `low`."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def last(self) -> int:
        """Where `*` and `5/2` end: 7 is Sunday a second time, and not part of the cycle."""
        return self.high - 1 if self.names is WEEKDAYS else self.high

    @property
    def expected(self) -> str:
        """What may stand there, for people."""
        named = f" or {self.names[0].upper()}-{self.names[-1].upper()}" if self.names else ""
        return f"{self.low}-{self.high}{named}"


MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, MONTHS)
WEEKDAY = Field("day-of-week", 0, 7, WEEKDAYS)
FIELDS = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)


@dataclass(frozen=True, slots=True)
class Cron:
    """
    The wall-clock times of a cron line.

    Args:
        days: Days of the month, LAST_DAY for `L`; None when the field is `*`.
        weekdays: (weekday from 0 = Sunday, which one of the month, EVERY_WEEK or LAST_WEEK); None when the field is `*`.
    """

    zone: tzinfo
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[tuple[int, int]] | None

    def instants(self, after: datetime) -> Iterator[datetime]:
        """Aware UTC instants around and past `after`, strictly increasing; some may precede it."""
        if len(self.hours) == HOUR.high + 1:
            return whenever_shown(self._walls(earliest_wall_time(after, self.zone)), self.zone)
        return once_each(self._walls(wall_time(after, self.zone)), self.zone)

    def fires_on(self, day: date) -> bool:
        """Whether that day is one of its days."""
        return day.month in self.months and self._has_day(day, monthrange(day.year, day.month)[1])

    def _walls(self, start: datetime) -> Iterator[datetime]:
        for day in self._dates(start.date()):
            for hour in self.hours:
                if day == start.date() and hour < start.hour:
                    continue
                for minute in self.minutes:
                    yield datetime(day.year, day.month, day.day, hour, minute)  # noqa: DTZ001 - wall-clock time

    def _dates(self, start: date) -> Iterator[date]:
        # The last year is left out: its end has no UTC instant west of Greenwich.
        for year in range(start.year, MAXYEAR):
            for month in sorted(self.months):
                if (year, month) < (start.year, start.month):
                    continue
                last = monthrange(year, month)[1]
                days = (date(year, month, day) for day in range(1, last + 1))
                yield from (day for day in days if day >= start and self._has_day(day, last))

    def _has_day(self, day: date, last: int) -> bool:
        if self.days is None and self.weekdays is None:
            return True
        by_month = self.days is not None and (day.day in self.days or (day.day == last and LAST_DAY in self.days))
        return by_month or (self.weekdays is not None and self._has_weekday(day, last, self.weekdays))

    @staticmethod
    def _has_weekday(day: date, last: int, weekdays: frozenset[tuple[int, int]]) -> bool:
        weeks = {EVERY_WEEK, (day.day - 1) // 7 + 1, LAST_WEEK if day.day + 7 > last else EVERY_WEEK}
        return any((day.isoweekday() % 7, week) in weekdays for week in weeks)


def parse_cron(line: str, zone: tzinfo = UTC) -> Cron:
    """
    A cron line, understood.

    Args:
        line: Minute, hour, day of month, month, day of week; or `@hourly`, `@daily`, `@midnight`, `@weekly`,
            `@monthly`, `@yearly`, `@annually`. Lists, ranges, steps, names, `L` as last day of the month, `MON#2` as
            second Monday and `5L` as last Friday. When both day fields are restricted, either of them suffices.
    Raises: InvalidSchedule: It cannot be read, or never fires.
    """
    texts = _fields(line)
    try:
        minutes, hours, months = (_values(field, texts[field]) for field in (MINUTE, HOUR, MONTH))
        days = None if _is_any(texts[DAY]) else frozenset(_days(texts[DAY]))
        weekdays = None if _is_any(texts[WEEKDAY]) else frozenset(_weekdays(texts[WEEKDAY]))
    except ValueError as error:
        raise InvalidSchedule("cron", line, str(error)) from error
    _refuse_never(line, days, months, weekdays)
    return Cron(zone, tuple(sorted(minutes)), tuple(sorted(hours)), days, frozenset(months), weekdays)


def _fields(line: str) -> dict[Field, str]:
    text = line.strip()
    if text.startswith("@"):
        text = _alias(line, text)
    if "TZ=" in text.upper():
        raise InvalidSchedule("cron", line, "has a time zone in it; write it in timeZone instead")
    parts = text.lower().split()
    if len(parts) != len(FIELDS):
        names = " ".join(field.name for field in FIELDS)
        hint = "; there are no seconds or years here, use intervalSeconds for less than a minute"
        more = hint if len(parts) > len(FIELDS) else ""
        raise InvalidSchedule("cron", line, f'has {len(parts)} fields, expected five: {names}, as in "0 7 * * *"{more}')
    return dict(zip(FIELDS, parts, strict=True))


def _alias(line: str, text: str) -> str:
    if text.lower().startswith("@every"):
        raise InvalidSchedule("cron", line, "@every is no cron; write intervalSeconds instead")
    try:
        return ALIASES[text.lower()]
    except KeyError:
        raise InvalidSchedule("cron", line, f"is no known short form; choose one of {', '.join(ALIASES)}") from None


def _is_any(text: str) -> bool:
    return not {"*", "*/1"}.isdisjoint(text.split(","))


def _values(field: Field, text: str) -> set[int]:
    return {value for item in text.split(",") for value in _item(field, item)}


def _days(text: str) -> set[int]:
    items = text.split(",")
    return {v for item in items for v in ([LAST_DAY] if item == "l" else _item(DAY, item))}


def _weekdays(text: str) -> Iterator[tuple[int, int]]:
    for item in text.split(","):
        found = _WEEK.fullmatch(item)
        if found is None:
            raise ValueError(f'day-of-week "{item}": # takes the week of the month, 1-5, as in "MON#2"')
        week = LAST_WEEK if found["last"] else int(found["week"] or EVERY_WEEK)
        yield from ((value % 7, week) for value in _item(WEEKDAY, found["days"]))


def _item(field: Field, item: str) -> range:
    """The values of one element of a list: `*`, `5`, `5-9`, each with `/step`; `5/step` runs to the end."""
    found = _ITEM.fullmatch(item)
    if found is None:
        raise ValueError(_unreadable(field, item))
    if found["low"] == "*" and found["high"] is None:
        low, high = field.low, field.last
    else:
        low = _value(field, item, found["low"])
        high = _value(field, item, found["high"]) if found["high"] else field.last if found["step"] else low
    if field is WEEKDAY and high == 0 < low:
        high = 7  # FRI-SUN: Sunday ends the week as well as it begins it
    if low > high:
        raise ValueError(_descending(field, item, low, high))
    return range(low, high + 1, _step(field, item, found["step"]))


def _value(field: Field, item: str, text: str) -> int:
    if text in field.names:
        return field.names.index(text) + field.low
    if not text.isdecimal():
        raise ValueError(_unreadable(field, item))
    if not field.low <= int(text) <= field.high:
        raise ValueError(f'{field.name} "{item}" is out of range; expected {field.expected}')
    return int(text)


def _step(field: Field, item: str, text: str | None) -> int:
    step = 1 if text is None else int(text)
    span = field.last - field.low + 1
    if not 1 <= step <= span:
        raise ValueError(
            f'{field.name} "{item}": a step is 1-{span}, and starts anew with each cycle of the field; '
            "use intervalSeconds for longer even intervals"
        )
    return step


def _unreadable(field: Field, item: str) -> str:
    if "?" in item:
        return f'{field.name} "{item}": write * instead of ?'
    return f'{field.name} "{item}" cannot be read; expected {field.expected}, *, a range such as 1-5, a step such as */2, or a list of these'


def _descending(field: Field, item: str, low: int, high: int) -> str:
    return f'{field.name} "{item}" runs backwards; write {low}-{field.high},{field.low}-{high} instead'


def _refuse_never(line: str, days: frozenset[int] | None, months: set[int], weekdays: object) -> None:
    if days is None or weekdays is not None:
        return
    longest = max(LONGEST_MONTHS.get(month, 31) for month in months)
    if min(days) > longest:
        message = f"never fires: none of its months has a day {min(days)}; choose another day, or L for the last one"
        raise InvalidSchedule("cron", line, message)

"""
Cron lines of other programs as ours.

They differ in small things: what `*/2` means beside a weekday, ranges that run backwards, a field of seconds, where the L of
"last Friday" stands. A line that needs both of its day fields to match becomes a recurrence rule, which can say that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
RRULE_DAYS = ("SU", "MO", "TU", "WE", "TH", "FR", "SA")


class _Range(NamedTuple):
    low: int
    high: int
    names: tuple[str, ...] = ()
    first_name: int = 0


_FIELDS = (_Range(0, 59), _Range(0, 23), _Range(1, 31), _Range(1, 12, MONTHS, 1), _Range(0, 7, WEEKDAYS))
DAY, MONTH, WEEKDAY = 2, 3, 4


@dataclass(frozen=True, slots=True)
class Times:
    """A schedule's times: `cron` or `rrule`, whichever can say them; `problem` if neither can."""

    cron: str = ""
    rrule: str = ""
    problem: str = ""


def translated(line: str, *, both_days: bool = False) -> Times:
    """
    The times of another program's cron line.

    Args:
        both_days: Whether the day of month and the weekday must both match, as where a crontab's field begins with `*`.
    """
    text = " ".join(line.split()).replace("?", "*")
    if text.startswith("@"):
        return Times(cron=text)
    fields = text.split(" ")
    if len(fields) == 6 and fields[5] == "0":
        fields = fields[:5]
    if len(fields) != 5:
        return Times(
            problem=f'"{line}" has {len(fields)} fields; write five, or intervalSeconds for less than a minute'
        )
    try:
        ours = [_field(position, field) for position, field in enumerate(fields)]
    except ValueError as error:
        return Times(problem=str(error))
    if both_days and ours[DAY] != "*" and ours[WEEKDAY] != "*":
        return _as_rule(ours)
    return Times(cron=" ".join(ours))


def vixie_needs_both_days(line: str) -> bool:
    """Whether a crontab's line runs only where both day fields match: so it is if one of them begins with `*`."""
    fields = line.split()
    return len(fields) == 5 and (fields[DAY].startswith("*") or fields[WEEKDAY].startswith("*"))


def _field(position: int, text: str) -> str:
    return ",".join(part for item in text.split(",") for part in _item(position, item))


def _item(position: int, item: str) -> Iterator[str]:
    if position == WEEKDAY and (last := re.fullmatch(r"[Ll]([0-7]|[A-Za-z]{3})", item)):
        yield f"{last[1]}L"
        return
    match = re.fullmatch(r"(\w+)-(\w+)(/\d+)?", item)
    if match is None or _value(position, match[1]) <= _value(position, match[2], is_end=True):
        yield item
        return
    yield from _turned(position, match)


def _turned(position: int, match: re.Match[str]) -> Iterator[str]:
    """A range that runs backwards, as the values that it stands for."""
    field, low, high = _FIELDS[position], _value(position, match[1]), _value(position, match[2])
    top = 6 if position == WEEKDAY else field.high
    values = [*range(low, top + 1), *range(field.low, high + 1)]
    yield ",".join(str(value) for value in values[:: int((match[3] or "/1")[1:])])


def _value(position: int, text: str, *, is_end: bool = False) -> int:
    field = _FIELDS[position]
    if text.upper() in field.names:
        value = field.names.index(text.upper()) + field.first_name
        return 7 if is_end and position == WEEKDAY and value == 0 else value
    if not text.isdigit():
        raise ValueError(f'"{text}" is no value of field {position + 1} of a cron line; write a number')
    return int(text)


def _as_rule(fields: list[str]) -> Times:
    """Both days must match: parts of a daily recurrence rule all do."""
    try:
        minutes, hours, days, months, weekdays = (sorted(_values(at, text)) for at, text in enumerate(fields))
    except ValueError:
        return Times(problem=f'"{" ".join(fields)}" needs both of its days to match; write it as an rrule')
    parts = ["FREQ=DAILY"]
    if len(months) < 12:
        parts.append(f"BYMONTH={_listed(months)}")
    named = ",".join(RRULE_DAYS[day] for day in sorted({day % 7 for day in weekdays}))
    parts += [f"BYMONTHDAY={_listed(days)}", f"BYDAY={named}"]
    parts += [f"BYHOUR={_listed(hours)}", f"BYMINUTE={_listed(minutes)}", "BYSECOND=0"]
    return Times(rrule=";".join(parts))


def _values(position: int, text: str) -> set[int]:
    found: set[int] = set()
    for item in text.split(","):
        match = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", item)
        if match is None:
            raise ValueError(item)
        field, step = _FIELDS[position], int(match[3] or 1)
        top = 6 if position == WEEKDAY else field.high
        low = field.low if match[1] == "*" else _value(position, match[1])
        alone = match[1] != "*" and not match[3]
        high = _value(position, match[2], is_end=True) if match[2] else low if alone else top
        found.update(range(low, high + 1, step))
    return found


def _listed(values: list[int]) -> str:
    return ",".join(map(str, values))

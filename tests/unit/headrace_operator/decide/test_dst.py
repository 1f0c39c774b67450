"""
Cron lines over clock changes, against a second implementation that shares nothing with the first.

The second one walks through real time, reads the clock on the wall, and compares its hands with the fields. It walks
in quarters of an hour, inside which no clock is changed (which it checks), minute by minute within them.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from headrace_operator.decide.recurrence import between, parse

ZONES = ("Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2028, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
NO_LIMIT = 10_000_000


@dataclass(frozen=True, slots=True)
class Quarter:
    """Fifteen minutes on the wall. `repeated`: shown before. `skipped`: never shown; `instant` is the gap's end."""

    instant: datetime
    wall: datetime
    repeated: bool = False
    skipped: bool = False


@cache
def walk(zone: str) -> dict[date, dict[int, list[Quarter]]]:
    """Every quarter of an hour of two years, by the date and the hour on the wall."""
    days: dict[date, dict[int, list[Quarter]]] = defaultdict(lambda: defaultdict(list))
    seen: set[datetime] = set()
    last = None
    instant = BEGIN - timedelta(days=2)
    while instant < END + timedelta(days=2):
        wall = instant.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        assert (instant + timedelta(minutes=14)).astimezone(ZoneInfo(zone)).replace(tzinfo=None) - wall < QUARTER
        while last is not None and last + QUARTER < wall:
            last += QUARTER
            days[last.date()][last.hour].append(Quarter(instant, last, skipped=True))
        days[wall.date()][wall.hour].append(Quarter(instant, wall, repeated=wall in seen))
        seen.add(wall)
        last = wall
        instant += QUARTER
    return dict(days)


@cache
def numbers(text: str, low: int, high: int) -> frozenset[int]:
    """A tiny reader of one field: numbers, ranges, steps, lists."""
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        found.update(range(int(first), int(last or first) + 1, int(step or 1)))
    return frozenset(found)


def expected(line: str, zone: str) -> list[datetime]:
    """What vixie cron's rule makes of the line."""
    minute, hour, day, month, weekday = line.split()
    minutes, hours = numbers(minute, 0, 59), numbers(hour, 0, 23)
    fired: set[datetime] = set()
    for on, quarters in walk(zone).items():
        in_month = on.day in numbers(day, 1, 31)
        in_week = not numbers(weekday, 0, 6).isdisjoint({on.isoweekday() % 7, on.isoweekday()})
        either = day != "*" and weekday != "*"
        if on.month not in numbers(month, 1, 12) or not (in_month or in_week if either else in_month and in_week):
            continue
        for quarter in (quarter for hour in hours for quarter in quarters.get(hour, ())):
            fired.update(shots(quarter, minutes, every_hour=len(hours) == 24))
    return sorted(instant for instant in fired if BEGIN < instant <= END)


def shots(quarter: Quarter, minutes: frozenset[int], *, every_hour: bool) -> Iterator[datetime]:
    if (every_hour and quarter.skipped) or (quarter.repeated and not every_hour):
        return
    for offset in range(15):
        if quarter.wall.minute + offset in minutes:
            yield quarter.instant if quarter.skipped else quarter.instant + timedelta(minutes=offset)


def actual(line: str, zone: str) -> list[datetime]:
    return between(parse(cron=line, time_zone=zone), BEGIN, END, NO_LIMIT)


def generated_lines(count: int) -> list[str]:
    """Lines of all shapes, drawn to the hours in which clocks are changed, none too dense to compare in a second."""
    draw = random.Random("over the hours that are skipped and repeated")
    lines: dict[str, None] = {}
    while len(lines) < count:
        minute = draw.choice(
            [str(draw.randrange(60)), "0", "30", "15,45", "*/30", f"{draw.randrange(30)}-59/20", "*/25"]
        )
        night = str(draw.randrange(4))
        hour = draw.choice([night, night, night, "1,2", "0-3", "2-23/7", "*/6", "*", f"{night}-12/5", "0,23"])
        day = draw.choice(["*", "*", "*", "1", "25-31", "*/2", "29,30", str(draw.randrange(1, 29))])
        month = draw.choice(["*", "*", "*", "3,4", "10-11", "*/3", "2"])
        weekday = draw.choice(["*", "*", "0", "7", "1-5", "0,6", "6-7"])
        lines[f"{minute} {hour} {day} {month} {weekday}"] = None
    return list(lines)


@pytest.mark.parametrize("zone", ZONES)
def test_a_hundred_cron_lines_over_two_years_agree_with_the_clock_on_the_wall(zone: str) -> None:
    """Nothing is missed, doubled or shifted."""
    for line in generated_lines(100):
        assert actual(line, zone) == expected(line, zone), line


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "line", ["* * 1-8 3,4,10,11 *", "*/10 * * * 0", "*/5 1-2 * * 0", "0 * * * *", "59 1 * * *", "1 2 * * *"]
)
def test_dense_lines_agree_with_the_clock_on_the_wall(line: str, zone: str) -> None:
    """All clocks in question are changed on Sundays, two of them in the first days of a month."""
    assert actual(line, zone) == expected(line, zone)


FORWARD = "2026-03-29T00:30Z"  # London skips 01:00 to 02:00 at 01:00Z
BACK = "2026-10-24T23:30Z"  # London repeats 01:00 to 02:00 from 01:00Z on


@pytest.mark.parametrize(
    ("line", "zone", "after", "times"),
    [
        pytest.param("30 1 * * *", "Europe/London", FORWARD, "01:00 00:30", id="a skipped time fires at the end of the gap"),
        pytest.param("0,30 1,2 * * *", "Europe/London", FORWARD, "01:00 01:30", id="and shares the instant with a regular one"),
        pytest.param("*/15 1 * * *", "Europe/London", FORWARD, "01:00 00:00", id="an hour of skipped times fires once"),
        pytest.param("30 * * * *", "Europe/London", FORWARD, "01:30 02:30", id="every hour goes on in elapsed time over a gap"),
        pytest.param("30 1 * * *", "Europe/London", BACK, "00:30 01:30", id="a repeated time fires in its first pass only"),
        pytest.param("30 * * * *", "Europe/London", BACK, "00:30 01:30 02:30", id="every hour fires in both passes"),
        pytest.param("30 0-23 * * *", "Europe/London", BACK, "00:30 01:30 02:30", id="every hour may be spelt as a range"),
        pytest.param("30 1-23/2 * * *", "Europe/London", BACK, "00:30 03:30", id="every other hour names its hours"),
        pytest.param("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T15:00Z", "15:30 15:15", id="a gap of half an hour"),
        pytest.param("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T14:00Z", "14:45 15:15", id="half an hour repeated"),
    ],
)  # fmt: skip
def test_the_documented_examples(line: str, zone: str, after: str, times: str) -> None:
    """The next instants, as UTC times of day."""
    start = datetime.fromisoformat(after)
    found = between(parse(cron=line, time_zone=zone), start, start + timedelta(days=2), len(times.split()))
    assert " ".join(f"{instant:%H:%M}" for instant in found) == times

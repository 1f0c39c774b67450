"""Steps of a range that are counted agree with a walk through all of them, over clock changes too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headrace_operator.decide.backfill.partitions import MOST
from headrace_operator.decide.backfill.steps import cron_steps, interval_steps
from headrace_operator.decide.cron import parse_cron
from headrace_operator.decide.recurrence import between, parse

CRONS = (
    "* * * * *",
    "*/7 * * * *",
    "0 0 * * *",
    "30 1 * * *",
    "30 2,3 * * *",
    "15 */6 * * MON-FRI",
    "0 12 L * *",
    "@weekly",
)
ZONES = ("Etc/UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "America/Nuuk", "Pacific/Apia")
SECOND = timedelta(seconds=1)


def walked(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    return between(parse(cron=cron, time_zone=zone), start - SECOND, end - SECOND, 10**7)


def counted(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    steps = cron_steps(parse_cron(cron, ZoneInfo(zone)), start, end, MOST)
    return [steps.at(number) for number in range(steps.total)]


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=UTC)


# The days around which a clock changes: forward, back, by half an hour, over midnight, by a whole day.
CHANGES = st.sampled_from(
    [
        at(2026, 3, 29),
        at(2026, 10, 25),
        at(2026, 3, 8),
        at(2026, 11, 1),
        at(2026, 4, 5),
        at(2024, 3, 31),
        at(2011, 12, 30),
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
    CHANGES,
    st.integers(-4 * 86400, 2 * 86400),
    st.integers(1, 4 * 86400),
)
@example("* * * * *", "Europe/London", at(2026, 10, 25), 0, 86400)
@example("30 1 * * *", "Europe/London", at(2026, 3, 29), -86400, 3 * 86400)
@example("0 0 * * *", "Pacific/Apia", at(2011, 12, 30), -3 * 86400, 4 * 86400)
def test_counting_agrees_with_walking(cron, zone, change, offset_s, length_s):
    start = change + timedelta(seconds=offset_s)
    end = start + timedelta(seconds=length_s)

    assert counted(cron, zone, start, end) == walked(cron, zone, start, end)


@pytest.mark.parametrize("cron", CRONS[2:])
@pytest.mark.parametrize("zone", ["Europe/London", "Australia/Lord_Howe"])
def test_two_years_are_counted_right(cron, zone):
    start, end = at(2026, 1, 1, 5, 17), at(2028, 1, 1)

    assert counted(cron, zone, start, end) == walked(cron, zone, start, end)


def test_a_million_minutes_are_held_as_days():
    """Memory follows the days of the range; only those on which the clock changes are listed."""
    steps = cron_steps(
        parse_cron("* * * * *", ZoneInfo("Europe/London")), at(2026, 1, 1), at(2027, 11, 26, 10, 40), MOST
    )

    assert steps.total == 1_000_000
    assert len(steps.counts) == 695
    assert sum(map(len, steps.changes.values())) <= 4 * 2 * 1440
    assert (steps.at(0), steps.at(999_999)) == (at(2026, 1, 1), at(2027, 11, 26, 10, 39))


def test_a_cron_line_without_a_time_in_the_range_has_no_steps():
    assert cron_steps(parse_cron("0 0 30 2 MON"), at(2026, 1, 6), at(2026, 1, 12), MOST).total == 0


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_even_steps_cover_the_range(length_s, step_s):
    """The last one starts before the end and reaches it."""
    steps = interval_steps(at(2026, 1, 1), at(2026, 1, 1) + timedelta(seconds=length_s), step_s)

    assert (steps.total - 1) * step_s < length_s <= steps.total * step_s
    assert steps.at(steps.total - 1) == at(2026, 1, 1) + timedelta(seconds=(steps.total - 1) * step_s)


def test_counting_ends_where_there_are_too_many():
    """Two centuries of minutes would keep the operator from all else for a quarter of a minute."""
    steps = cron_steps(parse_cron("* * * * *"), at(1970, 1, 1), at(2199, 1, 1), 10_000)
    assert (steps.total, len(steps.counts)) == (7 * 1440, 7)

"""The daily window, over midnight, over days of the week, and over clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.backfill import Weekday, Window
from headrace_operator.decide.backfill.calendar import is_open, next_change
from headrace_operator.decide.backfill.errors import InvalidBackfill

DAYS = tuple(Weekday)


def a_window(opens: str = "22:00", closes: str = "06:00", zone: str = "Europe/London", *days: str) -> Window:
    return Window.model_validate({"from": opens, "to": closes, "timeZone": zone, "days": days})


def london(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/London"))


@pytest.mark.parametrize(
    ("now", "is_so", "change"),
    [
        ("2026-01-07T21:59", False, "2026-01-07T22:00"),
        ("2026-01-07T22:00", True, "2026-01-08T06:00"),
        ("2026-01-08T03:00", True, "2026-01-08T06:00"),
        ("2026-01-08T06:00", False, "2026-01-08T22:00"),
    ],
)
def test_a_window_over_midnight(now, is_so, change):
    assert is_open(a_window(), london(now)) is is_so
    assert next_change(a_window(), london(now)) == london(change)


@pytest.mark.parametrize(
    ("now", "is_so", "change"),
    [
        ("2026-01-09T23:00", False, "2026-01-10T22:00"),  # a Friday
        ("2026-01-10T01:00", False, "2026-01-10T22:00"),
        ("2026-01-11T01:00", True, "2026-01-11T06:00"),
        ("2026-01-12T01:00", False, "2026-01-17T22:00"),
    ],
)
def test_a_night_belongs_to_the_day_on_which_it_begins(now, is_so, change):
    saturdays = a_window("22:00", "06:00", "Europe/London", "Sat")

    assert is_open(saturdays, london(now)) is is_so
    assert next_change(saturdays, london(now)) == london(change)


def test_a_night_on_which_the_clock_is_put_forward_is_an_hour_shorter():
    opened = london("2026-03-28T22:00")

    assert next_change(a_window(), opened) - opened.astimezone(UTC) == timedelta(hours=7)


def test_a_night_on_which_the_clock_is_put_back_is_an_hour_longer():
    opened = london("2026-10-24T22:00")

    assert next_change(a_window(), opened) - opened.astimezone(UTC) == timedelta(hours=9)


@pytest.mark.parametrize(
    ("opens", "closes", "day", "first", "last"),
    [
        ("01:30", "03:00", "2026-03-29", "01:00", "02:00"),  # it opens at the end of the gap
        ("00:30", "01:30", "2026-03-29", "00:30", "01:00"),  # and closes there
        ("01:30", "03:00", "2026-10-25", "00:30", "03:00"),  # it opens the first time that the clock shows it
        ("00:30", "01:30", "2026-10-25", "23:30", "00:30"),  # and closes the first time
    ],
)
def test_times_that_a_clock_change_skips_or_repeats(opens, closes, day, first, last):
    window = a_window(opens, closes)
    midnight = datetime.fromisoformat(f"{day}T00:00+00:00")
    start = next_change(window, midnight - timedelta(hours=1, minutes=1))

    assert f"{start:%H:%M}" == first
    assert f"{next_change(window, start):%H:%M}" == last


def test_a_window_that_the_clock_skips_opens_a_week_later():
    """On the last Sunday of March, 01:10 to 01:50 does not exist in London."""
    window = a_window("01:10", "01:50", "Europe/London", "Sun")

    assert next_change(window, london("2026-03-28T12:00")) == london("2026-04-05T01:10")


def shown_open(window: Window, now: datetime) -> bool:
    """By the hands of the clock alone, which is right where it is not changed."""
    wall = now.astimezone(ZoneInfo(window.time_zone))
    clock = f"{wall:%H:%M}"
    if window.from_ < window.to:
        return window.from_ <= clock < window.to and (not window.days or DAYS[wall.weekday()] in window.days)
    opened = wall if clock >= window.from_ else wall - timedelta(days=1)
    return not window.to <= clock < window.from_ and (not window.days or DAYS[opened.weekday()] in window.days)


CLOCKS = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.integers(0, 59))
WINDOWS = st.builds(
    lambda opens, closes, days: a_window(opens, closes, "Europe/London", *days),
    CLOCKS,
    CLOCKS,
    st.sets(st.sampled_from(Weekday), max_size=7),
).filter(lambda window: window.from_ != window.to)
QUIET = st.integers(0, 60 * 24 * 60).map(lambda minutes: datetime(2026, 5, 1, tzinfo=UTC) + timedelta(minutes=minutes))


@settings(max_examples=200, deadline=None)
@given(WINDOWS, QUIET)
def test_it_is_open_when_the_clock_says_so_and_changes_when_told(window, now):
    change = next_change(window, now)

    assert is_open(window, now) is shown_open(window, now)
    assert change > now
    assert is_open(window, change - timedelta(seconds=1)) is is_open(window, now)
    assert is_open(window, change) is not is_open(window, now)


def test_a_zone_that_is_none_is_told():
    with pytest.raises(
        InvalidBackfill, match=r'^spec.window.timeZone: "Europe/Londn" is no known time zone; did you mean'
    ):
        is_open(a_window(zone="Europe/Londn"), datetime(2026, 1, 1, tzinfo=UTC))

"""Instants as text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from headrace.instants import exact, microseconds, milliseconds, stamp

EAST = datetime(2026, 3, 4, 17, 30, 1, 999_999, tzinfo=timezone(timedelta(hours=5, minutes=30)))


def test_an_instant_is_told_in_utc_and_what_it_has_beyond_is_cut_off() -> None:
    """Never rounded up: what the API has is not in the future."""
    assert stamp(EAST) == "2026-03-04T12:00:01Z"
    assert milliseconds(EAST) == "2026-03-04T12:00:01.999Z"
    assert microseconds(EAST) == exact(EAST) == "2026-03-04T12:00:01.999999Z"


def test_a_whole_second_has_as_many_digits_as_any_other() -> None:
    """So texts compare as instants do, but for those that are exact."""
    noon = datetime(2026, 3, 4, 12, tzinfo=UTC)
    assert stamp(noon) == exact(noon) == "2026-03-04T12:00:00Z"
    assert milliseconds(noon) == "2026-03-04T12:00:00.000Z"
    assert microseconds(noon) == "2026-03-04T12:00:00.000000Z"


def test_a_year_has_four_digits() -> None:
    """Else it is no RFC 3339, and nothing could read it."""
    assert stamp(datetime(33, 4, 3, tzinfo=UTC)) == "0033-04-03T00:00:00Z"


@pytest.mark.parametrize("tell", [stamp, milliseconds, microseconds, exact])
def test_every_text_is_read_as_the_instant_again(tell: object) -> None:
    told = tell(EAST)  # type: ignore[operator]
    assert EAST - timedelta(seconds=1) < datetime.fromisoformat(told) <= EAST


def test_an_instant_that_utc_has_no_date_for_is_an_error() -> None:
    with pytest.raises(OverflowError):
        stamp(datetime.min.replace(tzinfo=timezone(timedelta(hours=1))))

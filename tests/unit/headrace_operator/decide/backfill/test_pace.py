"""How fast a Backfill creates runs, whatever restarts, and how fast it tells to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from headrace.api.backfill import RateMark
from headrace_operator.decide.backfill.pace import (
    Bucket,
    capacity,
    expected_end,
    first_bucket,
    measured_rate,
    next_start,
    refilled,
    with_mark,
)
from tests.builders import NOW
from tests.unit.headrace_operator.decide.backfill.scenes import later


def test_a_fresh_backfill_starts_at_once_and_spreads_the_rest() -> None:
    """A second's worth, then one after the other."""
    bucket = first_bucket(120, last_created=None, is_fresh=True, now=NOW)
    assert bucket.level == capacity(120) == 2
    assert next_start(replace(bucket, level=0.0), 120) == later(0.5)


def test_after_a_start_there_is_no_more_than_what_has_come_in_since_the_last_run() -> None:
    """Nothing, where the API has no run any more."""
    assert first_bucket(60, last_created=None, is_fresh=False, now=NOW).level == 0
    assert first_bucket(6, last_created=later(-6), is_fresh=False, now=NOW).level == 0.5
    assert first_bucket(6, last_created=later(-600), is_fresh=False, now=NOW).level == 1


def test_a_clock_that_goes_back_fills_nothing() -> None:
    """And takes nothing."""
    assert refilled(Bucket(0.5, NOW), 60, later(-3600)).level == 0.5


@given(
    rate=st.integers(1, 600),
    steps=st.lists(st.tuples(st.floats(0.05, 20), st.booleans(), st.booleans()), max_size=120),
)
def test_no_minute_has_more_than_the_rate_and_a_second_of_it(rate: int, steps: list[tuple[float, bool, bool]]) -> None:
    """Through any restarts, whether the latest run is still known or not."""
    now, created, bucket = NOW, list[datetime](), None
    for wait_s, restarts, is_known in steps:
        now += timedelta(seconds=wait_s)
        if restarts:
            bucket = None
        if bucket is None:
            last = created[-1].replace(microsecond=0) if created and is_known else None
            bucket = first_bucket(rate, last_created=last, is_fresh=not created, now=now)
        bucket = refilled(bucket, rate, now)
        count = int(bucket.level)
        created += [now] * count
        bucket = replace(bucket, level=bucket.level - count)
    for index, began in enumerate(created):
        within = sum(at - began < timedelta(minutes=1) for at in created[index:])
        assert within <= rate + capacity(rate)


def test_marks_are_a_minute_apart_and_few() -> None:
    """The rate is that of the last minutes."""
    marks: tuple[RateMark, ...] = ()
    for second in range(0, 1200, 10):
        marks = with_mark(marks, second, later(second))
    assert [mark.at for mark in marks] == [later(second) for second in range(840, 1141, 60)]
    assert measured_rate(marks, 1190, later(1190)) == 60.0


def test_marks_begin_anew_when_fewer_are_over_than_were() -> None:
    """A re-run takes failed ones back."""
    marks = with_mark((RateMark(at=NOW, over=50),), 40, later(30))
    assert marks == (RateMark(at=later(30), over=40),)


def test_no_rate_and_no_end_are_told_where_too_little_is_known() -> None:
    """A takeover in the first seconds shows no nonsense."""
    assert measured_rate((), 10, NOW) is None
    assert measured_rate((RateMark(at=NOW, over=0),), 10, later(4)) is None
    assert expected_end(None, 10, NOW) is None
    assert expected_end(60.0, 120, NOW) == later(120)

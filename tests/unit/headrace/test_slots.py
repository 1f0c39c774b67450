"""Names, holders and rates of slot Leases."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import slots
from headrace.slots import PodHolder, Rate, RunHolder

NOW = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def lease(**spec):
    return {"metadata": {"name": "db.slot-0", "resourceVersion": "7"}, "spec": spec}


@pytest.mark.parametrize(
    ("limit", "name", "index"),
    [
        ("db", "db.slot-0", 0),
        ("db", "db.slot-12", 12),
        ("db.slot-1", "db.slot-1.slot-3", 3),
        ("db", "db.slot-1.slot-3", None),
        ("db", "db.rate", None),
        ("db", "db.slot-", None),
        ("db", "db.slot-01", None),
        ("db", "db.slot-\u0661", None),
        ("db", "other.slot-0", None),
    ],
)
def test_a_slot_is_told_by_its_name(limit, name, index):
    """Its index counts from 0; what is named otherwise is none of the limit's slots."""
    assert slots.slot_index(limit, name) == index
    assert index is None or slots.slot_name(limit, index) == name


@pytest.mark.parametrize("holder", [RunHolder("team", "etl-7", "u-1"), PodHolder("team", "etl-7-1", "u-2", "t")])
def test_a_holder_is_read_as_it_is_written(holder):
    """Runs and pods."""
    assert slots.parse_holder(str(holder)) == holder


@pytest.mark.parametrize("text", ["", "me", "run/a/b", "run/a/b/c/d", "pod/a/b/c", "pod/a//c/d", "job/a/b/c"])
def test_what_neither_operator_nor_pods_write_is_no_holder(text):
    """A person may have written it."""
    assert slots.parse_holder(text) is None


def test_taking_raises_the_transitions_and_rests_on_what_was_read():
    """A Lease that was taken meanwhile has another version."""
    assert slots.taking(lease(leaseTransitions=4), "me", NOW, duration_s=60) == {
        "metadata": {"resourceVersion": "7"},
        "spec": {
            "holderIdentity": "me",
            "acquireTime": "2026-01-02T03:04:05.000678Z",
            "renewTime": "2026-01-02T03:04:05.000678Z",
            "leaseDurationSeconds": 60,
            "leaseTransitions": 5,
        },
    }


def test_a_lease_without_annotations_has_the_default_duration():
    """And an unreadable one too; 0 would be no time at all."""
    assert slots.duration_of(lease()) == 60
    for text, duration_s in (("5", 5), ("soon", 60), ("0", 1)):
        noted = {"metadata": {"annotations": {slots.DURATION_ANNOTATION: text}}}
        assert slots.duration_of(noted) == duration_s


def test_a_rate_is_read_from_its_lease():
    """Count and seconds; None where the operator has not written them."""
    noted = {"metadata": {"annotations": {slots.RATE_ANNOTATION: "5/60", slots.STARTS_ANNOTATION: "9,3,x,"}}}
    assert slots.rate_of(noted) == Rate(5, 60)
    assert slots.starts_of(noted) == (3, 9)
    assert slots.rate_of(lease()) is None
    assert slots.starts_of(lease()) == ()


@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.lists(st.tuples(st.integers(-3000, 4000), st.integers(1, 5)), max_size=40),
)
def test_no_stretch_of_time_has_more_starts_than_the_rate(count, per_s, steps):
    """Whatever the clocks of those who start say, and however many start at once."""
    rate = Rate(count, per_s)
    now_ms, starts, every = 10_000, (), []
    for passed_ms, asked in steps:
        now_ms += passed_ms
        wanted = min(asked, count)
        if rate.seconds_until(starts, wanted, now_ms) > 0:
            continue
        starts = rate.noted(starts, wanted, now_ms)
        every += starts[-wanted:]
        assert list(starts) == sorted(starts)
        assert len(starts) <= count
    for first in every:
        assert sum(first <= start < first + per_s * 1000 for start in every) <= count


def test_the_wait_for_a_rate_ends_when_the_oldest_in_the_way_leaves_the_window():
    """Not before, and not later."""
    rate = Rate(2, 10)
    assert rate.seconds_until((1000, 4000), 1, 5000) == 6
    assert rate.seconds_until((1000, 4000), 2, 5000) == 9
    assert rate.seconds_until((1000, 4000), 1, 11000) == 0
    assert rate.seconds_until((1000,), 1, 5000) == 0

"""Conditions as `metav1` has them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.conditions import ConditionType, Reason
from headrace_operator.decide.conditions import MESSAGE_LIMIT, condition, find_condition, shortened, with_condition
from headrace_operator.decide.snapshot import ConditionView
from tests.builders import NOW

LATER = NOW + timedelta(minutes=1)
READY = condition(ConditionType.READY, holds=True, reason=Reason.READY, message="fine", now=NOW, generation=1)
OTHER = condition(ConditionType.SCHEDULING, holds=False, reason=Reason.SUSPENDED, message="held", now=NOW)


def test_a_condition_is_written_as_metav1_has_it() -> None:
    """A string for a status, the generation it speaks of where one is given."""
    assert ConditionView("Ready", "True", "Ready", "fine", NOW, 1) == READY
    assert ConditionView("Scheduling", "False", "Suspended", "held", NOW, None) == OTHER


def test_a_new_type_is_added_at_the_end() -> None:
    """The others stay as they are."""
    assert with_condition((OTHER,), READY) == (OTHER, READY)


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        pytest.param(
            replace(READY, status="False", last_transition_time=LATER),
            replace(READY, status="False", last_transition_time=LATER),
            id="its status changes: so does its time",
        ),
        pytest.param(
            replace(READY, message="still fine", last_transition_time=LATER),
            replace(READY, message="still fine"),
            id="its message changes: its time stays",
        ),
        pytest.param(
            replace(READY, reason="Accepted", last_transition_time=LATER),
            replace(READY, reason="Accepted"),
            id="its reason changes: its time stays",
        ),
        pytest.param(
            replace(READY, observed_generation=2, last_transition_time=LATER),
            replace(READY, observed_generation=2),
            id="it speaks of a newer spec: its time stays",
        ),
    ],
)
def test_the_time_moves_with_the_status_alone(new: ConditionView, expected: ConditionView) -> None:
    """As `metav1.Condition` promises."""
    assert with_condition((READY, OTHER), new) == (expected, OTHER)


def test_nothing_is_made_anew_when_nothing_changes() -> None:
    """The very same tuple, so that nothing is written."""
    held = (READY, OTHER)
    assert with_condition(held, replace(READY, last_transition_time=LATER)) is held


def test_a_condition_is_found_by_its_type() -> None:
    """None where it is not set."""
    assert find_condition((OTHER, READY), ConditionType.READY) is READY
    assert find_condition((OTHER,), ConditionType.READY) is None


@pytest.mark.parametrize(("length", "kept"), [(MESSAGE_LIMIT, MESSAGE_LIMIT), (MESSAGE_LIMIT + 1, MESSAGE_LIMIT)])
def test_a_long_message_is_cut_to_the_limit(length: int, kept: int) -> None:
    """One that fits stays whole; the mark of the cut is counted."""
    text = shortened("x" * length)
    assert len(text) == kept
    assert text.endswith("…") is (length > MESSAGE_LIMIT)

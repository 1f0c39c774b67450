"""Saturated limits: when that is an event, and what is told of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.automation_sources import OnLimitSaturated
from headrace_operator.decide.automation.limits import LimitFacts, limit_occurrence, saturated_at
from tests.unit.headrace_operator.decide.automation.builders import T0

FULL = LimitFacts("db", "l", slots=2, used=2, waiting=5, since=T0)


@pytest.mark.parametrize(
    ("limits", "since", "after_s"),
    [(None, T0, 60), (("db", "api"), T0, 60), (("api",), T0, None), (None, None, None)],
    ids=["any", "named", "another one is named", "not saturated"],
)
def test_it_is_an_event_when_it_has_lasted_for_long_enough(limits, since, after_s):
    """Counted from what the limit's status says."""
    on = OnLimitSaturated(limits=limits, after_seconds=60)
    at = saturated_at(on, replace(FULL, since=since))
    assert at == (None if after_s is None else T0 + timedelta(seconds=after_s))


def test_it_is_told_without_who_holds_or_waits():
    """They may be another team's."""
    found = limit_occurrence(FULL, T0)
    assert found.event == {
        "type": "limitSaturated",
        "limit": {"name": "db", "slots": 2, "used": 2, "waiting": 5},
    }


def test_each_stretch_is_an_event_of_its_own_and_of_one_group():
    """Its figures change meanwhile, and make no other one of it."""
    first, same = limit_occurrence(FULL, T0), limit_occurrence(replace(FULL, waiting=9), T0)
    later = limit_occurrence(replace(FULL, since=T0 + timedelta(hours=1)), T0 + timedelta(hours=1))
    assert first.id == same.id != later.id
    assert first.group == later.group

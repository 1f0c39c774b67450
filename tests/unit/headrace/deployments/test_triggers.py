"""Triggers in a few words."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.automation import EventSource
from headrace.api.trigger import SOURCES, automation_name, trigger_of
from headrace.deployments.triggers import WORDS, trigger_text


@pytest.mark.parametrize(
    ("trigger", "text"),
    [
        ({"run": {"phases": ["Failed", "Crashed"], "deployments": ["a", "b"]}}, "a, b Failed/Crashed"),
        ({"run": {"phases": ["Succeeded"]}}, "runs Succeeded"),
        ({"lateRun": {"afterSeconds": 60, "flows": ["etl"]}}, "late runs of etl"),
        ({"limitSaturated": {"limits": ["db"], "afterSeconds": 60}}, "saturated limits of db"),
        ({"webhook": {"secretRef": {"name": "s", "key": "k"}}}, "webhook"),
        ({"name": "of-tomorrow", "moonPhase": {"is": "full"}}, "of-tomorrow"),
    ],
)
def test_a_trigger_is_told_by_what_it_waits_for(trigger: dict[str, Any], text: str) -> None:
    assert trigger_text(trigger) == text


def test_each_kind_of_event_has_its_words() -> None:
    """One that is added to Automations must be told too."""
    assert {"run", *WORDS} == set(SOURCES)
    assert len(SOURCES) == len(EventSource.model_fields)


@pytest.mark.parametrize(("deployment", "trigger"), [("load", "after"), ("a.b", "c"), ("a-b", "c"), ("a", "b-c")])
def test_the_name_of_an_automation_says_whose_it_is(deployment: str, trigger: str) -> None:
    """No two triggers can have the same one."""
    assert trigger_of(automation_name(deployment, trigger)) == (deployment, trigger)


@pytest.mark.parametrize("name", ["plain", "", ".a", "a."])
def test_an_automation_of_another_name_keeps_no_trigger(name: str) -> None:
    assert trigger_of(name) is None

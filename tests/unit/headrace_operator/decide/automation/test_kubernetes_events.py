"""Events of Kubernetes: which are meant, which are the same, and which an Automation brought about itself."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.automation import Firing
from headrace.api.automation_sources import OnKubernetesEvent
from headrace_operator.decide.automation.kubernetes_events import Told, event_occurrence, told_from
from headrace_operator.decide.automation.occurrences import Occurrence
from tests.unit.headrace_operator.decide.automation.builders import T0

POD = {"apiVersion": "v1", "kind": "Pod", "name": "shop-7d4", "namespace": "team-a", "uid": "p"}
FIRING = Firing.model_validate({"id": "0123456789", "group": "g", "at": T0, "state": "Done"})


def an_event(regarding: dict[str, str] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "e", "namespace": "team-a", "uid": "e", "creationTimestamp": "2026-03-01T07:00:00Z"},
        "type": "Warning",
        "reason": "BackOff",
        "message": "Back-off restarting failed container",
        "count": 3,
        "lastTimestamp": "2026-03-01T07:00:00Z",
        "reportingComponent": "kubelet",
        "involvedObject": POD if regarding is None else regarding,
        **fields,
    }


def told(regarding: dict[str, str] | None = None, **fields: Any) -> Told:
    return told_from(an_event(regarding, **fields), T0)


def waited_for(event: Told, **on: Any) -> Occurrence | None:
    return event_occurrence(OnKubernetesEvent.model_validate(on), event, ())


@pytest.mark.parametrize(
    ("on", "is_meant"),
    [
        ({}, True),
        ({"type": "Normal"}, False),
        ({"reasons": ["BackOff", "Failed"]}, True),
        ({"reasons": ["Failed"]}, False),
        ({"kinds": ["Pod"], "apiVersion": "v1", "names": ["shop-7d4"]}, True),
        ({"kinds": ["Node"]}, False),
        ({"apiVersion": "apps/v1"}, False),
        ({"names": ["shop"]}, False),
    ],
)
def test_an_automation_says_which_events_it_means(on, is_meant):
    """All that it says must fit."""
    assert (waited_for(told(), **on) is not None) is is_meant


def test_what_an_event_tells():
    """What expressions see, and what people read."""
    found = waited_for(told())
    assert found is not None
    assert found.about == "Pod shop-7d4: BackOff"
    assert found.event == {
        "type": "kubernetesEvent",
        "kubernetes": {
            "reason": "BackOff",
            "type": "Warning",
            "message": "Back-off restarting failed container",
            "count": 3,
            "source": "kubelet",
            "object": POD,
        },
    }


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        ({}, True),
        ({"message": "in other words"}, True),
        ({"count": 4}, False),
        ({"series": {"count": 4, "lastObservedTime": "2026-03-01T07:01:00.000000Z"}}, False),
        ({"lastTimestamp": "2026-03-01T07:05:00Z"}, False),
    ],
)
def test_an_event_that_is_counted_once_more_is_another_occurrence_of_its_group(other, is_same):
    """A watch that begins anew tells the same once more."""
    first, second = waited_for(told()), waited_for(told(**other))
    assert first is not None
    assert second is not None
    assert (first.id == second.id) is is_same
    assert first.group == second.group


@pytest.mark.parametrize(
    "regarding",
    [
        {"apiVersion": "headrace.dev/v1alpha1", "kind": "Automation", "name": "auto"},
        {"apiVersion": "headrace.dev/v2", "kind": "Automation", "name": "another"},
        {"apiVersion": "headrace.dev/v1alpha1", "kind": "FlowRun", "name": "diagnose-0123456789"},
        {"apiVersion": "v1", "kind": "Pod", "name": "diagnose-0123456789-1"},
    ],
    ids=["itself", "another Automation", "a run that it started", "a pod of that run"],
)
def test_what_automations_bring_about_is_no_event_for_them(regarding):
    """It would go on for ever."""
    assert event_occurrence(OnKubernetesEvent(), told(regarding), (FIRING,)) is None


def test_runs_of_others_are_events():
    """A firing's id is looked for as a whole."""
    run = {"apiVersion": "headrace.dev/v1alpha1", "kind": "FlowRun", "name": "diagnose-01234567890"}
    assert event_occurrence(OnKubernetesEvent(), told(run), (FIRING,)) is not None


def test_an_event_without_most_of_its_fields_is_one_too():
    """Whatever a controller has left out."""
    metadata = {"namespace": "team-a", "uid": "e"}
    found = event_occurrence(OnKubernetesEvent(), told_from({"metadata": metadata, "type": "Warning"}, T0), ())
    assert found is not None
    assert found.event["kubernetes"] == {
        "reason": "",
        "type": "Warning",
        "message": "",
        "count": 1,
        "source": "",
        "object": {},
    }

"""Events are named by what they say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.manifests.event import Subject, event_manifest
from tests.builders import NAMESPACE, NOW

RUN = Subject("headrace.dev/v1alpha1", "FlowRun", ObjectKey(NAMESPACE, "etl-1"), "run-uid")
OTHER = Subject("headrace.dev/v1alpha1", "FlowRun", ObjectKey(NAMESPACE, "etl-1"), "other-uid")


def event(subject: Subject = RUN, **changes: Any) -> dict[str, Any]:
    return event_manifest(subject, **{"reason": "Evicted", "message": "gone", "warning": True, "now": NOW, **changes})


def test_an_event_says_what_happened_to_whom() -> None:
    """As `kubectl describe` shows it."""
    made = event()
    name = made["metadata"].pop("name")
    assert name.startswith("etl-1.")
    assert made == {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": NAMESPACE},
        "involvedObject": {
            "apiVersion": "headrace.dev/v1alpha1",
            "kind": "FlowRun",
            "namespace": NAMESPACE,
            "name": "etl-1",
            "uid": "run-uid",
        },
        "reason": "Evicted",
        "message": "gone",
        "type": "Warning",
        "source": {"component": "headrace-operator"},
        "reportingComponent": "headrace-operator",
        "firstTimestamp": "2026-03-04T12:00:00Z",
        "lastTimestamp": "2026-03-04T12:00:00Z",
        "count": 1,
    }


def test_saying_the_same_again_has_the_same_name() -> None:
    """Later, or by an operator that starts anew: a conflict and not a second Event."""
    assert event()["metadata"] == event(now=NOW + timedelta(hours=1))["metadata"]


@pytest.mark.parametrize(
    "other",
    [event(message="gone again"), event(reason="Preempted"), event(OTHER)],
    ids=["another sentence", "another reason", "another object of the name"],
)
def test_saying_anything_else_has_another_name(other: dict[str, Any]) -> None:
    """The whole of it counts."""
    assert event()["metadata"]["name"] != other["metadata"]["name"]


def test_of_another_cause_the_same_has_another_name() -> None:
    """And of one cause the same name, whatever it says."""
    one = event(cause="firing/told")["metadata"]
    assert one == event(cause="firing/told", message="gone again")["metadata"]
    assert one != event(cause="other/told")["metadata"]
    assert one != event()["metadata"]


def test_what_is_no_warning_is_normal_and_long_messages_are_cut() -> None:
    """The API server takes 1,024 characters."""
    made = event(warning=False, message="x" * 5000)
    assert made["type"] == "Normal"
    assert len(made["message"]) == 1024

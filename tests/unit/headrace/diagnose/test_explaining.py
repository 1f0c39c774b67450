"""What a person is told of a run that waits or died."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.api.conditions import Reason
from headrace.diagnose.advice import NEXT_STEPS, next_steps
from headrace.diagnose.explaining import Facts, explained
from tests.unit.headrace.cli.memory_api import a_run

NOW = datetime(2026, 3, 4, 12, 1, tzinfo=UTC)


NOT_OF_RUNS = {
    *("Ready", "SecretNotReadable", "InvalidSchedule", "Scheduled", "NoSchedules", "CircuitClosed"),
    *("NodesReady", "NoNodes", "NodesNotReady", "Resizing", "RunPaused"),
    *("WindowClosed", "HistoryFull", "TooManyFailures", "BudgetExceeded", "PartitionsFailed", "InvalidStatus"),
    *("RunDeleted", "RunRefused", "WithinBudget", "BudgetNearlySpent"),
    *("Listening", "TriggerNameTaken", "TriggerRefused", "QueryFailed", "EventsNotReadable"),
}
"""Reasons of other kinds, and of Events."""


def test_every_reason_of_a_run_has_a_next_step() -> None:
    """A person who reads it in a status is not left alone with it."""
    assert set(Reason) - set(NEXT_STEPS) - NOT_OF_RUNS == set()


def test_advice_is_of_reasons_that_there_are() -> None:
    """A word that no status has helps nobody."""
    assert set(NEXT_STEPS) <= set(Reason)


@pytest.mark.parametrize("reason", sorted(set(NEXT_STEPS)))
def test_names_are_filled_in(reason: str) -> None:
    names = {"run": "etl-7", "namespace": "team-a", "deployment": "daily", "pod": "etl-7-1"}
    steps = next_steps(reason, names)
    assert steps
    assert not any("{" in step for step in steps)


@pytest.mark.parametrize(
    "reason", ["OOMKilled", "Evicted", "ImagePullFailed", "WaitingForSlot", "Unschedulable", "FlowFailed"]
)
def test_the_usual_reasons_have_a_next_step(reason: str) -> None:
    assert explained(Facts(a_run("etl-7", status={"reason": reason}), NOW)).steps


def told(status: dict[str, Any], phase: str = "Pending", **facts: Any) -> Any:
    return explained(Facts(a_run("etl-7", phase, status={"finishedAt": None, **status}), NOW, **facts))


def test_a_dead_run_has_its_attempts_its_log_and_the_next_step() -> None:
    status = {
        "reason": "OOMKilled",
        "message": "it used more than 1Gi",
        "attempts": [{"number": 1, "pod": "etl-7-1", "reason": "OOMKilled", "exitCode": 137, "node": "n1"}],
        "finishedAt": "2026-03-04T12:00:00Z",
    }
    found = told(status, "Crashed", log_tail=["last words"])
    assert found.what == "etl-7 is Crashed (OOMKilled), since 60s: it used more than 1Gi"
    assert found.because == {"attempts": ["1: OOMKilled on n1, exit code 137"], "last lines of the log": ["last words"]}
    assert "spec.resources.limits.memory" in found.steps[0]
    assert found.steps[1] == "headrace retry etl-7 -n team-a runs it again"


def test_a_waiting_run_tells_its_place_and_what_it_waits_for() -> None:
    found = told({"reason": "WaitingForSlot", "message": "waits"}, ahead=3, around=["deployment daily: ready"])
    assert found.because["waits for"] == ["3 runs of its Deployment stand before it", "deployment daily: ready"]
    assert told({"reason": "WaitingForSlot"}, ahead=0).because["waits for"] == ["it is the next one in line"]


def test_a_pod_that_does_not_start_says_why() -> None:
    pod = {
        "metadata": {"name": "etl-7-1"},
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
            ],
            "containerStatuses": [
                {"name": "flow", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no"}}}
            ],
        },
    }
    lines = told({"reason": "Unschedulable"}, pod=pod).because["pod"]
    assert lines == [
        "etl-7-1 is Pending",
        "PodScheduled is False: Unschedulable 0/3 nodes",
        "container flow waits: ImagePullBackOff no",
    ]


def test_events_are_told_once_each_the_latest_last() -> None:
    events = [
        {"reason": "Pulling", "message": "again", "lastTimestamp": "2026-03-04T12:00:30Z"},
        {"reason": "Scheduled", "message": "to n1", "eventTime": "2026-03-04T12:00:10.5Z"},
        {"reason": "Pulling", "message": "first", "lastTimestamp": "2026-03-04T12:00:05Z"},
    ]
    assert told({}, "Running", events=events).because["events"] == [
        "49s ago Scheduled: to n1",
        "30s ago Pulling: again",
    ]


def test_a_run_that_nobody_looked_at_says_whether_somebody_could() -> None:
    run = a_run("etl-7", None)
    without = explained(Facts(run, NOW, operator=False))
    assert "no operator works" in without.what
    assert "headrace doctor" in without.steps[0]
    assert "waits for its pod or for its first look" in explained(Facts(run, NOW, operator=True)).what


def test_an_operator_that_is_down_is_told_first() -> None:
    assert told({"reason": "WaitingForPool"}, operator=False).steps[0].startswith("no operator works")
    assert not told({"reason": "OOMKilled"}, "Crashed", operator=False).steps[0].startswith("no operator")


def test_a_task_points_to_the_run_that_decides() -> None:
    run = a_run("t", "Failed", flowRef={"name": "etl"}, task={"name": "train", "parent": {"name": "etl-7"}})
    assert explained(Facts(run, NOW)).steps == ["it is a task of run etl-7, which decides what follows; retry that one"]

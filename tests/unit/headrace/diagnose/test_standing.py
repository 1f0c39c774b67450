"""What a person is told of a Deployment that starts nothing, a Backfill that does not go on, a limit that is full."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.api.conditions import Reason
from headrace.diagnose.explaining import Explanation
from headrace.diagnose.standing import (
    NOBODY_WORKS,
    OF_BACKFILLS,
    OF_DEPLOYMENTS,
    UNSEEN,
    Surroundings,
    backfill_explained,
    deployment_explained,
    limit_explained,
)
from tests.unit.headrace.cli.memory_api import a_run

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
READY = {"type": "Ready", "status": "True", "reason": "Ready", "message": "runs can be started"}
SCHEDULED = {"type": "Scheduling", "status": "True", "reason": "Scheduled", "message": "1 schedule(s) start runs"}
CLOSED = {"type": "CircuitOpen", "status": "False", "reason": "CircuitClosed", "message": "runs start"}


def an_object(spec: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": "nightly", "namespace": "team-a", "creationTimestamp": "2026-03-04T11:50:00Z"}
    return {"metadata": metadata, "spec": spec, "status": status}


def of_deployment(spec: dict[str, Any] | None = None, around: Surroundings | None = None, **status: Any) -> Explanation:
    usual = {
        "conditions": [READY, SCHEDULED, CLOSED],
        "nextSchedules": [{"name": "daily", "time": "2026-03-04T17:00:00Z"}],
    }
    daily = {"name": "daily", "cron": "0 17 * * *"}
    found = an_object({"flowRef": {"name": "etl"}, "schedules": [daily], **(spec or {})}, {**usual, **status})
    return deployment_explained(found, around or Surroundings(NOW))


def of_backfill(around: Surroundings | None = None, **status: Any) -> Explanation:
    return backfill_explained(an_object({"deploymentRef": {"name": "daily"}}, status), around or Surroundings(NOW))


def failing(kind: str, reason: str, message: str) -> dict[str, str]:
    return {"type": kind, "status": "False", "reason": reason, "message": message}


class TestDeployment:
    def test_one_that_is_well_says_when_it_starts_its_next_run(self) -> None:
        found = of_deployment()
        assert found.what == "deployment nightly is ready; daily starts its next run at 2026-03-04T17:00:00Z (in 5h)"
        assert found.because == {"schedules": ["daily: next at 2026-03-04T17:00:00Z"]}
        assert found.steps == []

    def test_one_without_its_flow_says_what_to_create(self) -> None:
        conditions = [failing("Ready", "FlowNotFound", "there is no Flow etl"), SCHEDULED]
        found = of_deployment(conditions=conditions, around=Surroundings(NOW, lines=["flow etl: there is none"]))
        assert found.what == "deployment nightly starts no runs (FlowNotFound): there is no Flow etl"
        assert found.because["rests on"] == ["flow etl: there is none"]
        assert "kubectl get fl -n team-a" in found.steps[0]

    def test_an_open_circuit_says_when_it_tries_again_and_how_to_close_it(self) -> None:
        circuit = {"state": "Open", "retryAt": "2026-03-04T12:10:00Z"}
        found = of_deployment(circuit=circuit, consecutiveFailures=5)
        assert found.what.endswith("(CircuitOpen): 5 failed in a row; one run tries again at 2026-03-04T12:10:00Z")
        assert found.steps[1] == "headrace circuit close nightly -n team-a lets runs start before then"

    def test_what_is_suspended_is_resumed(self) -> None:
        conditions = [READY, failing("Scheduling", "Suspended", "spec.suspend is true")]
        found = of_deployment({"suspend": True}, conditions=conditions)
        assert found.what == "deployment nightly starts no runs by itself (Suspended): spec.suspend is true"
        assert found.steps == ["headrace resume deployment/nightly -n team-a lets its schedules go on"]

    def test_what_cannot_start_at_all_comes_before_what_is_only_suspended(self) -> None:
        conditions = [
            failing("Ready", "InvalidSpec", "bad"),
            failing("Scheduling", "Suspended", "spec.suspend is true"),
        ]
        assert "(InvalidSpec)" in of_deployment(conditions=conditions).what

    def test_triggers_are_told_and_what_blocks_them(self) -> None:
        spec = {"schedules": [], "triggers": [{"name": "after", "run": {"phases": ["Succeeded"], "flows": ["etl"]}}]}
        none = failing("Scheduling", "NoSchedules", "there is no schedule")
        listening = {
            "type": "Triggering",
            "status": "True",
            "reason": "Listening",
            "message": "1 trigger(s) start runs",
        }
        found = of_deployment(spec, conditions=[READY, none, listening], nextSchedules=[])
        assert found.what == "deployment nightly is ready; events start its runs"
        assert found.because == {"triggers": ["after: etl Succeeded"]}
        taken = failing("Triggering", "TriggerNameTaken", 'trigger "after": Automation nightly.after exists')
        found = of_deployment(spec, conditions=[READY, none, taken], nextSchedules=[])
        assert "has triggers that start no runs (TriggerNameTaken): trigger" in found.what
        assert found.steps == ["delete the Automation that has the name, or rename the trigger"]

    def test_runs_that_wait_and_times_that_were_missed_are_told(self) -> None:
        waiting = [
            a_run("n-1", "Pending", status={"reason": "WaitingForSlot", "finishedAt": None}),
            a_run("n-2", "Pending", status={"reason": "WaitingForSlot", "finishedAt": None}),
        ]
        found = of_deployment(
            {"concurrency": {"limit": 1}},
            Surroundings(NOW, waiting),
            activeCount=1,
            active=[{"name": "n-0"}],
            schedules=[
                {"name": "daily", "missed": 2, "lastMissedTime": "2026-03-04T10:00:00Z", "lastMissedReason": "late"}
            ],
            lastRun={"name": "m-9", "phase": "Failed", "reason": "FlowFailed", "time": "2026-03-04T11:55:00Z"},
        )
        assert found.because["runs"] == [
            "1 of 1 under way: n-0",
            "2 have not started: 2 WaitingForSlot",
            "the last that ended: m-9 Failed (FlowFailed), 5m ago",
        ]
        assert found.because["schedules"][0].endswith("; 2 missed, the last 2h ago: late")
        assert found.steps == ["headrace why n-1 -n team-a tells what the oldest of them waits for"]

    def test_a_further_condition_is_told_in_its_own_words(self) -> None:
        spent = {"type": "Spent", "status": "True", "reason": "BudgetExceeded", "message": "12 of 10 USD"}
        assert of_deployment(conditions=[READY, SCHEDULED, spent]).because["also"] == [
            "Spent is True (BudgetExceeded): 12 of 10 USD"
        ]

    def test_one_that_nobody_has_looked_at_says_whether_an_operator_works(self) -> None:
        assert of_deployment(conditions=[]).steps == [UNSEEN]
        found = of_deployment(conditions=[], around=Surroundings(NOW, operator=False))
        assert found.what == "deployment nightly was created 10m ago, and no operator has looked at it yet"
        assert found.steps == [NOBODY_WORKS]


class TestBackfill:
    def test_one_that_waits_says_for_what_and_how_far_it_is(self) -> None:
        counts = {"total": 90, "succeeded": 10, "active": 2, "pending": 78, "progress": "11%"}
        cost = {"amount": "1.5", "currency": "USD"}
        found = of_backfill(phase="Waiting", reason="WindowClosed", message="until 20:00", cost=cost, **counts)
        assert found.what == "backfill nightly is Waiting (WindowClosed): until 20:00"
        assert found.because["partitions"] == ["11% of 90: 10 succeeded, 2 active, 78 pending", "cost so far: 1.5 USD"]
        assert found.steps[0].startswith("it goes on by itself")

    def test_one_that_failed_says_how_to_run_what_failed_again(self) -> None:
        found = of_backfill(phase="Failed", reason="PartitionsFailed", total=3, failed=1, succeeded=2, progress="100%")
        assert found.steps[-1] == "headrace backfill retry-failed nightly -n team-a runs what failed again"

    def test_one_that_nobody_has_looked_at(self) -> None:
        assert "no operator has looked at it yet" in of_backfill().what


class TestLimit:
    def test_a_full_one_names_its_holders_the_longest_first(self) -> None:
        holders = [
            {"slot": "pg-0", "holder": "run/team-a/b", "since": "2026-03-04T11:59:00Z"},
            {"slot": "pg-1", "holder": "run/team-a/a", "since": "2026-03-04T11:00:00Z"},
        ]
        found = limit_explained(
            an_object({"slots": 2}, {"active": 2, "waiting": 3, "holders": holders}), Surroundings(NOW)
        )
        assert found.what == "limit nightly has 2 of 2 slots held, 3 waiting"
        assert found.because["held by"] == ["run/team-a/a, since 60m", "run/team-a/b, since 60s"]
        assert found.steps[0].startswith("a slot is given back")

    def test_one_with_room_has_nothing_to_be_done(self) -> None:
        assert limit_explained(an_object({"slots": 2}, {"active": 1}), Surroundings(NOW)).steps == []

    def test_one_that_shrinks_says_why_nobody_gets_in(self) -> None:
        status = {"active": 3, "waiting": 1, "conditions": [failing("Ready", "Resizing", "more are held")]}
        found = limit_explained(an_object({"slots": 2}, status), Surroundings(NOW))
        assert found.what.endswith("3 of 2 slots held, 1 waiting (Resizing: more are held)")

    def test_a_rate_says_how_many_may_start(self) -> None:
        found = limit_explained(an_object({"rate": {"count": 5, "perSeconds": 60}}, {"waiting": 2}), Surroundings(NOW))
        assert found.steps == ["5 may start in 60s; the others follow by themselves"]


@pytest.mark.parametrize("reason", sorted({*OF_DEPLOYMENTS, *OF_BACKFILLS}))
def test_advice_is_of_reasons_that_there_are(reason: str) -> None:
    assert reason in set(Reason)

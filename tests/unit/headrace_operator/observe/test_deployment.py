"""A Deployment's snapshot, from the cache alone."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.conditions import Reason
from headrace.api.deployment import MAX_ACTIVE_LISTED, ActiveRun
from headrace_operator.decide.deployment import DeploymentSnapshot
from headrace_operator.observe.deployment import observe_deployment
from headrace_operator.observe.intake import Intake
from tests.unit.headrace_operator.observe.objects import an_intake, deployment, finished, flow, key, run, under_way

DAILY = key("daily")


@pytest.fixture
def intake() -> Intake:
    made = an_intake()[0]
    made.flow_seen(flow())
    made.deployment_seen(deployment())
    return made


def observe(intake: Intake) -> DeploymentSnapshot:
    seen = observe_deployment(intake.cache, intake.history, DAILY)
    assert seen is not None
    return seen


@pytest.mark.parametrize("changes", [{"name": "other"}, {"deletionTimestamp": "2026-03-04T12:00:00Z"}])
def test_one_that_is_gone_or_going_is_left_alone(changes: dict[str, Any]) -> None:
    """It starts nothing any more."""
    intake = an_intake()[0]
    obj = deployment()
    obj["metadata"].update(changes)
    intake.deployment_seen(obj)
    assert observe_deployment(intake.cache, intake.history, DAILY) is None


def test_active_runs_are_listed_oldest_first_and_all_are_counted(intake: Intake) -> None:
    """The list changes little from one write to the next."""
    for number in (3, 1, 2):
        time = f"2026-03-04T12:00:0{number}Z"
        intake.run_seen(run(name=f"r{number}", status=under_way(f"r{number}-1"), scheduledTime=time))
    intake.run_seen(run(name="waits"))
    seen = observe(intake)
    assert seen.active == tuple(ActiveRun(name=f"r{n}", uid=f"r{n}-uid") for n in (1, 2, 3))
    assert (seen.active_count, seen.queued_count) == (3, 1)


def test_a_long_list_is_cut_and_its_length_told(intake: Intake) -> None:
    """The object stays small."""
    for number in range(MAX_ACTIVE_LISTED + 5):
        intake.run_seen(run(name=f"r{number}", status=under_way(f"r{number}-1")))
    seen = observe(intake)
    assert (len(seen.active), seen.active_count) == (MAX_ACTIVE_LISTED, MAX_ACTIVE_LISTED + 5)


def test_a_status_that_cannot_be_read_is_written_anew(intake: Intake) -> None:
    """It is no reason to stop scheduling."""
    intake.deployment_seen(deployment(2, status={"activeCount": "many"}))
    assert observe(intake).memory == ()


def test_what_was_decided_before_is_remembered(intake: Intake) -> None:
    """From its status: nothing is kept in memory alone."""
    noted = [{"name": "nightly", "fingerprint": "f", "lastScheduledTime": "2026-03-04T12:00:00Z"}]
    last = {"name": "r0", "phase": "Failed", "time": "2026-03-04T11:00:00Z"}
    intake.deployment_seen(deployment(2, status={"schedules": noted, "lastRun": last}))
    seen = observe(intake)
    assert [memory.name for memory in seen.memory] == ["nightly"]
    assert seen.last_known is not None
    assert seen.last_known.name == "r0"


def test_runs_that_exist_are_known_finished_or_not(intake: Intake) -> None:
    """Their times have their run."""
    intake.run_seen(run(name="r1"))
    intake.run_seen(run(name="r2", status=finished()))
    seen = observe(intake)
    assert [name in seen.known_runs for name in ("r1", "r2", "r3")] == [True, True, False]
    assert seen.last_finished is not None
    assert seen.last_finished.key == key("r2")


def test_runs_of_others_are_none_of_its_own(intake: Intake) -> None:
    """Deployment "daily", schedule "b-c" and Deployment "daily-b", schedule "c" derive the same name."""
    other = {"name": "daily-b"}
    intake.run_seen(run(name="r1", deploymentRef=other))
    intake.run_seen(run(name="r2", deploymentRef=other, status=finished()))
    intake.run_seen(run(name="r3", flowRef={"name": "etl"}))
    seen = observe(intake)
    assert [name in seen.known_runs for name in ("r1", "r2", "r3")] == [False, False, False]


@pytest.mark.parametrize(
    ("flow_obj", "problem"),
    [
        pytest.param(flow(), None, id="the Flow is there"),
        pytest.param(
            flow(name="other"),
            (
                Reason.FLOW_NOT_FOUND,
                'spec.flowRef.name: there is no Flow "etl" in namespace team-a; apply it, or mend the name',
            ),
            id="there is no such Flow",
        ),
        pytest.param(
            flow(
                status={"conditions": [{"type": "Ready", "status": "False", "reason": "InvalidSpec", "message": "no"}]}
            ),
            (Reason.INVALID_SPEC, "Flow etl: no"),
            id="the Flow is refused",
        ),
    ],
)
def test_a_flow_that_cannot_be_run_is_told(flow_obj: dict[str, Any], problem: tuple[Reason, str] | None) -> None:
    """With the Flow's own complaint."""
    intake = an_intake()[0]
    intake.flow_seen(flow_obj)
    intake.deployment_seen(deployment())
    assert observe(intake).flow_problem == problem


def test_a_spec_that_cannot_be_read_is_told(intake: Intake) -> None:
    """Its Flow does not matter then."""
    intake.deployment_seen(deployment(2, generation=2, priority="high"))
    seen = observe(intake)
    assert seen.spec is None
    assert "spec.priority" in (seen.problem or "")
    assert seen.flow_problem is None

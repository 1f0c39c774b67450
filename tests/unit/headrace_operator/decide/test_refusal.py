"""What a run does whose pod the API server does not take."""

from __future__ import annotations

from datetime import timedelta

from headrace.api.conditions import Phase
from headrace_operator.decide.actions import Decision, RecordEvent
from headrace_operator.decide.refusal import TRY_AGAIN_S, foreign_pod, pod_refused
from headrace_operator.decide.snapshot import RunStatus
from tests.builders import ACCEPTED, NOW, a_condition, a_run, a_snapshot, an_accepted_status, an_attempt

AGAIN = NOW + timedelta(seconds=TRY_AGAIN_S)
QUOTA = "exceeded quota: compute"


def test_a_pod_that_would_be_refused_for_ever_fails_the_run() -> None:
    """With the API server's words and what to mend."""
    message = "the API server refuses the pod: spec.x: no such field; mend the Flow (podTemplate, resources, env)"
    assert pod_refused(a_snapshot(), "spec.x: no such field", final=True, now=NOW) == Decision(
        reason="PodCreationFailed",
        status=RunStatus(
            phase=Phase.FAILED,
            reason="PodCreationFailed",
            message=message,
            observed_generation=1,
            conditions=(a_condition("Completed", status="True", reason="PodCreationFailed", message=message),),
            queued_at=NOW,
            finished_at=NOW,
        ),
        afterwards=(RecordEvent("PodCreationFailed", message, warning=True),),
    )


def test_a_quota_is_waited_for_and_told_once() -> None:
    """It is tried again after a while, as nothing tells when a quota is raised."""
    message = f"the API server refuses the pod for now: {QUOTA}; raise the quota or mend the policy, and it goes on"
    status = an_accepted_status(
        phase=Phase.PENDING,
        reason="PodCreationFailed",
        message=message,
        conditions=(ACCEPTED, a_condition("Admitted", status="False", reason="PodCreationFailed", message=message)),
    )
    event = RecordEvent("PodCreationFailed", message, warning=True)
    first = pod_refused(a_snapshot(), QUOTA, final=False, now=NOW)
    assert first == Decision("PodCreationFailed", actions=(event,), status=status, look_again_at=AGAIN)
    second = pod_refused(a_snapshot(a_run(status=status)), QUOTA, final=False, now=AGAIN)
    assert second == Decision("PodCreationFailed", look_again_at=AGAIN + timedelta(seconds=TRY_AGAIN_S))


def test_a_retry_that_is_refused_stays_a_retry() -> None:
    """Pending is said of runs that have not begun."""
    retried = a_run(status=an_accepted_status(attempts=(an_attempt(reason="Evicted", finished_at=NOW),)))
    decision = pod_refused(a_snapshot(retried), QUOTA, final=False, now=NOW)
    assert decision.status is not None
    assert decision.status.phase is Phase.RETRYING


def test_a_pod_of_somebody_else_under_the_name_is_waited_for() -> None:
    """Nobody's pod is deleted but ours."""
    decision = foreign_pod(a_snapshot(), "etl-1-1", now=NOW)
    assert decision.status is not None
    assert (
        decision.status.message == "pod etl-1-1 exists and belongs to another object; delete it, and this run goes on"
    )
    assert decision.look_again_at == AGAIN
    assert all(isinstance(action, RecordEvent) for action in decision.actions)

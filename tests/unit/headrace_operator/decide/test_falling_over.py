"""A run whose WorkPool has no node for it goes to the next one."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from headrace.api.conditions import Phase
from headrace_operator.decide.actions import Decision, DeletePod, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.diagnosis import diagnose_wait
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.retry import failures_so_far
from headrace_operator.decide.snapshot import Attempt, Placement, Pod, RunStatus
from tests.builders import (
    ACCEPTED,
    NOW,
    a_flow,
    a_pod,
    a_run,
    a_snapshot,
    admitted,
    an_accepted_status,
    deleted,
    ended,
    running,
    unschedulable,
)

DUE = NOW + timedelta(seconds=60)
SOON = NOW + timedelta(seconds=30)
LATER = NOW + timedelta(seconds=65)
ELSEWHERE = Placement("small", 60, ("large",))
NO_RETRIES = a_flow(infrastructureRetries={"limit": 0})


def a_pod_in(pool: str = "small", status: dict[str, Any] | None = None, **changes: Any) -> Pod:
    return replace(a_pod(status or unschedulable(), node=changes.pop("node", None), **changes), pool=pool)


def refused(pod: Pod) -> str:
    """What the diagnosis says; its sentences have tests of their own."""
    found = diagnose_wait(pod.raw, now=LATER)
    assert found is not None
    return found.message


POD = a_pod_in()
MESSAGE = f'WorkPool "small" had no node for it within 60 s ({refused(POD)}); the next attempt goes to "large"'
ATTEMPT = Attempt(1, "etl-1-1", pool="small")


def told(reason: str, message: str, **changes: Any) -> RunStatus:
    """The status of a run whose first pod waits for a node."""
    fields: dict[str, Any] = {
        "phase": Phase.PENDING,
        "reason": reason,
        "message": message,
        "conditions": (ACCEPTED, admitted()),
        "attempts": (ATTEMPT,),
        "pool": "small",
    }
    return an_accepted_status(**{**fields, **changes})


WAITS = told("Unschedulable", refused(POD))
LEAVES = told("PoolUnavailable", MESSAGE)
TAKE_BACK = DeletePod("etl-1-1", "pod-uid-1", version=10)


@pytest.mark.parametrize(
    ("status", "placement", "now", "decision"),
    [
        pytest.param(
            WAITS,
            ELSEWHERE,
            SOON,
            Decision(reason="Unschedulable", look_again_at=DUE),
            id="until then it waits for a node",
        ),
        pytest.param(
            WAITS,
            ELSEWHERE,
            DUE,
            Decision(reason="PoolUnavailable", status=LEAVES, afterwards=(TAKE_BACK,)),
            id="then this very pod is taken back, after the status that says so",
        ),
        pytest.param(
            LEAVES,
            ELSEWHERE,
            LATER,
            Decision(reason="PoolUnavailable", afterwards=(TAKE_BACK,)),
            id="the operator died in between: it is taken back now",
        ),
        pytest.param(
            LEAVES,
            Placement("small", 60),
            LATER,
            Decision(
                reason="Unschedulable",
                actions=(RecordEvent("Unschedulable", refused(POD), warning=True),),
                status=WAITS,
            ),
            id="the other pool is gone meanwhile: it waits on",
        ),
        pytest.param(WAITS, None, LATER, Decision(reason="Unschedulable"), id="outside of pools it waits on"),
    ],
)
def test_an_unschedulable_pod(
    status: RunStatus, placement: Placement | None, now: datetime, decision: Decision
) -> None:
    """It leaves its pool when the pool's time is over and there is another one."""
    assert decide(a_snapshot(a_run(status=status), pods=(POD,), placement=placement), now) == decision


def the_end(status: RunStatus, pod: Pod) -> Decision:
    return decide(a_snapshot(a_run(status=status), flow=NO_RETRIES, pods=(pod,), placement=ELSEWHERE), LATER)


def test_the_next_attempt_follows_at_once_and_costs_no_retry() -> None:
    """Recorded under its own reason, with an Event; the pod is let go."""
    decision = the_end(LEAVES, a_pod_in(metadata=deleted(LATER, 0)))
    ending = replace(ATTEMPT, reason="PoolUnavailable", message=MESSAGE, finished_at=LATER)
    assert decision == Decision(
        reason="PoolUnavailable",
        status=replace(LEAVES, phase=Phase.RETRYING, attempts=(ending,)),
        afterwards=(ReleasePod("etl-1-1", "pod-uid-1"), RecordEvent("PoolUnavailable", MESSAGE, warning=True)),
    )
    assert decision.status is not None
    again = decide(a_snapshot(a_run(status=decision.status), flow=NO_RETRIES), LATER)
    assert again == Decision(reason="Launched", actions=(LaunchPod(2),))
    assert failures_so_far(decision.status.attempts, infrastructure=True) == 0
    assert failures_so_far(decision.status.attempts, infrastructure=False) == 0


@pytest.mark.parametrize(
    ("status", "pod", "reason"),
    [
        pytest.param(
            WAITS, a_pod_in(metadata=deleted(LATER, 0)), "PodDeleted", id="somebody else deleted it: that counts"
        ),
        pytest.param(
            told("PoolUnavailable", MESSAGE, attempts=(replace(ATTEMPT, finished_at=NOW),)),
            a_pod_in("large", metadata=deleted(LATER, 0), attempt=2),
            "PodDeleted",
            id="what was said of the attempt before says nothing of this one",
        ),
        pytest.param(
            LEAVES, a_pod_in(status=ended(0), node="n1"), "Succeeded", id="it found a node after all, and succeeded"
        ),
    ],
)
def test_an_end_that_is_no_move(status: RunStatus, pod: Pod, reason: str) -> None:
    """Only what we took back ourselves is."""
    assert the_end(status, pod).reason == reason


def test_a_pod_that_finds_a_node_in_the_last_moment_stays() -> None:
    """Its deletion is refused by the API, as it has changed; the status speaks of it again."""
    pod = a_pod_in(status=running(), node="n1")
    decision = decide(a_snapshot(a_run(status=LEAVES), pods=(pod,), placement=ELSEWHERE), LATER)
    assert decision.status is not None
    assert (decision.reason, decision.status.phase, decision.status.pool) == ("Running", Phase.RUNNING, "small")

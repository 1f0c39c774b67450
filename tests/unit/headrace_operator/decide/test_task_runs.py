"""A remote task's run: it ends with its parent, and its own retries are not the operator's."""

from __future__ import annotations

import pytest

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.actions import DeletePod
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.snapshot import RunStatus
from tests.builders import NOW, a_flow, a_pod, a_run, a_snapshot, a_task, an_attempt, ended, running

RUNS = RunStatus(phase=Phase.RUNNING, reason="Running", attempts=(an_attempt(),))
RETRIES = {"retries": {"limit": 5, "delaySeconds": 1}, "infrastructureRetries": {"limit": 3, "delaySeconds": 1}}


def test_a_task_that_waits_ends_with_its_parent() -> None:
    """Nobody would read its result."""
    decision = decide(a_snapshot(a_run(task=a_task()), parent_is_over=True), NOW)
    assert decision.status is not None
    assert (decision.status.phase, decision.status.reason) == (Phase.CANCELLED, Reason.CANCELLED)
    assert decision.status.message == "FlowRun etl-0, which called this task, is over or was cancelled"


def test_a_task_that_runs_is_asked_to_end() -> None:
    """As by spec.cancel."""
    seen = a_snapshot(a_run(task=a_task(), status=RUNS), pods=(a_pod(running()),), admitted=True, parent_is_over=True)
    decision = decide(seen, NOW)
    assert decision.actions == (DeletePod("etl-1-1", "pod-uid-1"),)
    assert decision.reason == Reason.CANCEL_REQUESTED


def test_what_the_task_has_done_is_taken_down_all_the_same() -> None:
    """An outcome comes before what was changed since."""
    seen = a_snapshot(a_run(task=a_task(), status=RUNS), pods=(a_pod(ended(0)),), admitted=True, parent_is_over=True)
    decision = decide(seen, NOW)
    assert decision.status is not None
    assert decision.status.phase is Phase.SUCCEEDED


def test_a_task_of_other_code_than_its_parents_gets_no_pod() -> None:
    """Else a run could act with another Flow's ServiceAccount and Secrets."""
    decision = decide(a_snapshot(a_run(task=a_task()), is_foreign=True), NOW)
    assert decision.status is not None
    assert (decision.status.phase, decision.status.reason) == (Phase.FAILED, Reason.FOREIGN_TASK)
    assert not decision.actions


@pytest.mark.parametrize(
    ("exit_code", "reason", "phase"),
    [
        pytest.param(1, "", Phase.FAILED, id="its retries were made in its pod"),
        pytest.param(75, "", Phase.FAILED, id="another attempt is for the flow to make"),
        pytest.param(137, "OOMKilled", Phase.RETRYING, id="the infrastructure's endings are tried again"),
    ],
)
def test_a_task_that_failed_is_not_tried_again_by_the_flows_retries(exit_code: int, reason: str, phase: Phase) -> None:
    """spec.retries is for the flow."""
    pod = a_pod(ended(exit_code, reason=reason))
    seen = a_snapshot(a_run(task=a_task(), status=RUNS), flow=a_flow(**RETRIES), pods=(pod,), admitted=True)
    decision = decide(seen, NOW)
    assert decision.status is not None
    assert decision.status.phase is phase

"""The end of an attempt: what is written down, and whether there is another try."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.actions import Decision, DeletePod, RecordEvent, ReleasePod
from headrace_operator.decide.diagnosis import diagnose_end
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.snapshot import Attempt, Place, Pod, RunStatus, Snapshot, Unresolved
from tests.builders import (
    ACCEPTED,
    NOW,
    a_condition,
    a_deployment,
    a_flow,
    a_pod,
    a_run,
    a_running_status,
    a_snapshot,
    admitted,
    an_accepted_status,
    an_attempt,
    deleted,
    ended,
    report,
    waiting,
)

END = NOW + timedelta(seconds=60)
LATER = NOW + timedelta(seconds=90)
RELEASE = ReleasePod("etl-1-1", "pod-uid-1")
EVENLY = {"delaySeconds": 30, "factor": 1, "jitter": 0}
RETRYING = a_flow(retries={"limit": 2, **EVENLY}, infrastructureRetries={"limit": 1, **EVENLY})
GONE = Unresolved(Reason.FLOW_NOT_FOUND, "there is no such Flow")
OOM = ended(137, reason="OOMKilled")
EVICTED = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}
NODE_LOST = {
    **ended(137),
    "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC", "message": "gone"}],
}


def under_way(pod: Pod, run: dict[str, Any] | None = None, **changes: Any) -> Snapshot:
    """A run whose status says that the pod's attempt runs."""
    status = a_running_status(pod.attempt)
    return a_snapshot(a_run(**{"status": status, **(run or {})}), **{"flow": RETRYING, "pods": (pod,), **changes})


def the_attempt(pod: Pod) -> Attempt:
    """As it is written down; the sentence is the diagnosis', which has tests of its own."""
    ending = diagnose_end(pod.raw, now=LATER)
    assert ending is not None
    return Attempt(
        number=pod.attempt,
        pod=pod.key.name,
        node=pod.node,
        reason=ending.reason,
        message=ending.message,
        exit_code=ending.exit_code,
        started_at=ending.started_at,
        finished_at=ending.finished_at,
    )


def over(phase: Phase, reason: str, message: str, **changes: Any) -> RunStatus:
    """The last status of a run whose first attempt ended."""
    completed = a_condition("Completed", status="True", reason=reason, message=message, at=LATER)
    fields = {"conditions": (ACCEPTED, admitted(), completed), "finished_at": LATER, **changes}
    return a_running_status(phase=phase, reason=reason, message=message, **fields)


def test_a_success_is_written_with_its_report_and_is_no_event() -> None:
    """Attempt, tasks, result and usage; then the pod is let go."""
    said = report(
        message="loaded 3 rows",
        result={"rows": 3},
        tasks={"total": 2, "succeeded": 2},
        usage={"cpuSeconds": 0.5, "maxMemoryBytes": 1000},
    )
    pod = a_pod(ended(0, message=said))
    status = over(
        Phase.SUCCEEDED,
        "Succeeded",
        "loaded 3 rows",
        attempts=(the_attempt(pod),),
        tasks={"total": 2, "succeeded": 2},
        result={"value": {"rows": 3}},
        usage={"cpuSeconds": 0.5, "maxMemoryBytes": 1000},
    )
    assert decide(under_way(pod), LATER) == Decision(reason="Succeeded", status=status, afterwards=(RELEASE,))


def test_a_run_that_ended_before_anything_was_written_has_it_all_in_one_write() -> None:
    """A quick run costs one status."""
    pod = a_pod(ended(0))
    decision = decide(a_snapshot(pods=(pod,)), LATER)
    at = {"last_transition_time": LATER}
    expected = over(Phase.SUCCEEDED, "Succeeded", "the flow returned", attempts=(the_attempt(pod),))
    assert decision.status == replace(expected, conditions=tuple(replace(c, **at) for c in expected.conditions))
    assert decision.afterwards == (RELEASE,)


def test_a_failed_attempt_is_tried_again_after_its_wait() -> None:
    """Retrying, with the failure, the count and the instant; an Event; the pod is let go."""
    pod = a_pod(ended(1, message=report("Failed", message="boom")))
    attempt = the_attempt(pod)
    due = END + timedelta(seconds=30)
    message = f"{attempt.message}; retry 1 of 2 starts at 2026-03-04T12:01:30Z"
    assert decide(under_way(pod), LATER) == Decision(
        reason="RetryScheduled",
        status=a_running_status(
            phase=Phase.RETRYING,
            reason="FlowFailed",
            message=message,
            attempts=(attempt,),
            next_attempt_at=due,
        ),
        afterwards=(RELEASE, RecordEvent("FlowFailed", message, warning=True)),
        look_again_at=due,
    )


def test_a_node_whose_clock_is_ahead_does_not_put_a_retry_off() -> None:
    """Its time of the end is hours on; the wait counts from now."""
    pod = a_pod(ended(1, message=report("Failed", message="boom"), after_s=3 * 3600))
    assert decide(under_way(pod), LATER).look_again_at == LATER + timedelta(seconds=30)


def test_the_last_failure_ends_the_run() -> None:
    """Failed, and the message says that nothing is left."""
    failures = tuple(an_attempt(n, reason="FlowFailed", finished_at=NOW) for n in (1, 2))
    pod = a_pod(ended(1, message=report("Failed", message="boom")), attempt=3)
    status = a_running_status(3, attempts=(*failures, an_attempt(3)))
    message = f"{the_attempt(pod).message} (no retry left of 2)"
    assert decide(under_way(pod, {"status": status}), LATER) == Decision(
        reason="FlowFailed",
        status=over(
            Phase.FAILED,
            "FlowFailed",
            message,
            conditions=(
                ACCEPTED,
                admitted(3),
                a_condition("Completed", status="True", reason="FlowFailed", message=message, at=LATER),
            ),
            attempts=(*failures, the_attempt(pod)),
        ),
        afterwards=(ReleasePod("etl-1-3", "pod-uid-3"), RecordEvent("FlowFailed", message, warning=True)),
    )


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        pytest.param(OOM, "OOMKilled", id="out of memory"),
        pytest.param(EVICTED, "Evicted", id="evicted"),
        pytest.param(NODE_LOST, "NodeLost", id="node lost"),
        pytest.param({**ended(143), "reason": "NodeShutdown"}, "NodeShutdown", id="node shut down"),
        pytest.param({**ended(143), "reason": "Preempting"}, "Preempted", id="preempted"),
        pytest.param({"phase": "Failed", "reason": "OutOfcpu"}, "PodRejected", id="refused by its node"),
        pytest.param(ended(137, reason="ContainerStatusUnknown"), "PodLost", id="nobody knows"),
    ],
)
def test_infrastructure_failures_are_counted_apart(status: dict[str, Any], reason: str) -> None:
    """Two failures of the flow have used up nothing of the one infrastructure retry; a second such end crashes."""
    failures = tuple(an_attempt(n, reason="FlowFailed", finished_at=NOW) for n in (1, 2))
    pod = a_pod(status, attempt=3)
    first = decide(under_way(pod, {"status": a_running_status(3, attempts=(*failures, an_attempt(3)))}), LATER)
    assert first.status is not None
    assert (first.status.phase, first.status.reason) == (Phase.RETRYING, reason)
    assert "retry 1 of 1 starts" in (first.status.message or "")
    again = a_pod(status, attempt=4)
    second = decide(under_way(again, {"status": replace(first.status, next_attempt_at=None)}), LATER)
    assert second.status is not None
    assert (second.status.phase, second.status.reason) == (Phase.CRASHED, reason)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        pytest.param(report("Failed", reason="ImportError", message="no module pandas"), "ImportError", id="import"),
        pytest.param(report("Failed", reason="InvalidParameters", message="day"), "InvalidParameters", id="parameters"),
        pytest.param("", "CannotStart", id="no word"),
    ],
)
def test_what_cannot_start_is_never_tried_again(message: str, reason: str) -> None:
    """Exit code 78, whatever retries there are."""
    decision = decide(under_way(a_pod(ended(78, message=message))), LATER)
    assert decision.status is not None
    assert (decision.status.phase, decision.status.reason) == (Phase.FAILED, reason)
    assert decision.look_again_at is None


@pytest.mark.parametrize("asked_s", [0, 5, 86400])
def test_the_flow_may_ask_for_the_wait_before_its_next_attempt(asked_s: int) -> None:
    """In place of the policy's delay; it counts as a retry."""
    said = report("Retrying", message="not there yet", retryDelaySeconds=asked_s)
    decision = decide(under_way(a_pod(ended(75, message=said))), LATER)
    assert decision.status is not None
    assert decision.status.reason == "RetryRequested"
    assert decision.status.next_attempt_at == END + timedelta(seconds=asked_s)
    assert "retry 1 of 2" in (decision.status.message or "")


def test_the_deployments_policies_take_the_place_of_the_flows() -> None:
    """Each as a whole."""
    none = a_deployment(retries={"limit": 0}, infrastructureRetries={"limit": 5, **EVENLY})
    failed = decide(under_way(a_pod(ended(1)), deployment=none), LATER)
    evicted = decide(under_way(a_pod(EVICTED), deployment=none), LATER)
    assert failed.status is not None
    assert failed.status.phase is Phase.FAILED
    assert "no retry left" not in (failed.status.message or "")
    assert "retry 1 of 5" in ((evicted.status and evicted.status.message) or "")


def test_a_flow_that_is_gone_has_no_policy() -> None:
    """Its run is not tried again, and its outcome is written all the same."""
    decision = decide(under_way(a_pod(OOM), flow=GONE), LATER)
    assert decision.status is not None
    assert decision.status.phase is Phase.CRASHED
    assert decision.afterwards[0] == RELEASE


class TestCancelled:
    """A run that somebody, or a newer run, asked to end."""

    @pytest.mark.parametrize("code", [1, 75, 78, 130, 137, 143])
    def test_it_is_cancelled_however_its_pod_ended(self, code: int) -> None:
        """No retry; that the pod was deleted is our own doing, and told as the cancellation that it was."""
        pod = a_pod(ended(code), metadata=deleted())
        decision = decide(under_way(pod, {"cancel": True}), LATER)
        message = "cancelled on request (spec.cancel)"
        attempt = replace(the_attempt(pod), reason="Cancelled", message=message)
        assert decision == Decision(
            reason="Cancelled",
            status=over(Phase.CANCELLED, "Cancelled", message, attempts=(attempt,)),
            afterwards=(RELEASE, RecordEvent("Cancelled", message)),
        )

    def test_it_has_succeeded_if_it_succeeded_first(self) -> None:
        """A flow that returned has done its work."""
        decision = decide(under_way(a_pod(ended(0)), {"cancel": True}), LATER)
        assert decision.status is not None
        assert decision.status.phase is Phase.SUCCEEDED

    def test_it_is_replaced_if_a_newer_run_took_its_place(self) -> None:
        """Cancelled, with a reason of its own."""
        replacing = a_deployment(concurrency={"limit": 1, "onConflict": "Replace"})
        pod = a_pod(ended(143), metadata=deleted())
        decision = decide(under_way(pod, deployment=replacing, place=Place(newer=1)), LATER)
        assert decision.status is not None
        assert (decision.status.phase, decision.status.reason) == (Phase.CANCELLED, "Replaced")

    def test_a_lost_pod_of_a_cancelled_run_ends_it(self) -> None:
        """There is nothing to try again."""
        seen = a_snapshot(a_run(status=a_running_status(), cancel=True), flow=RETRYING, lost=True)
        assert decide(seen, LATER).reason == "Cancelled"


@pytest.mark.parametrize("status", [ended(143), ended(130), ended(1, message=report("Cancelled", message="stop"))])
def test_a_flow_that_was_ended_from_inside_is_cancelled_and_not_tried_again(status: dict[str, Any]) -> None:
    """By a signal that somebody sent into the pod, or by itself."""
    decision = decide(under_way(a_pod(status)), LATER)
    assert decision.status is not None
    assert (decision.status.phase, decision.status.reason) == (Phase.CANCELLED, "Cancelled")
    assert decision.look_again_at is None


class TestNeverStarted:
    """Pods that could not start."""

    def status(self) -> RunStatus:
        problem: dict[str, Any] = {"reason": "ImagePullFailed", "message": "image x cannot be pulled"}
        attempts = (an_attempt(started_at=None),)
        return a_running_status(phase=Phase.PENDING, attempts=attempts, started_at=None, **problem)

    @pytest.mark.parametrize(
        ("status", "metadata"),
        [
            pytest.param({"phase": "Failed", **waiting("ImagePullBackOff")}, deleted(), id="given up and deleted"),
            pytest.param({"phase": "Failed", "reason": "DeadlineExceeded"}, {}, id="at its time limit"),
        ],
    )
    def test_the_run_fails_with_what_kept_the_pod_from_starting(
        self, status: dict[str, Any], metadata: dict[str, Any]
    ) -> None:
        """Not with the deletion that followed, and not tried again."""
        pod = a_pod({**status, "phase": "Failed"}, metadata=metadata)
        decision = decide(under_way(pod, {"status": self.status()}), LATER)
        assert decision.status is not None
        assert (decision.status.phase, decision.status.reason, decision.status.message) == (
            Phase.FAILED,
            "ImagePullFailed",
            "image x cannot be pulled",
        )

    def test_an_eviction_meanwhile_is_an_eviction(self) -> None:
        """The next attempt may find another node, and the image on it."""
        decision = decide(under_way(a_pod(EVICTED), {"status": self.status()}), LATER)
        assert decision.status is not None
        assert (decision.status.phase, decision.status.reason) == (Phase.RETRYING, "Evicted")

    def test_a_pod_that_started_after_all_is_judged_by_its_end(self) -> None:
        """The image came, the flow ran and failed before anything was written."""
        decision = decide(under_way(a_pod(ended(1)), {"status": self.status()}), LATER)
        assert decision.status is not None
        assert (decision.status.phase, decision.status.reason) == (Phase.RETRYING, "ExitCode")


class TestLost:
    """A pod that went without leaving its outcome."""

    MESSAGE = (
        "pod etl-1-1 is gone and left no outcome: somebody removed its finalizer; "
        "see the API server's audit log for who deleted it"
    )

    def test_it_counts_as_an_infrastructure_failure(self) -> None:
        """The attempt is closed; there is no pod to let go."""
        due = LATER + timedelta(seconds=30)
        message = f"{self.MESSAGE}; retry 1 of 1 starts at 2026-03-04T12:02:00Z"
        lost = an_attempt(reason="PodLost", message=self.MESSAGE, finished_at=LATER)
        assert decide(a_snapshot(a_run(status=a_running_status()), flow=RETRYING, lost=True), LATER) == Decision(
            reason="RetryScheduled",
            status=a_running_status(
                phase=Phase.RETRYING, reason="PodLost", message=message, attempts=(lost,), next_attempt_at=due
            ),
            afterwards=(RecordEvent("PodLost", message, warning=True),),
            look_again_at=due,
        )


def test_a_container_that_runs_on_beside_the_flows_is_ended() -> None:
    """The flow's container decides; the pod is deleted, then let go."""
    beside = {"name": "proxy", "state": {"running": {"startedAt": "2026-03-04T12:00:00Z"}}}
    status = ended(0)
    pod = a_pod({"phase": "Running", "containerStatuses": [*status["containerStatuses"], beside]})
    decision = decide(under_way(pod), LATER)
    assert decision.afterwards == (DeletePod("etl-1-1", "pod-uid-1"), RELEASE)


def test_a_pod_without_our_finalizer_is_not_let_go() -> None:
    """There is nothing to take off."""
    decision = decide(under_way(a_pod(ended(0), metadata={"finalizers": []})), LATER)
    assert decision.afterwards == ()


def test_a_long_message_is_cut_in_the_status() -> None:
    """The object stays small."""
    said = report("Succeeded", message="x" * 5000)
    decision = decide(under_way(a_pod(ended(0, message=said))), LATER)
    assert decision.status is not None
    assert len(decision.status.message or "") <= 1024


def test_what_an_attempt_did_not_report_stays_as_the_one_before_reported_it() -> None:
    """A crash loses no task counts."""
    status = replace(a_running_status(), tasks={"total": 3}, result={"value": 1}, usage={"cpuSeconds": 1.0})
    decision = decide(under_way(a_pod(OOM), {"status": status}), LATER)
    assert decision.status is not None
    assert (decision.status.tasks, decision.status.result) == ({"total": 3}, {"value": 1})


def test_a_status_that_was_written_says_the_same_when_the_run_is_looked_at_again() -> None:
    """No write when nothing changed: a retry that waits is not written twice."""
    pod = a_pod(ended(1), metadata={"finalizers": []})
    status = decide(under_way(pod), END).status
    assert status is not None
    again = decide(a_snapshot(a_run(status=status), flow=RETRYING, pods=(pod,)), END)
    assert again == Decision(reason="BackingOff", look_again_at=status.next_attempt_at)
    assert an_accepted_status().flow_revision == status.flow_revision

"""What is done about a run, rule by rule, and which rule goes first."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from headrace.api.conditions import Phase
from headrace_operator.decide.actions import Decision, DeletePod, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.diagnosis import diagnose_wait
from headrace_operator.decide.lifecycle import clear_orphans, decide
from headrace_operator.decide.patience import QUIET_START_S
from headrace_operator.decide.snapshot import Place, Pod, RunStatus, Snapshot
from headrace_operator.decide.waiting import SLOW_START_S, UNANSWERED_S
from tests.builders import (
    ACCEPTED,
    NOW,
    a_condition,
    a_deployment,
    a_pod,
    a_run,
    a_running_status,
    a_snapshot,
    admitted,
    an_accepted_status,
    an_attempt,
    deleted,
    ended,
    running,
    unschedulable,
    waiting,
)
from tests.unit.headrace_operator.decide.situations import (
    FAILED_ONCE,
    LATER,
    MISSING,
    ONE_AT_A_TIME,
    REPLACING,
    SOON,
    STRICT,
    a_finished_run,
    a_run_under_way,
    retrying,
)

POD_1 = ("etl-1-1", "pod-uid-1")
POD_2 = ("etl-1-2", "pod-uid-2")


def told(pod: Pod, now: datetime = LATER) -> str:
    """What the diagnosis says that the pod waits for; its sentences have tests of their own."""
    found = diagnose_wait(pod.raw, now=now)
    assert found is not None
    return found.message


def test_a_plain_run_is_launched_without_a_word() -> None:
    """No status write before the pod exists."""
    assert decide(a_snapshot(), NOW) == Decision(reason="Launched", actions=(LaunchPod(1),))


@pytest.mark.parametrize(
    ("seen", "decision"),
    [
        pytest.param(
            a_snapshot(a_run(deleting=True), pods=(a_pod(running()),)),
            Decision(reason="RunDeleted", actions=(ReleasePod(*POD_1),)),
            id="its pod goes with it by owner reference, and is only let go",
        ),
        pytest.param(
            a_snapshot(a_run(deleting=True)),
            Decision(reason="RunDeleted"),
            id="without a pod there is nothing to do",
        ),
        pytest.param(
            a_snapshot(a_finished_run(), pods=(a_pod(ended(0)),)),
            Decision(reason="AlreadyFinished", actions=(ReleasePod(*POD_1),)),
            id="the pod of a finished run is let go",
        ),
        pytest.param(
            a_snapshot(a_finished_run(), pods=(a_pod(running()),)),
            Decision(reason="AlreadyFinished", actions=(DeletePod(*POD_1), ReleasePod(*POD_1))),
            id="a pod that runs on after its run's end is ended",
        ),
        pytest.param(
            a_snapshot(a_finished_run(), pods=(a_pod(running(), metadata=deleted()),)),
            Decision(reason="AlreadyFinished", actions=(ReleasePod(*POD_1),)),
            id="a pod that is ending already is not asked twice",
        ),
        pytest.param(
            a_snapshot(a_finished_run(cancel=True, suspend=True), flow=MISSING),
            Decision(reason="AlreadyFinished"),
            id="nothing moves a finished run",
        ),
        pytest.param(
            a_snapshot(a_run(status=retrying()), pods=(a_pod(ended(1)),)),
            Decision(reason="OutcomeAlreadyWritten", actions=(ReleasePod(*POD_1),)),
            id="the operator died between status and release: the pod is let go and nothing else",
        ),
        pytest.param(
            a_snapshot(a_run(status=retrying()), pods=(a_pod(ended(1), metadata={"finalizers": []}),)),
            Decision(reason="Launched", actions=(LaunchPod(2),)),
            id="the next attempt follows the highest number that is known",
        ),
        pytest.param(
            a_snapshot(a_run(status=retrying(next_attempt_at=LATER))),
            Decision(reason="BackingOff", look_again_at=LATER),
            id="a retry that is not due is waited for, without a write",
        ),
        pytest.param(
            a_snapshot(a_run(status=retrying(next_attempt_at=NOW))),
            Decision(reason="Launched", actions=(LaunchPod(2),)),
            id="a retry that is due starts",
        ),
        pytest.param(
            a_snapshot(a_run(status=retrying()), deployment=ONE_AT_A_TIME, admitted=True, place=Place(active=5)),
            Decision(reason="Launched", actions=(LaunchPod(2),)),
            id="a retry needs no new slot",
        ),
        pytest.param(
            a_snapshot(a_run(status=retrying()), flow=STRICT),
            Decision(reason="Launched", actions=(LaunchPod(2),)),
            id="parameters that were accepted once are not judged again",
        ),
        pytest.param(
            a_snapshot(a_run_under_way()),
            Decision(reason="PodUnseen"),
            id="no attempt starts while the last one's pod is neither seen nor known to be gone",
        ),
    ],
)
def test_runs_that_need_no_status(seen: Snapshot, decision: Decision) -> None:
    """Actions alone, or nothing."""
    assert decide(seen, NOW) == decision


@pytest.mark.parametrize(
    ("pod", "actions"),
    [
        pytest.param(
            a_pod(running(), run_uid="old"), (DeletePod(*POD_1), ReleasePod(*POD_1)), id="it runs: ended and let go"
        ),
        pytest.param(
            a_pod(running(), run_uid="old", metadata=deleted()), (ReleasePod(*POD_1),), id="it is ending: let go"
        ),
        pytest.param(
            a_pod(running(), run_uid="old", metadata={**deleted(), "finalizers": []}), (), id="let go too: waited for"
        ),
        pytest.param(a_pod(ended(0), run_uid="old"), (ReleasePod(*POD_1),), id="it has ended: let go"),
        pytest.param(
            a_pod(running(), run_uid=None), (DeletePod(*POD_1), ReleasePod(*POD_1)), id="it belongs to nobody"
        ),
    ],
)
def test_a_pod_of_an_earlier_run_of_the_name_goes_first(pod: Pod, actions: tuple[Any, ...]) -> None:
    """Its outcome is not this run's, and nothing starts beside it."""
    assert decide(a_snapshot(pods=(pod,)), NOW) == Decision(reason="EarlierPodIsLive", actions=actions)


def test_a_pod_of_the_attempt_before_that_still_lives_goes_first() -> None:
    """A sidecar that runs on after the flow's container."""
    pod = a_pod({**ended(1), "phase": "Running"}, metadata={"finalizers": []})
    decision = decide(a_snapshot(a_run(status=retrying()), pods=(pod,)), NOW)
    assert decision == Decision(reason="EarlierPodIsLive", actions=(DeletePod(*POD_1),))


class TestCancellation:
    """spec.cancel, and newer runs under Replace."""

    @pytest.mark.parametrize("status", [RunStatus(), retrying(next_attempt_at=LATER)], ids=["waiting", "backing off"])
    def test_without_a_pod_it_is_over_at_once(self, status: RunStatus) -> None:
        """Status and Event, no pod is touched."""
        message = "cancelled on request (spec.cancel)"
        assert decide(a_snapshot(a_run(cancel=True, status=status)), LATER) == Decision(
            reason="Cancelled",
            status=replace(
                status,
                phase=Phase.CANCELLED,
                reason="Cancelled",
                message=message,
                conditions=(
                    *status.conditions,
                    a_condition("Completed", status="True", reason="Cancelled", message=message, at=LATER),
                ),
                observed_generation=1,
                queued_at=NOW,
                next_attempt_at=None,
                finished_at=LATER,
            ),
            afterwards=(RecordEvent("Cancelled", message),),
        )

    @pytest.mark.parametrize(
        ("snapshot", "reason"),
        [
            pytest.param({"run": a_run_under_way(cancel=True)}, "CancelRequested", id="on request"),
            pytest.param(
                {"run": a_run_under_way(), "deployment": REPLACING, "place": Place(newer=1), "admitted": True},
                "Replaced",
                id="for a newer run",
            ),
        ],
    )
    def test_a_pod_that_runs_is_asked_to_end_and_the_run_says_so(self, snapshot: dict[str, Any], reason: str) -> None:
        """The run stays in its phase until the pod has ended."""
        assert decide(a_snapshot(**snapshot, pods=(a_pod(running()),)), LATER) == Decision(
            reason=reason,
            actions=(DeletePod(*POD_1),),
            status=a_running_status(
                reason=reason,
                message="pod etl-1-1 was asked to end; it is killed when its grace period is over",
            ),
        )

    def test_a_pod_that_does_not_run_yet_is_asked_to_end_and_the_run_stays_pending(self) -> None:
        """Running is said of pods that run."""
        decision = decide(a_snapshot(a_run(cancel=True), pods=(a_pod(),)), LATER)
        assert decision == Decision(
            reason="CancelRequested",
            actions=(DeletePod(*POD_1),),
            status=an_accepted_status(
                phase=Phase.PENDING,
                reason="CancelRequested",
                message="pod etl-1-1 was asked to end; it is killed when its grace period is over",
                conditions=(
                    replace(ACCEPTED, last_transition_time=LATER),
                    replace(admitted(), last_transition_time=LATER),
                ),
                attempts=(an_attempt(started_at=None),),
            ),
        )

    def test_a_pod_that_is_ending_is_waited_for_without_a_word(self) -> None:
        """Until its node should have ended it, and a while longer."""
        seen = a_snapshot(a_run_under_way(cancel=True), pods=(a_pod(running(), metadata=deleted(grace_s=30)),))
        overdue = NOW + timedelta(seconds=30 + UNANSWERED_S + 1)
        assert decide(seen, LATER) == Decision(reason="PodIsEnding", look_again_at=overdue)

    def test_a_node_that_does_not_end_the_pod_is_told(self) -> None:
        """Nobody knows whether the pod still runs: the run waits, and says for what."""
        pod = a_pod(running(), metadata=deleted())
        overdue = NOW + timedelta(seconds=30 + UNANSWERED_S + 1)
        decision = decide(a_snapshot(a_run_under_way(cancel=True), pods=(pod,)), overdue)
        message = told(pod, overdue)
        assert decision == Decision(
            reason="NodeUnreachable",
            actions=(RecordEvent("NodeUnreachable", message, warning=True),),
            status=a_running_status(reason="NodeUnreachable", message=message),
        )


class TestPodThatExists:
    """What is written while a pod starts and runs."""

    def test_a_quick_start_costs_no_write(self) -> None:
        """It is looked at again when the start is no longer quick."""
        quiet_until = NOW + timedelta(seconds=QUIET_START_S)
        seen = a_snapshot(pods=(a_pod(waiting("ContainerCreating")),))
        assert decide(seen, SOON) == Decision(reason="PodStarting", look_again_at=quiet_until)

    def test_a_pod_that_finds_no_node_at_once_costs_no_write_either(self) -> None:
        """Often one is found in a moment."""
        quiet_until = NOW + timedelta(seconds=QUIET_START_S)
        seen = a_snapshot(pods=(a_pod(unschedulable(), node=None),))
        assert decide(seen, SOON) == Decision(reason="PodStarting", look_again_at=quiet_until)

    @pytest.mark.parametrize("phase", [Phase.PENDING, Phase.RETRYING])
    def test_nor_does_that_of_a_run_that_waited(self, phase: Phase) -> None:
        """A queued run, or a retry, goes from its wait to Running with one write."""
        run = a_run(status=an_accepted_status(phase=phase, reason="WaitingForSlot"))
        seen = a_snapshot(run, pods=(a_pod(waiting("ContainerCreating")),), admitted=True)
        assert decide(seen, SOON).status is None

    @pytest.mark.parametrize("node", ["n1", None])
    def test_a_slow_start_is_told_once(self, node: str | None) -> None:
        """And looked at again when it has taken so long that something must be wrong."""
        pod = a_pod(waiting("ContainerCreating"), node=node)
        now = NOW + timedelta(seconds=QUIET_START_S)
        slow_at = NOW + timedelta(seconds=SLOW_START_S + 1)
        status = an_accepted_status(
            phase=Phase.PENDING,
            reason="PodPending",
            message="pod etl-1-1 is on its way" + (" on node n1" if node else ""),
            conditions=(replace(ACCEPTED, last_transition_time=now), replace(admitted(), last_transition_time=now)),
            attempts=(an_attempt(node=node, started_at=None),),
        )
        expected = Decision(reason="PodStarting", status=status, look_again_at=slow_at)
        assert decide(a_snapshot(pods=(pod,)), now) == expected
        again = decide(a_snapshot(a_run(status=status), pods=(pod,)), LATER)
        assert again == Decision(reason="PodStarting", look_again_at=slow_at)

    def test_a_start_is_slow_counted_from_when_the_pod_got_its_node(self) -> None:
        """A pod that waited long for a node has only begun to start."""
        bound_at = NOW + timedelta(hours=1)
        bound = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-03-04T13:00:00Z"}
        pod = a_pod({**waiting("ContainerCreating"), "conditions": [bound]})
        decision = decide(a_snapshot(a_run(status=a_running_status()), pods=(pod,)), bound_at)
        assert decision.look_again_at == bound_at + timedelta(seconds=SLOW_START_S + 1)

    def test_a_pod_that_is_on_its_way_for_ever_is_not_looked_at_in_a_loop(self) -> None:
        """An instant that has passed is no instant to look again at."""
        init = {"name": "init", "state": {"running": {"startedAt": "2026-03-04T12:00:00Z"}}}
        pod = a_pod({**waiting("PodInitializing"), "initContainerStatuses": [init]})
        assert decide(a_snapshot(pods=(pod,)), NOW + timedelta(days=1)).look_again_at is None

    def test_a_running_pod_is_told_once(self) -> None:
        """Phase, attempt, node and start; then nothing more until something changes."""
        pods = (a_pod(running()),)
        assert decide(a_snapshot(pods=pods), NOW) == Decision(reason="Running", status=a_running_status())
        assert decide(a_snapshot(a_run_under_way(), pods=pods), LATER) == Decision(reason="Running")

    def test_a_second_attempt_that_runs_keeps_the_first_one_and_the_start_of_the_run(self) -> None:
        """The history grows; a due time that has come is gone."""
        status = retrying(next_attempt_at=NOW, started_at=NOW - timedelta(hours=1), conditions=(ACCEPTED, admitted(1)))
        decision = decide(a_snapshot(a_run(status=status), pods=(a_pod(running(), attempt=2),)), NOW)
        assert decision.status == a_running_status(
            2, attempts=(*FAILED_ONCE, an_attempt(2)), started_at=NOW - timedelta(hours=1)
        )

    def test_an_unschedulable_pod_waits_for_ever_and_says_so_once(self) -> None:
        """An autoscaler or a person may add a node; no deadline ends it."""
        pod = a_pod(unschedulable(), node=None)
        first = decide(a_snapshot(pods=(pod,)), LATER)
        message = told(pod)
        at = {"last_transition_time": LATER}
        status = an_accepted_status(
            phase=Phase.PENDING,
            reason="Unschedulable",
            message=message,
            conditions=(replace(ACCEPTED, **at), replace(admitted(), **at)),
            attempts=(an_attempt(node=None, started_at=None),),
        )
        assert first == Decision(
            reason="Unschedulable", actions=(RecordEvent("Unschedulable", message, warning=True),), status=status
        )
        years_later = decide(a_snapshot(a_run(status=status), pods=(pod,)), NOW + timedelta(days=1000))
        assert years_later == Decision(reason="Unschedulable")

    def test_words_of_the_scheduler_that_change_are_written_but_are_no_new_event(self) -> None:
        """An Event a kind of wait, not one a sentence."""
        old = retrying(
            phase=Phase.PENDING, attempts=(an_attempt(started_at=None),), reason="Unschedulable", message="?"
        )
        decision = decide(a_snapshot(a_run(status=old), pods=(a_pod(unschedulable(), node=None),)), LATER)
        assert decision.actions == ()
        assert decision.status is not None

    @pytest.mark.parametrize("reason", ["ImagePullBackOff", "CreateContainerConfigError", "CreateContainerError"])
    def test_a_pod_that_cannot_start_is_given_up_after_the_deadline(self, reason: str) -> None:
        """Until then it is told and waited for; the deletion comes after the status, which tells the end apart."""
        pod = a_pod(waiting(reason, 'secret "db" not found'))
        deadline = NOW + timedelta(seconds=600)
        first = decide(a_snapshot(pods=(pod,)), LATER)
        assert first.status is not None
        assert first.afterwards == ()
        assert first.look_again_at == deadline
        waits = a_run(status=first.status)
        assert decide(a_snapshot(waits, pods=(pod,)), LATER) == Decision(reason=first.reason, look_again_at=deadline)
        assert decide(a_snapshot(waits, pods=(pod,)), deadline) == Decision(
            reason=first.reason, afterwards=(DeletePod(*POD_1),)
        )

    @pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImageNeverPull"])
    def test_a_hopeless_start_is_given_up_at_once(self, reason: str) -> None:
        """Waiting longer would change nothing."""
        decision = decide(a_snapshot(pods=(a_pod(waiting(reason)),)), LATER)
        assert decision.reason == "ImagePullFailed"
        assert decision.status is not None
        assert decision.afterwards == (DeletePod(*POD_1),)

    def test_a_pod_that_is_given_up_is_deleted_once(self) -> None:
        """Then its end is waited for."""
        pod = a_pod(waiting("InvalidImageName"), metadata=deleted())
        status = decide(a_snapshot(pods=(pod,)), LATER).status
        assert status is not None
        assert decide(a_snapshot(a_run(status=status), pods=(pod,)), LATER) == Decision(reason="ImagePullFailed")

    def test_before_the_first_status_the_pod_tells_what_was_pinned(self) -> None:
        """The operator died after the launch, and the Deployment's parameters were changed since."""
        pod = replace(a_pod(running()), parameters={"price": "$5"}, revision="rev0")
        changed = a_deployment(parameters={"price": "$9"})
        decision = decide(a_snapshot(deployment=changed, pods=(pod,)), NOW)
        assert decision.status == a_running_status(flow_revision="rev0", parameters={"price": "$5"})


def test_orphans_are_ended_and_let_go() -> None:
    """Those that run are asked to end, those that ended are only let go, all that are held."""
    runs, over = a_pod(running()), a_pod(ended(0), attempt=2)
    free = a_pod(running(), attempt=3, metadata={"finalizers": []})
    assert clear_orphans((runs, over, free)) == (
        DeletePod(*POD_1),
        DeletePod("etl-1-3", "pod-uid-3"),
        ReleasePod(*POD_1),
        ReleasePod(*POD_2),
    )

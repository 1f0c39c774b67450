"""Why a run does not start, what it says meanwhile, and how it goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.actions import Decision, LaunchPod, RecordEvent
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.patience import Patience, patience
from headrace_operator.decide.snapshot import Blocked, Place, RunStatus, Turn, Unresolved
from tests.builders import (
    ACCEPTED,
    NOW,
    a_condition,
    a_pod,
    a_run,
    a_running_status,
    a_snapshot,
    admitted,
    an_accepted_status,
    running,
)
from tests.unit.headrace_operator.decide.situations import (
    LATER,
    MISSING,
    SKIPPING,
    STRICT,
    retrying,
)


def test_a_missing_flow_is_told_once_and_waited_for() -> None:
    """Condition and Event; nothing more while nothing changes."""
    first = decide(a_snapshot(flow=MISSING), NOW)
    status = RunStatus(
        phase=Phase.PENDING,
        reason="FlowNotFound",
        message=MISSING.message,
        observed_generation=1,
        conditions=(a_condition("Accepted", status="False", reason="FlowNotFound", message=MISSING.message),),
        queued_at=NOW,
    )
    event = RecordEvent("FlowNotFound", MISSING.message, warning=True)
    assert first == Decision(reason="FlowNotFound", actions=(event,), status=status)
    assert decide(a_snapshot(a_run(status=status), flow=MISSING), LATER) == Decision(reason="FlowNotFound")


def test_a_flow_that_appears_lets_the_run_go_on_by_itself() -> None:
    """And the condition is turned when the pod runs."""
    waits = decide(a_snapshot(flow=MISSING), NOW).status
    assert waits is not None
    assert decide(a_snapshot(a_run(status=waits)), LATER) == Decision(reason="Launched", actions=(LaunchPod(1),))
    runs = decide(a_snapshot(a_run(status=waits), pods=(a_pod(running()),)), LATER).status
    at = {"last_transition_time": LATER}
    assert runs == a_running_status(conditions=(replace(ACCEPTED, **at), replace(admitted(), **at)))


def test_a_flow_that_is_gone_before_a_retry_is_told_as_a_retry_that_waits() -> None:
    """Pending is said of runs that have not begun."""
    decision = decide(a_snapshot(a_run(status=retrying()), flow=MISSING), LATER)
    assert decision.status is not None
    assert (decision.status.phase, decision.status.reason) == (Phase.RETRYING, "FlowNotFound")


def test_pods_that_are_withheld_are_told_and_not_made() -> None:
    """A pod that is there goes on, and how it ends is taken down."""
    withheld = Unresolved(Reason.INVALID_SPEC, "leave out the changes")
    waits = decide(a_snapshot(withheld=withheld), NOW)
    assert waits.status is not None
    assert (waits.status.phase, waits.status.message) == (Phase.PENDING, "leave out the changes")
    assert waits.actions == (RecordEvent("InvalidSpec", "leave out the changes", warning=True),)
    runs = decide(a_snapshot(a_run(), pods=(a_pod(running()),), withheld=withheld), NOW).status
    assert runs == a_running_status()
    again = decide(a_snapshot(a_run(status=retrying()), withheld=withheld), LATER)
    assert again.status is not None
    assert (again.status.phase, again.status.reason) == (Phase.RETRYING, "InvalidSpec")


def test_wrong_parameters_end_the_run_without_a_pod() -> None:
    """Failed, with the sentence in message, conditions and Event."""
    decision = decide(a_snapshot(flow=STRICT), NOW)
    message = (
        "parameters: 'day' is a required property. Mend the parameters and create a new FlowRun "
        "(Flow etl, spec.parameters.schema says what is expected)"
    )
    refused = {"status": "False", "reason": "InvalidParameters", "message": message}
    assert decision == Decision(
        reason="InvalidParameters",
        status=RunStatus(
            phase=Phase.FAILED,
            reason="InvalidParameters",
            message=message,
            observed_generation=1,
            conditions=(a_condition("Accepted", **refused), a_condition("Completed", **refused | {"status": "True"})),
            queued_at=NOW,
            finished_at=NOW,
        ),
        afterwards=(RecordEvent("InvalidParameters", message, warning=True),),
    )


def test_parameters_are_checked_once() -> None:
    """They are pinned with the revision, and thousands of runs that wait are looked at again and again."""
    waits = an_accepted_status(phase=Phase.PENDING, attempts=())
    assert decide(a_snapshot(a_run(status=waits), flow=STRICT), NOW).reason == "Launched"


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(RunStatus(), id="before the first attempt"),
        pytest.param(retrying(next_attempt_at=LATER), id="between two attempts"),
    ],
)
def test_a_suspended_run_is_paused(before: RunStatus) -> None:
    """Told once; it goes on at once when the suspension is taken back, its wait forgotten."""
    message = "spec.suspend is true; set it to false to go on"
    paused = an_accepted_status(
        phase=Phase.PAUSED, reason="Suspended", message=message, attempts=before.attempts, next_attempt_at=None
    )
    suspended = a_run(suspend=True, status=before)
    assert decide(a_snapshot(suspended), NOW) == Decision(reason="Suspended", status=paused)
    assert decide(a_snapshot(replace(suspended, status=paused)), LATER) == Decision(reason="Suspended")
    resumed = decide(a_snapshot(a_run(status=paused)), LATER)
    assert resumed == Decision(reason="Launched", actions=(LaunchPod(len(before.attempts) + 1),))


def test_a_run_that_finds_no_slot_waits_and_says_so_once() -> None:
    """The message counts nobody, so that the queue's moves are not written."""
    message = "waits for a slot of its deployment"
    blocked = Blocked(Reason.WAITING_FOR_SLOT, message)
    status = an_accepted_status(
        phase=Phase.PENDING,
        reason="WaitingForSlot",
        message=message,
        conditions=(ACCEPTED, a_condition("Admitted", status="False", reason="WaitingForSlot", message=message)),
    )
    assert decide(a_snapshot(turn=blocked), NOW) == Decision(reason="WaitingForSlot", status=status)
    waits = a_run(status=status)
    assert decide(a_snapshot(waits, turn=blocked), LATER) == Decision(reason="WaitingForSlot")
    assert decide(a_snapshot(waits), LATER) == Decision(reason="Launched", actions=(LaunchPod(1),))


def test_a_run_that_nothing_else_holds_back_asks_for_its_turn_and_starts_with_what_it_is_given() -> None:
    """The pool, the slots to take and the starts to note go with the launch."""
    assert decide(a_snapshot(turn=None), NOW) == Decision(reason="AsksForItsTurn", asks=True)
    turn = Turn(pool="gpu", limits=(("postgres", 2),), rates=("api",))
    assert decide(a_snapshot(turn=turn), NOW) == Decision(reason="Launched", actions=(LaunchPod(1, turn),))


def test_a_skipped_run_says_why_and_is_no_event() -> None:
    """Skipping is what was asked for."""
    message = "no slot of its deployment is free (spec.concurrency.limit), and spec.concurrency.onConflict is Skip"
    skipped = {"reason": "SkippedByConcurrency", "message": message}
    assert decide(a_snapshot(deployment=SKIPPING, place=Place(active=1)), NOW) == Decision(
        reason="SkippedByConcurrency",
        status=RunStatus(
            phase=Phase.SKIPPED,
            observed_generation=1,
            conditions=(a_condition("Completed", status="True", **skipped),),
            queued_at=NOW,
            finished_at=NOW,
            **skipped,
        ),
    )


def test_a_short_wait_is_not_told() -> None:
    """Most find their turn in a moment; who was told of once is told on at once."""
    blocked = Blocked(Reason.WAITING_FOR_SLOT, "waits for a slot")
    seen = replace(a_snapshot(turn=blocked), patience=Patience(turn_s=2.0))
    told_at = seen.run.created + timedelta(seconds=2)
    assert decide(seen, seen.run.created) == Decision(reason=Reason.WAITING_FOR_SLOT, look_again_at=told_at)
    late = decide(seen, told_at)
    assert late.status is not None
    other = replace(seen, run=replace(seen.run, status=late.status), turn=Blocked(Reason.WAITING_FOR_POOL, "other"))
    assert decide(other, seen.run.created).status is not None


@pytest.mark.parametrize(
    ("starting", "waiting", "expected"),
    [(0, 0, Patience(5.0, 1.0)), (10, 200, Patience(10.0, 5.0)), (10_000, 10_000, Patience(30.0, 30.0))],
    ids=["a run by itself is told of soon", "in a burst later", "and never later than this"],
)
def test_the_more_wait_the_later_it_is_told(starting: int, waiting: int, expected: Patience) -> None:
    """Waiting is what is to be expected then."""
    assert patience(starting=starting, waiting=waiting) == expected

"""Which rule of a run's life goes first, where several apply."""

from __future__ import annotations

import pytest

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide import lifecycle
from headrace_operator.decide.lifecycle import Rule, decide
from headrace_operator.decide.snapshot import Blocked, Place, Snapshot
from tests.builders import (
    NOW,
    a_pod,
    a_run,
    a_snapshot,
    ended,
    running,
)
from tests.unit.headrace_operator.decide.situations import (
    LATER,
    MISSING,
    SKIPPING,
    STRICT,
    a_finished_run,
    a_run_under_way,
    retrying,
)

NO_SLOT = Blocked(Reason.WAITING_FOR_SLOT, "waits for a slot of its deployment")

BOTH_APPLY = [
    pytest.param(
        lifecycle.being_deleted,
        lifecycle.already_finished,
        a_snapshot(a_finished_run(deleting=True), pods=(a_pod(running()),)),
        id="a run that is deleted lets go of its pods, finished or not",
    ),
    pytest.param(
        lifecycle.already_finished,
        lifecycle.pod_ended,
        a_snapshot(a_finished_run(Phase.FAILED), pods=(a_pod(ended(0)),)),
        id="a finished run never leaves its phase, even when its pod succeeded after all",
    ),
    pytest.param(
        lifecycle.attempt_is_recorded,
        lifecycle.cancelled,
        a_snapshot(a_run(status=retrying(), cancel=True), pods=(a_pod(ended(1)),)),
        id="a pod whose end is written is let go before a cancellation is looked at",
    ),
    pytest.param(
        lifecycle.pod_ended,
        lifecycle.cancelled,
        a_snapshot(a_run_under_way(cancel=True), pods=(a_pod(ended(1)),)),
        id="an outcome is taken down before a cancellation",
    ),
    pytest.param(
        lifecycle.pod_ended,
        lifecycle.unresolved,
        a_snapshot(a_run_under_way(), flow=MISSING, pods=(a_pod(ended(0)),)),
        id="an outcome is taken down though the Flow is gone",
    ),
    pytest.param(
        lifecycle.pod_ended,
        lifecycle.suspended,
        a_snapshot(a_run_under_way(suspend=True), pods=(a_pod(ended(0)),)),
        id="an outcome is taken down though the run is suspended",
    ),
    pytest.param(
        lifecycle.pod_lost,
        lifecycle.cancelled,
        a_snapshot(a_run_under_way(cancel=True), lost=True),
        id="a loss is taken down before a cancellation",
    ),
    pytest.param(
        lifecycle.pod_lost,
        lifecycle.pod_unseen,
        a_snapshot(a_run_under_way(), lost=True),
        id="a pod that is known to be gone is not waited for",
    ),
    pytest.param(
        lifecycle.cancelled,
        lifecycle.pod_exists,
        a_snapshot(a_run_under_way(cancel=True), pods=(a_pod(running()),)),
        id="a cancellation ends a pod that runs",
    ),
    pytest.param(
        lifecycle.cancelled,
        lifecycle.unresolved,
        a_snapshot(a_run(cancel=True), flow=MISSING),
        id="a run that waits for its Flow can be cancelled",
    ),
    pytest.param(
        lifecycle.cancelled,
        lifecycle.suspended,
        a_snapshot(a_run(cancel=True, suspend=True)),
        id="a suspended run can be cancelled",
    ),
    pytest.param(
        lifecycle.cancelled,
        lifecycle.wrong_parameters,
        a_snapshot(a_run(cancel=True), flow=STRICT),
        id="who cancels gets Cancelled, not a complaint about parameters",
    ),
    pytest.param(
        lifecycle.pod_exists,
        lifecycle.suspended,
        a_snapshot(a_run_under_way(suspend=True), pods=(a_pod(running()),)),
        id="suspending lets the attempt under way go on",
    ),
    pytest.param(
        lifecycle.pod_exists,
        lifecycle.unresolved,
        a_snapshot(a_run_under_way(), flow=MISSING, pods=(a_pod(running()),)),
        id="an attempt goes on though its Flow is gone",
    ),
    pytest.param(
        lifecycle.unresolved,
        lifecycle.suspended,
        a_snapshot(a_run(suspend=True), flow=MISSING),
        id="a missing Flow is told before a suspension",
    ),
    pytest.param(
        lifecycle.wrong_parameters,
        lifecycle.suspended,
        a_snapshot(a_run(suspend=True), flow=STRICT),
        id="wrong parameters are told at once, suspended or not",
    ),
    pytest.param(
        lifecycle.wrong_parameters,
        lifecycle.waits_for_its_turn,
        a_snapshot(flow=STRICT, turn=NO_SLOT),
        id="wrong parameters are told before the run waits in a queue",
    ),
    pytest.param(
        lifecycle.wrong_parameters,
        lifecycle.skipped,
        a_snapshot(flow=STRICT, deployment=SKIPPING, place=Place(active=1)),
        id="wrong parameters are a failure, not a skip",
    ),
    pytest.param(
        lifecycle.suspended,
        lifecycle.backs_off,
        a_snapshot(a_run(suspend=True, status=retrying(next_attempt_at=LATER))),
        id="a suspension is told while a retry is waited for",
    ),
    pytest.param(
        lifecycle.suspended,
        lifecycle.skipped,
        a_snapshot(a_run(suspend=True), deployment=SKIPPING, place=Place(active=1)),
        id="a suspended run is not skipped: it does not ask for a slot yet",
    ),
    pytest.param(
        lifecycle.skipped,
        lifecycle.waits_for_its_turn,
        a_snapshot(deployment=SKIPPING, place=Place(active=1), turn=NO_SLOT),
        id="a skipping deployment has no queue",
    ),
    pytest.param(
        lifecycle.earlier_pod_is_live,
        lifecycle.asks_for_its_turn,
        a_snapshot(pods=(a_pod(running(), run_uid="old"),), turn=None),
        id="a run that cannot start yet takes nobody's turn",
    ),
    pytest.param(
        lifecycle.cancelled,
        lifecycle.outranked,
        a_snapshot(a_run_under_way(cancel=True), pods=(a_pod(running()),), outranked=True),
        id="a run that is cancelled does not come back to the queue",
    ),
    pytest.param(
        lifecycle.outranked,
        lifecycle.pod_exists,
        a_snapshot(a_run_under_way(), pods=(a_pod(running()),), outranked=True),
        id="a run of higher priority ends a pod that runs",
    ),
    pytest.param(
        lifecycle.earlier_pod_is_live,
        lifecycle.starts,
        a_snapshot(pods=(a_pod(running(), run_uid="old"),)),
        id="nothing starts beside a pod of an earlier run of the same name",
    ),
]


@pytest.mark.parametrize(("first", "second", "seen"), BOTH_APPLY)
def test_of_two_rules_that_apply_the_order_decides(first: Rule, second: Rule, seen: Snapshot) -> None:
    """Either would answer; the first one does."""
    assert first(seen, NOW) is not None
    assert second(seen, NOW) is not None
    assert decide(seen, NOW) == first(seen, NOW)

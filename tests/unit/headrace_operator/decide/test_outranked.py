"""A run gives its places to one of higher priority, and gets its turn again; nobody's retries are spent on that."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.actions import Decision, DeletePod, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.lifecycle import OUTRANKED, decide
from headrace_operator.decide.run_status import is_back_in_line
from headrace_operator.decide.snapshot import Blocked, Run
from tests.builders import NOW, a_pod, a_run, a_snapshot, ended, report, running
from tests.unit.headrace_operator.decide.situations import LATER, a_run_under_way, retrying

NO_ROOM = Blocked(Reason.WAITING_FOR_POOL, "waits for room")


def told() -> Run:
    """A run whose pod is about to be ended for another one."""
    decision = decide(a_snapshot(a_run_under_way(), pods=(a_pod(running()),), outranked=True), NOW)
    assert decision.status is not None
    return a_run(status=decision.status)


def test_its_status_says_why_before_its_pod_is_asked_to_end() -> None:
    """Whoever takes over in between does the rest."""
    decision = decide(a_snapshot(a_run_under_way(), pods=(a_pod(running()),), outranked=True), NOW)
    assert decision.actions == ()
    assert decision.status is not None
    assert (decision.status.reason, decision.status.message) == (Reason.OUTRANKED, OUTRANKED)
    assert decision.afterwards == (DeletePod("etl-1-1", "pod-uid-1"),)
    taken_over = decide(a_snapshot(told(), pods=(a_pod(running()),)), LATER)
    assert taken_over == Decision(reason=Reason.OUTRANKED, afterwards=decision.afterwards)


def test_while_its_pod_ends_nothing_is_written() -> None:
    ending = a_pod(running(), metadata={"deletionTimestamp": "2026-03-04T12:00:30Z"})
    decision = decide(a_snapshot(told(), pods=(ending,)), NOW)
    assert (decision.reason, decision.status, decision.actions) == ("PodIsEnding", None, ())


@pytest.mark.parametrize("exit_code", [0, 1, 137, 143])
def test_however_its_process_takes_the_signal_the_attempt_counts_as_outranked(exit_code: int) -> None:
    """Unless it succeeded: then it is done."""
    message = report("Succeeded") if exit_code == 0 else ""
    pod = a_pod(ended(exit_code, message=message))
    decision = decide(a_snapshot(told(), pods=(pod,)), NOW)
    assert decision.status is not None
    if exit_code == 0:
        assert decision.status.phase is Phase.SUCCEEDED
        return
    assert (decision.status.phase, decision.status.reason) == (Phase.RETRYING, Reason.OUTRANKED)
    assert decision.status.attempts[-1].reason == Reason.OUTRANKED
    assert decision.status.next_attempt_at is None
    assert is_back_in_line(decision.status)
    assert ReleasePod("etl-1-1", "pod-uid-1") in decision.afterwards


def test_between_two_attempts_it_gives_its_places_back_at_once() -> None:
    """There is no pod to wait for."""
    decision = decide(a_snapshot(a_run(status=retrying(next_attempt_at=LATER)), outranked=True, admitted=True), NOW)
    assert decision.status is not None
    assert is_back_in_line(decision.status)
    assert decision.afterwards == (RecordEvent(Reason.OUTRANKED, OUTRANKED),)


def test_back_in_line_it_says_what_it_waits_for_and_stays_back_in_line_until_it_is_launched() -> None:
    """The condition keeps what its places rest on; reason and message tell the wait."""
    gave_way = decide(a_snapshot(told(), pods=(a_pod(ended(143)),)), NOW).status
    assert gave_way is not None
    waits = decide(a_snapshot(a_run(status=gave_way), turn=NO_ROOM), LATER).status
    assert waits is not None
    assert (waits.phase, waits.reason) == (Phase.RETRYING, Reason.WAITING_FOR_POOL)
    assert is_back_in_line(waits)
    launched = decide(a_snapshot(a_run(status=waits)), LATER)
    assert launched.actions == (LaunchPod(2),)
    second = replace(a_pod(running(), attempt=2), uid="second")
    runs = decide(a_snapshot(a_run(status=waits), pods=(second,)), LATER).status
    assert runs is not None
    assert not is_back_in_line(runs)

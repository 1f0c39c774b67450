"""A flow that pauses: its run holds nothing while it waits, and goes on when it is answered, or its time has come."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace.api.conditions import Phase, Reason
from headrace.api.flowrun import MAX_PAUSES, AnswerDecision, OverDecision, PauseKind
from headrace_operator.decide.actions import Decision, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.pausing import INPUT_LIMIT, answers_json, fingerprint
from headrace_operator.decide.retry import failures_so_far
from headrace_operator.decide.run_status import is_back_in_line
from headrace_operator.decide.snapshot import GivenAnswer, ObjectKey, PastPauseView, PauseView, RunStatus
from tests.builders import NOW, a_flow, a_pod, a_run, a_snapshot, an_attempt, ended, report
from tests.unit.headrace_operator.decide.situations import LATER, MISSING, SKIPPING, a_run_under_way

END = NOW + timedelta(seconds=60)
UNTIL = END + timedelta(seconds=300)
SCHEMA = {"type": "object", "properties": {"replicas": {"type": "integer"}}, "required": ["replicas"]}
APPROVAL = {"kind": "Approval", "name": "deploy", "message": "to production?"}
YES = GivenAnswer("deploy", AnswerDecision.APPROVE)
NO = GivenAnswer("deploy", AnswerDecision.REJECT, comment="not on a Friday")
ONCE = a_flow(retries={"limit": 1, "delaySeconds": 0})


def paused_pod(attempt: int = 1, exit_code: int = 76, **pause: Any) -> Any:
    message = report("Paused", message="waits", pause={**APPROVAL, **pause})
    return a_pod(ended(exit_code, message=message), attempt=attempt)


def ends(pod: Any, *, before: RunStatus | None = None, **run: Any) -> Decision:
    """The decision about a run whose pod has ended so."""
    under_way = a_run_under_way(**run) if before is None else a_run(status=before, **run)
    return decide(a_snapshot(under_way, pods=(pod,), admitted=True, flow=ONCE), LATER)


def waiting(**pause: Any) -> RunStatus:
    """The status of a run that waits for its first pause."""
    decision = ends(paused_pod(**pause))
    assert decision.status is not None
    return decision.status


def looked_at(status: RunStatus, *answers: GivenAnswer, at: Any = LATER, **changes: Any) -> Decision:
    return decide(a_snapshot(a_run(status=status, answers=answers, **changes)), at)


def resumed(status: RunStatus, *answers: GivenAnswer, at: Any = LATER) -> RunStatus:
    decision = looked_at(status, *answers, at=at)
    assert decision.reason == Reason.RUN_RESUMED
    assert decision.status is not None
    return decision.status


class TestBeginning:
    def test_the_status_says_what_the_run_waits_for_before_the_pod_is_let_go(self) -> None:
        """Whoever takes over in between finds all of it there."""
        decision = ends(paused_pod(schema=SCHEMA, timeoutSeconds=300))
        status = decision.status
        assert status is not None
        assert status.pause == PauseView(PauseKind.APPROVAL, "deploy", END, "to production?", SCHEMA, UNTIL)
        assert (status.phase, status.reason) == (Phase.PAUSED, Reason.AWAITING_APPROVAL)
        assert "headrace approve etl-1 -n team-a" in (status.message or "")
        assert decision.afterwards == (
            ReleasePod("etl-1-1", "pod-uid-1"),
            RecordEvent(Reason.RUN_PAUSED, status.message or ""),
        )
        assert decision.look_again_at == UNTIL

    def test_it_holds_no_places_and_no_retry_is_spent(self) -> None:
        status = waiting()
        assert is_back_in_line(status)
        assert [attempt.reason for attempt in status.attempts] == [Reason.PAUSED]
        assert failures_so_far(status.attempts, infrastructure=False) == 0
        assert failures_so_far(status.attempts, infrastructure=True) == 0

    def test_a_sleep_has_its_end_as_the_time_of_the_next_attempt(self) -> None:
        """Never earlier than the flow asked for: a status knows no fractions of a second."""
        asked = UNTIL - timedelta(microseconds=1)
        status = waiting(kind="Sleep", until=asked.isoformat())
        assert (status.reason, status.next_attempt_at) == (Reason.SLEEPING, UNTIL)

    def test_a_sleep_until_an_instant_of_another_zone_is_told_in_utc(self) -> None:
        """As an image of any language may write it."""
        status = waiting(kind="Sleep", until="2026-03-10T02:00:00+02:00")
        assert status.message == '"deploy" sleeps until 2026-03-10T00:00:00Z'

    @pytest.mark.parametrize(
        "pause",
        [
            pytest.param({"kind": "Nap"}, id="of no known kind"),
            pytest.param({"name": "a b"}, id="whose name is none"),
            pytest.param({"name": None}, id="without a name"),
            pytest.param({"kind": "Sleep"}, id="a sleep without an end"),
            pytest.param({"kind": "Sleep", "until": "2026-01-01T00:00:00"}, id="a sleep until no certain instant"),
            pytest.param({"kind": "Sleep", "until": "9999-12-31T23:59:59.999Z"}, id="a sleep until the last instant"),
            pytest.param({"kind": "Sleep", "until": "0001-01-01T00:00:00+05:00"}, id="a sleep until before the first"),
        ],
    )
    def test_what_cannot_be_understood_is_a_failure(self, pause: dict[str, Any]) -> None:
        """Nobody could ever answer it."""
        status = ends(paused_pod(**pause)).status
        assert status is not None
        assert (status.phase, status.attempts[-1].reason) == (Phase.RETRYING, Reason.EXIT_CODE)

    def test_another_exit_code_is_no_pause(self) -> None:
        status = ends(paused_pod(exit_code=1)).status
        assert status is not None
        assert status.attempts[-1].reason == Reason.EXIT_CODE

    def test_a_run_that_was_cancelled_meanwhile_ends(self) -> None:
        status = ends(paused_pod(), cancel=True).status
        assert status is not None
        assert (status.phase, status.pause) == (Phase.CANCELLED, None)

    def test_a_run_that_pauses_without_end_fails_while_its_attempts_still_fit(self) -> None:
        """The status takes 256 of them."""
        attempts = tuple(an_attempt(n, reason=Reason.PAUSED, finished_at=NOW) for n in range(1, MAX_PAUSES + 1))
        before = replace(a_run_under_way().status, attempts=(*attempts, an_attempt(MAX_PAUSES + 1)))
        status = ends(paused_pod(attempt=MAX_PAUSES + 1), before=before).status
        assert status is not None
        assert (status.phase, status.reason) == (Phase.FAILED, Reason.TOO_MANY_PAUSES)

    def test_a_process_that_asks_what_it_was_told_does_not_ask_for_ever(self) -> None:
        """Such as one whose environment was overridden."""
        over = PastPauseView("deploy", OverDecision.APPROVE, NOW, NOW)
        status = ends(paused_pod(), before=replace(a_run_under_way().status, answers=(over,))).status
        assert status is not None
        assert (status.phase, status.reason) == (Phase.FAILED, Reason.TOO_MANY_PAUSES)
        assert "HEADRACE_ANSWERS" in (status.message or "")


class TestWaiting:
    def test_nothing_is_written_while_nothing_happens(self) -> None:
        until = UNTIL.isoformat()
        assert looked_at(waiting()) == Decision(reason=Reason.AWAITING_APPROVAL)
        asleep = looked_at(waiting(kind="Sleep", until=until))
        assert asleep == Decision(reason=Reason.SLEEPING, look_again_at=UNTIL)

    def test_its_flow_may_go_and_its_deployment_may_skip_meanwhile(self) -> None:
        """It was accepted, and its work is not thrown away."""
        assert decide(a_snapshot(a_run(status=waiting()), flow=MISSING), LATER).status is None
        first = ObjectKey("team-a", "other")
        for snapshot in (a_snapshot(deployment=SKIPPING), a_snapshot(first=first), a_snapshot(key_is_settled=False)):
            status = resumed(waiting(), YES)
            seen = replace(snapshot, run=a_run(status=status), place=replace(snapshot.place, active=1))
            assert decide(seen, LATER).actions == (LaunchPod(2),)

    def test_an_answer_to_another_pause_is_none(self) -> None:
        assert looked_at(waiting(), replace(YES, name="other")).status is None

    def test_a_sleep_takes_no_answers(self) -> None:
        asleep = waiting(kind="Sleep", until=UNTIL.isoformat())
        assert looked_at(asleep, YES).status is None

    def test_it_can_be_cancelled(self) -> None:
        status = looked_at(waiting(), cancel=True).status
        assert status is not None
        assert (status.phase, status.reason, status.pause) == (Phase.CANCELLED, Reason.CANCELLED, None)

    @pytest.mark.parametrize(
        ("given", "says"),
        [
            pytest.param(None, "input: 'replicas' is a required property", id="nothing"),
            pytest.param({"replicas": "many"}, "input.replicas: 'many' is not of type 'integer'", id="of a wrong type"),
            pytest.param({"replicas": 3, "x": "y" * INPUT_LIMIT}, "bytes of JSON", id="too large"),
        ],
    )
    def test_an_answer_that_does_not_fit_is_told_once_and_another_one_is_waited_for(
        self, given: Any, says: str
    ) -> None:
        """What to do is in the message."""
        asked = waiting(schema=SCHEMA)
        wrong = replace(YES, input=given)
        decision = looked_at(asked, wrong)
        assert decision.status is not None
        assert (decision.status.phase, decision.status.reason) == (Phase.PAUSED, Reason.INVALID_ANSWER)
        assert says in (decision.status.message or "")
        assert "headrace approve etl-1" in (decision.status.message or "")
        assert decision.afterwards == (RecordEvent(Reason.INVALID_ANSWER, decision.status.message or "", warning=True),)
        assert looked_at(decision.status, wrong) == Decision(reason=Reason.INVALID_ANSWER)
        assert resumed(decision.status, replace(YES, input={"replicas": 3})).answers[0].input == {"replicas": 3}

    def test_a_pause_without_a_schema_takes_no_input(self) -> None:
        """What is given by mistake is told, not passed over."""
        decision = looked_at(waiting(), replace(YES, input={"replicas": 3}))
        assert decision.reason == Reason.INVALID_ANSWER

    @pytest.mark.parametrize(
        "schema", [{"type": "no such type"}, {"$ref": "#/$defs/missing"}, {"$ref": "#"}, {"pattern": 1, "required": 1}]
    )
    def test_a_schema_that_cannot_be_applied_refuses_the_answer_and_not_the_operator(self, schema: Any) -> None:
        """It comes out of a pod."""
        decision = looked_at(waiting(schema=schema), replace(YES, input={"replicas": 3}))
        assert decision.reason == Reason.INVALID_ANSWER
        assert looked_at(waiting(schema=schema), NO).reason == Reason.RUN_RESUMED


class TestTheEnd:
    @pytest.mark.parametrize(
        ("answers", "at", "decision"),
        [
            pytest.param((YES,), LATER, OverDecision.APPROVE, id="a yes"),
            pytest.param((NO,), LATER, OverDecision.REJECT, id="a no"),
            pytest.param((), UNTIL, OverDecision.TIMED_OUT, id="no answer in time"),
            pytest.param((YES,), UNTIL, OverDecision.APPROVE, id="an answer that was there in time, seen late"),
        ],
    )
    def test_it_is_written_before_the_next_attempt_starts(
        self, answers: tuple[GivenAnswer, ...], at: Any, decision: OverDecision
    ) -> None:
        """A new operator launches, or finds launched, an attempt that is told the same."""
        over = looked_at(waiting(timeoutSeconds=300), *answers, at=at)
        assert over.status is not None
        assert over.actions == ()
        assert over.status.pause is None
        comment = answers[0].comment if answers else None
        assert over.status.answers == (PastPauseView("deploy", decision, END, at, None, comment),)
        assert (over.status.phase, over.status.reason) == (Phase.RETRYING, Reason.RUN_RESUMED)
        assert over.afterwards == (RecordEvent(Reason.RUN_RESUMED, over.status.message or ""),)
        assert decide(a_snapshot(a_run(status=over.status)), at).actions == (LaunchPod(2),)

    def test_a_sleep_is_over_at_its_time(self) -> None:
        asleep = waiting(kind="Sleep", until=UNTIL.isoformat())
        assert looked_at(asleep, at=UNTIL - timedelta(seconds=1)).status is None
        status = resumed(asleep, at=UNTIL)
        assert status.answers[0].decision is OverDecision.ELAPSED
        assert status.next_attempt_at is None

    def test_a_run_that_is_suspended_then_waits_on(self) -> None:
        """Until the pause is over it waits for that; then for spec.suspend."""
        assert looked_at(waiting(), suspend=True).status is None
        status = looked_at(resumed(waiting(), YES), suspend=True).status
        assert status is not None
        assert (status.phase, status.reason) == (Phase.PAUSED, Reason.SUSPENDED)

    def test_the_next_attempt_is_told_every_pause_that_is_over(self) -> None:
        first = resumed(waiting(schema=SCHEMA), replace(YES, input={"replicas": 3}, comment="ok"))
        assert json.loads(answers_json(first.answers)) == {
            "deploy": {"decision": "Approve", "input": {"replicas": 3}, "comment": "ok"}
        }

    def test_an_answer_that_the_flow_cannot_use_may_be_mended(self) -> None:
        """It keeps to the schema, but the flow's own checks refuse it."""
        odd = replace(YES, input={"replicas": 3})
        answered = resumed(waiting(schema=SCHEMA), odd)
        problem: dict[str, Any] = {"schema": SCHEMA, "problem": "replicas must be even"}
        second = replace(a_pod(ended(76), attempt=2), raw=paused_pod(attempt=2, **problem).raw)
        decision = ends(second, before=answered, answers=(odd,))
        status = decision.status
        assert status is not None
        assert (status.reason, status.answers) == (Reason.INVALID_ANSWER, ())
        assert "replicas must be even" in (status.message or "")
        assert status.pause is not None
        assert status.pause.refused == fingerprint(odd)
        assert looked_at(status, odd).status is None
        assert resumed(status, replace(YES, input={"replicas": 4})).answers[0].input == {"replicas": 4}

    @pytest.mark.parametrize(
        ("state", "said", "phase"),
        [
            pytest.param("Cancelled", "Rejected", Phase.CANCELLED, id="a no"),
            pytest.param("Failed", "ApprovalTimedOut", Phase.FAILED, id="no answer in time"),
        ],
    )
    def test_what_the_flow_makes_nothing_of_ends_the_run_and_is_not_tried_again(
        self, state: str, said: str, phase: Phase
    ) -> None:
        """Another attempt would be told the same."""
        status = ends(a_pod(ended(1, message=report(state, reason=said, message="told")))).status
        assert status is not None
        assert (status.phase, status.reason, status.message) == (phase, said, "told")

"""
Runs whose flow gave its pod back, to wait for a person's answer or for a time.

    Running ──> Paused, status.pause says for what ──> Retrying, status.answers says how it was answered ──> Running …
                  │  ^
                  └──┘ an answer that cannot be taken is told, and waited for once more

All of it is in the status, so that a new operator decides the same. The pause is over when that is written, and not
before: an answer can be mended until then, and counts from then on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Final

import jsonschema
from referencing.exceptions import Unresolvable

from headrace.api.conditions import Phase, Reason
from headrace.api.flowrun import AnswerDecision, OverDecision, PauseKind
from headrace.instants import stamp
from headrace_operator.decide.actions import Decision, RecordEvent
from headrace_operator.decide.conditions import shortened
from headrace_operator.decide.report import PauseReport
from headrace_operator.decide.run_status import not_admitted
from headrace_operator.decide.schema_checks import checker_of, errors_of, schema_error
from headrace_operator.decide.snapshot import GivenAnswer, PastPauseView, PauseView, Run, RunStatus, Snapshot

INPUT_LIMIT: Final = 1024
"""Bytes of JSON of one answer's input: all answers of a run travel in one environment variable."""
SHOWN_ERRORS: Final = 3
GAVE_BACK: Final = "it gave back what it held when it paused; it takes its places again when it goes on"
_STUMBLES = (Unresolvable, RecursionError, jsonschema.SchemaError, AttributeError, KeyError, TypeError, ValueError)
"""What the library raises over a schema that it cannot apply."""


def is_repeated(asked: PauseReport, status: RunStatus) -> bool:
    """Whether the flow pauses where its pause is over, and does not say what is wrong with the answer."""
    return asked.problem is None and any(past.name == asked.name for past in status.answers)


def begun(seen: Snapshot, asked: PauseReport, status: RunStatus, *, since: datetime, now: datetime) -> Decision:
    """
    The attempt is over, and the run waits; it holds no places meanwhile.

    Args:
        status: With the end of the attempt in it.
        since: When the attempt ended: a timeout is counted from then.
    """
    until = asked.until
    if asked.timeout_s is not None:
        until = since + timedelta(seconds=asked.timeout_s)
    pause = PauseView(
        kind=asked.kind,
        name=asked.name,
        since=since,
        message=asked.message or None,
        schema=asked.schema,
        until=_to_the_second(until),
        problem=asked.problem,
        refused=_refused(seen.run, asked),
    )
    waiting = replace(
        not_admitted(status, Reason.PAUSED, GAVE_BACK, now),
        phase=Phase.PAUSED,
        pause=pause,
        # Without the answer that the flow could not use: another one may be given in its place.
        answers=tuple(past for past in status.answers if past.name != asked.name),
        next_attempt_at=pause.until if pause.kind is PauseKind.SLEEP else None,
        observed_generation=seen.run.generation,
    )
    told = _with_words(waiting, seen.run, pause)
    event = RecordEvent(Reason.RUN_PAUSED, told.message or "", warning=pause.problem is not None)
    return Decision(reason=Reason.RUN_PAUSED, status=told, afterwards=(event,), look_again_at=pause.until)


def pauses(seen: Snapshot, now: datetime) -> Decision | None:
    """The flow waits: for its time, or for an answer that can be taken."""
    pause = seen.run.status.pause
    if pause is None:
        return None
    answer = _answer_to(seen.run, pause)
    is_news = answer is not None and fingerprint(answer) != pause.refused
    problem = answer_problem(answer, pause) if answer is not None and is_news else None
    if answer is not None and is_news and problem is None:
        return _over(seen, pause, OverDecision(answer.decision), now, answer=answer)
    if pause.until is not None and now >= pause.until:
        elapsed = pause.kind is PauseKind.SLEEP
        return _over(seen, pause, OverDecision.ELAPSED if elapsed else OverDecision.TIMED_OUT, now)
    if answer is not None and problem is not None:
        return _refusal(seen, replace(pause, problem=shortened(problem), refused=fingerprint(answer)))
    return Decision(reason=_reason(pause), look_again_at=pause.until)


def answer_problem(answer: GivenAnswer, pause: PauseView) -> str | None:
    """Why an answer cannot be taken, in a sentence that names each field that is wrong; None if it can."""
    if answer.decision is AnswerDecision.REJECT:
        return None
    given = answer.input or {}
    if pause.schema is None:
        names = ", ".join(given)
        return f"the pause takes no input, and got {names}; leave it out" if given else None
    size = len(json.dumps(given, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))
    if size > INPUT_LIMIT:
        return f"input is {size:,} bytes of JSON; at most {INPUT_LIMIT:,} are taken: give the URL of what is large"
    return _complaint(pause.schema, given)


def fingerprint(answer: GivenAnswer) -> str:
    """Tells one answer from another one to the same pause."""
    text = json.dumps(asdict(answer), sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def answers_json(answers: Iterable[PastPauseView]) -> str:
    """The pauses that are over, by name, as the next attempt's process gets them."""
    told = {
        past.name: {"decision": past.decision.value}
        | ({"input": dict(past.input)} if past.input else {})
        | ({"comment": past.comment} if past.comment else {})
        for past in answers
    }
    return json.dumps(told, separators=(",", ":"), sort_keys=True, ensure_ascii=False)


def _over(
    seen: Snapshot, pause: PauseView, decision: OverDecision, now: datetime, *, answer: GivenAnswer | None = None
) -> Decision:
    past = PastPauseView(
        name=pause.name,
        decision=decision,
        since=pause.since,
        at=now,
        input=answer.input if answer else None,
        comment=answer.comment if answer else None,
    )
    message = _told_end(past)
    status = replace(
        seen.run.status,
        phase=Phase.RETRYING,
        reason=Reason.RUN_RESUMED,
        message=message,
        pause=None,
        answers=(*(each for each in seen.run.status.answers if each.name != past.name), past),
        next_attempt_at=None,
        observed_generation=seen.run.generation,
    )
    return Decision(reason=Reason.RUN_RESUMED, status=status, afterwards=(RecordEvent(Reason.RUN_RESUMED, message),))


def _told_end(past: PastPauseView) -> str:
    said = {
        OverDecision.APPROVE: "was approved",
        OverDecision.REJECT: "was rejected",
        OverDecision.TIMED_OUT: "was not answered in time",
        OverDecision.ELAPSED: "is over",
    }[past.decision]
    why = f" ({past.comment})" if past.comment else ""
    return f'pause "{past.name}" {said}{why}; the next attempt starts when its turn comes'


def _refusal(seen: Snapshot, pause: PauseView) -> Decision:
    status = _with_words(
        replace(seen.run.status, pause=pause, observed_generation=seen.run.generation), seen.run, pause
    )
    event = RecordEvent(Reason.INVALID_ANSWER, status.message or "", warning=True)
    return Decision(reason=Reason.INVALID_ANSWER, status=status, afterwards=(event,), look_again_at=pause.until)


def _reason(pause: PauseView) -> Reason:
    if pause.kind is PauseKind.SLEEP:
        return Reason.SLEEPING
    return Reason.AWAITING_APPROVAL if pause.problem is None else Reason.INVALID_ANSWER


def _with_words(status: RunStatus, run: Run, pause: PauseView) -> RunStatus:
    """The status with what the pause says of itself, and what to do about it."""
    status = replace(status, reason=_reason(pause))
    until = f" until {stamp(pause.until)}" if pause.until else ""
    if pause.kind is PauseKind.SLEEP:
        return replace(status, message=f'"{pause.name}" sleeps{until}')
    how = f"headrace approve {run.key.name} -n {run.key.namespace}, or headrace reject"
    if pause.problem is not None:
        message = f'the answer to "{pause.name}" cannot be taken: {pause.problem}. Waits{until} for another one: {how}'
        return replace(status, message=shortened(message))
    asks = f": {pause.message}" if pause.message else ""
    message = f'"{pause.name}" waits{until} for an answer{asks} ({how})'
    return replace(status, message=shortened(message))


def _refused(run: Run, asked: PauseReport) -> str | None:
    """The answer that the flow itself could not use, though it keeps to the schema."""
    answer = next((each for each in run.answers if each.name == asked.name), None)
    return fingerprint(answer) if answer is not None and asked.problem is not None else None


def _answer_to(run: Run, pause: PauseView) -> GivenAnswer | None:
    if pause.kind is PauseKind.SLEEP:
        return None
    return next((answer for answer in run.answers if answer.name == pause.name), None)


def _complaint(schema: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    try:
        if problem := schema_error(jsonschema.Draft202012Validator, schema):
            raise jsonschema.SchemaError.create_from(problem)
        # What is skipped here, the model of the flow checks.
        errors = errors_of(checker_of(jsonschema.Draft202012Validator, schema, skips_patterns=True), given)
    except _STUMBLES as error:
        told = getattr(error, "message", error)
        return f"the schema that the flow asks by cannot be applied ({told}); reject, and mend the flow"
    if not errors:
        return None
    more = f"; and {len(errors) - SHOWN_ERRORS} more" if len(errors) > SHOWN_ERRORS else ""
    return "; ".join(map(_told, errors[:SHOWN_ERRORS])) + more


def _told(error: jsonschema.ValidationError) -> str:
    place = ".".join(["input", *(str(part) for part in error.absolute_path)])
    return f"{place}: {error.message}"


def _to_the_second(instant: datetime | None) -> datetime | None:
    """As a status can hold it, and never earlier."""
    if instant is None or not instant.microsecond:
        return instant
    return instant.replace(microsecond=0) + timedelta(seconds=1)

"""What a FlowRun says about its pauses, as deciding reads it. A part that cannot be read counts as absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from headrace.api.flowrun import Answer, PastPause, Pause
from headrace_operator.decide.snapshot import GivenAnswer, PastPauseView, PauseView


def pause_from(value: Mapping[str, Any] | None) -> PauseView | None:
    """What the run waits for: status.pause."""
    if value is None:
        return None
    try:
        pause = Pause.model_validate(value)
    except ValidationError:
        return None
    return PauseView(
        kind=pause.kind,
        name=pause.name,
        since=pause.since,
        message=pause.message,
        schema=pause.schema_,
        until=pause.until,
        problem=pause.problem,
        refused=pause.refused,
    )


def past_pauses_from(values: Sequence[Mapping[str, Any]] | None) -> tuple[PastPauseView, ...]:
    """The pauses that are over: status.answers."""
    found = []
    for value in values or ():
        try:
            past = PastPause.model_validate(value)
        except ValidationError:
            continue
        found.append(PastPauseView(past.name, past.decision, past.since, past.at, past.input, past.comment))
    return tuple(found)


def given_answers_from(values: Sequence[Mapping[str, Any]] | None) -> tuple[GivenAnswer, ...]:
    """What people answered: spec.answers."""
    found = []
    for value in values or ():
        try:
            answer = Answer.model_validate(value)
        except ValidationError:
            continue
        found.append(GivenAnswer(answer.name, answer.decision, answer.input, answer.comment))
    return tuple(found)

"""
Answers to pauses, as the environment hands them on.

    HEADRACE_ANSWERS='{"deploy": {"decision": "Approve", "input": {"replicas": 3}, "comment": "go"}}'

The decision is Approve, Reject, TimedOut, or Elapsed (of a sleep).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from headrace.errors import PauseRejected, PauseTimedOut, UsageError, shown

ANSWERS_ENV: Final = "HEADRACE_ANSWERS"
DECISIONS: Final = frozenset({"Approve", "Reject", "TimedOut", "Elapsed"})
MAX_PROBLEMS: Final = 3


class UnusableAnswer(Exception):
    """The model refuses the input. Attributes: `problems` by field; "" stands for the whole."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems

    def __str__(self) -> str:
        told = [f"{field}: {problem}" if field else problem for field, problem in self.problems.items()]
        more = f"; and {len(told) - MAX_PROBLEMS} more" if len(told) > MAX_PROBLEMS else ""
        return "; ".join(told[:MAX_PROBLEMS]) + more


def answers_from(text: str) -> Mapping[str, Mapping[str, Any]]:
    """
    The answers by the names of their pauses.

    Raises: UsageError: the text is no such JSON.
    """
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if isinstance(found, dict) and all(map(_is_answer, found.values())):
        return found
    raise UsageError(
        f"{ANSWERS_ENV} is {shown(text)}, expected answers by the names of their pauses, such as "
        '{"deploy": {"decision": "Approve", "input": {"replicas": 3}}}'
    )


def outcome_of(name: str, answer: Mapping[str, Any], model: Any) -> Any:
    """
    What a pause that is over returns: the input as the model, None without a model.

    Raises: PauseRejected, PauseTimedOut; UnusableAnswer.
    """
    decision = answer["decision"]
    if decision == "Reject":
        raise PauseRejected(name, str(answer.get("comment") or ""))
    if decision == "TimedOut":
        raise PauseTimedOut(name)
    return None if model is None else validated(model, answer.get("input") or {})


def validated(model: Any, given: Mapping[str, Any]) -> Any:
    """The input as the model. Raises: UnusableAnswer."""
    from pydantic import ValidationError  # noqa: PLC0415 - who passes a model has loaded it

    try:
        return model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        problems = {".".join(map(str, each["loc"])): each["msg"] for each in error.errors(include_url=False)}
        raise UnusableAnswer(problems) from error


def _is_answer(value: object) -> bool:
    if not isinstance(value, dict) or value.get("decision") not in DECISIONS:
        return False
    return isinstance(value.get("input") or {}, dict)

"""What a flow pauses for, as its termination message tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from headrace.errors import UsageError, shown
from headrace.instants import milliseconds
from headrace.secrecy.redaction import redacted

NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
MAX_NAME: Final = 63
MAX_MESSAGE_BYTES: Final = 600
MAX_SCHEMA_BYTES: Final = 2048
"""With a message of full length it fits into a termination message, which has 4,096."""
MAX_PROBLEM: Final = 300
MAX_TIMEOUT_S: Final = 10 * 366 * 24 * 3600.0

_OF_SCHEMAS = frozenset({"properties", "$defs"})
"""Keywords whose values are schemas by names of the author's."""


@dataclass(frozen=True, slots=True)
class PauseRequest:
    """
    A pause that nobody has answered yet.

    Args:
        schema: JSON Schema of the input that is asked for. None: only a yes or no.
        timeout_s: How long an answer is waited for. None: without end.
        until: When a sleep is over; aware.
        problem: Why the answer that was given cannot be used.
    """

    kind: Literal["Approval", "Sleep"]
    name: str
    message: str = ""
    schema: Mapping[str, Any] | None = None
    timeout_s: float | None = None
    until: datetime | None = None
    problem: str | None = None

    def __str__(self) -> str:
        if self.until is not None:
            return f'"{self.name}" sleeps until {milliseconds(self.until)}'
        asks = f": {self.message}" if self.message else ""
        return f'"{self.name}" waits for an answer{asks}'

    def told(self) -> dict[str, Any]:
        """As JSON, with the names of docs/pod-contract.md; what is absent is left out."""
        fields = {
            "kind": self.kind,
            "name": self.name,
            "message": self.message or None,
            "schema": self.schema,
            "timeoutSeconds": self.timeout_s,
            "until": self.until and milliseconds(self.until),
            "problem": self.problem and redacted(self.problem)[:MAX_PROBLEM],
        }
        return {key: value for key, value in fields.items() if value is not None}


def checked_name(name: str) -> str:
    """The name. Raises: UsageError: an answer could not carry it."""
    if isinstance(name, str) and len(name) <= MAX_NAME and NAME.fullmatch(name):
        return name
    raise UsageError(
        f"a pause cannot have the name {shown(name)}: letters, digits, '-', '_' and '.', at most {MAX_NAME}, the first "
        'and the last a letter or digit, such as name="deploy"'
    )


def checked_message(message: str) -> str:
    """The message. Raises: UsageError: it is no text, or too long."""
    if not isinstance(message, str):
        raise UsageError(f'pause({shown(message)}): expected the question as text, such as pause("deploy?")')
    size = len(json.dumps(message, ensure_ascii=False).encode("utf-8", "replace"))
    if size > MAX_MESSAGE_BYTES:
        raise UsageError(
            f"the message of a pause has {size:,} bytes, at most {MAX_MESSAGE_BYTES} are carried: write the details to "
            "the log or an artifact, and link to them"
        )
    return message


def checked_timeout(timeout_s: float | None) -> float | None:
    """The timeout in seconds. Raises: UsageError: it is no time to wait."""
    if timeout_s is None:
        return None
    if isinstance(timeout_s, bool) or not isinstance(timeout_s, int | float) or not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise UsageError(
            f"timeout_seconds={shown(timeout_s)}: expected a number above 0 and at most {MAX_TIMEOUT_S:g} (ten years)"
        )
    return float(timeout_s)


def schema_of(model: Any) -> dict[str, Any]:
    """
    The JSON Schema by which an answer is checked before a pod is started for it.

    Raises: UsageError: it is no pydantic model, one of its types has no JSON, or it is too large.
    """
    from pydantic import BaseModel  # noqa: PLC0415 - who passes a model has loaded it
    from pydantic.errors import PydanticInvalidForJsonSchema  # noqa: PLC0415 - as above

    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise UsageError(
            f"wait_for_input={shown(model)}: expected a pydantic model, such as class Approval(BaseModel): replicas: int"
        )
    try:
        schema: dict[str, Any] = without_titles(model.model_json_schema())
    except PydanticInvalidForJsonSchema as error:
        raise UsageError(f"wait_for_input={model.__name__}: nobody can type that as JSON: {error.message}") from error
    size = len(json.dumps(schema, ensure_ascii=False).encode("utf-8", "replace"))
    if size > MAX_SCHEMA_BYTES:
        raise UsageError(
            f"wait_for_input={model.__name__}: its JSON Schema has {size:,} bytes, at most {MAX_SCHEMA_BYTES:,} are carried: "
            "ask for fewer fields, or in several pauses"
        )
    return schema


def without_titles(schema: Any) -> Any:
    """The schema without what repeats the names of its fields."""
    if isinstance(schema, list):
        return [without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: value for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    return {
        key: {name: without_titles(each) for name, each in value.items()}
        if key in _OF_SCHEMAS and isinstance(value, dict)
        else without_titles(value)
        for key, value in kept.items()
    }

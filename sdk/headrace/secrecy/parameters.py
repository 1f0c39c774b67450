"""
Parameters that are secret: those whose type hints hold pydantic's SecretStr, SecretBytes or Secret.

The parameters of a FlowRun are plain in the API, so a run names a Secret in place of its text, and the pod looks it up:

    {"secretRef": {"name": "postgres", "key": "password"}}
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic import Secret as SecretOf

from headrace.mounts.secret import REFERENCE, is_reference, referenced
from headrace.secrecy.redaction import register

TYPES: Final = (SecretStr, SecretBytes, SecretOf)
EXAMPLE: Final = '{"secretRef": {"name": "postgres", "key": "password"}}'
REFERENCE_SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        REFERENCE: {
            "type": "object",
            "properties": {"name": {"type": "string"}, "key": {"type": "string"}},
            "required": ["name", "key"],
            "additionalProperties": False,
        }
    },
    "required": [REFERENCE],
    "additionalProperties": False,
}


def holds_secret(hint: Any) -> bool:
    """Whether values of this type are secret, or have parts that are."""
    seen: list[Any] = []
    waiting = [hint]
    while waiting:
        each = waiting.pop()
        if isinstance(each, type) and issubclass(each, TYPES):
            return True
        if each not in seen:
            seen.append(each)
            waiting += [get_origin(each), *get_args(each), *_fields(each)]
    return False


def resolved(value: Any) -> Any:
    """JSON types with the text of each secret in place of its name. Raises: UsageError: it is not here."""
    if is_reference(value):
        return referenced(value)
    if isinstance(value, dict):
        return {key: resolved(entry) for key, entry in value.items()}
    return [resolved(entry) for entry in value] if isinstance(value, list) else value


def has_reference(value: Any) -> bool:
    """Whether the value names a secret anywhere."""
    if isinstance(value, dict):
        return is_reference(value) or any(map(has_reference, value.values()))
    return isinstance(value, list) and any(map(has_reference, value))


def has_secret(value: Any) -> bool:
    """Whether the value holds a SecretStr, SecretBytes or Secret anywhere."""
    return next(_secrets_in(value), None) is not None


def register_all(value: Any) -> None:
    """Has the process show none of the secrets in the value."""
    for secret in _secrets_in(value):
        register(secret if isinstance(secret, str | bytes) else str(secret))


def with_references(schema: Any) -> Any:
    """The JSON Schema, with the name of a secret allowed wherever it asks for the text of one."""
    if isinstance(schema, list):
        return [with_references(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("writeOnly") is True and "anyOf" not in schema:
        return {"anyOf": [schema, REFERENCE_SCHEMA], "writeOnly": True}
    return {key: with_references(each) for key, each in schema.items()}


def _fields(hint: Any) -> Iterator[Any]:
    if not isinstance(hint, type):
        return
    if issubclass(hint, BaseModel):
        yield from (field.annotation for field in hint.model_fields.values())
    elif dataclasses.is_dataclass(hint) or is_typeddict(hint):
        try:
            yield from get_type_hints(hint, include_extras=True).values()
        except NameError:  # names that only a type checker knows: pydantic could not fill them either
            return


def _secrets_in(value: Any) -> Iterator[Any]:
    if isinstance(value, TYPES):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        yield from _secrets_in(list(vars(value).values()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _secrets_in([getattr(value, field.name) for field in dataclasses.fields(value)])
    elif isinstance(value, Mapping):
        yield from _secrets_in(list(value.values()))
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _secrets_in(each)

"""
JSON Schemas of users, applied in bounded time: one that never comes to an end would stop the operator for everybody.

Python's regular expressions try what may match again and again: `^(a+)+$` takes hours for forty characters. Those of
pydantic take time in proportion to the text, and know no look-around and no back references. References are counted, as
a few of them that each name the next one twice are followed a billion times.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, Final

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema
from referencing.jsonschema import EMPTY_REGISTRY

MOST_REFERENCES: Final = 100_000
"""Followed in one check; that takes some seconds, and a list of so many items fits into no parameters."""
_FOLLOWED: Final[ContextVar[list[None]]] = ContextVar("followed")

Errors = Iterator[jsonschema.ValidationError]
Keyword = Callable[[Any, Any, Any, Any], Errors]


class Unbounded(ValueError):
    """The schema cannot be applied in bounded time; the text says why."""


def checker_of(cls: type[Validator], schema: Mapping[str, Any], *, skips_patterns: bool = False) -> Validator:
    """
    What validates by the schema, one check after the other by errors_of().

    Args:
        skips_patterns: Patterns that cannot be applied in bounded time count as met; else the check raises.
    Raises: Unbounded.
    """
    text = json.dumps(schema)
    if '"unevaluatedProperties"' in text and '"patternProperties"' in text:
        raise Unbounded("unevaluatedProperties and patternProperties do not go together; write additionalProperties")
    # An explicit registry: without one, jsonschema would fetch a $ref that is a URL.
    bounded = _bounded(cls, skips_patterns=skips_patterns)
    checker: Validator = bounded(schema, format_checker=cls.FORMAT_CHECKER, registry=EMPTY_REGISTRY)
    return checker


def errors_of(checker: Validator, value: Any) -> list[jsonschema.ValidationError]:
    """What is wrong with the value, by place. Raises: Unbounded; what jsonschema raises over a schema."""
    token = _FOLLOWED.set([])
    try:
        return sorted(checker.iter_errors(value), key=lambda error: error.json_path)
    finally:
        _FOLLOWED.reset(token)


@lru_cache(maxsize=32)
def _bounded(cls: type[Validator], *, skips_patterns: bool) -> Any:
    matches = partial(_matches, skips_patterns=skips_patterns)
    keywords: dict[str, Keyword] = {
        "pattern": partial(_pattern, matches),
        "patternProperties": partial(_pattern_properties, matches),
        "additionalProperties": partial(_additional_properties, matches, cls.VALIDATORS["additionalProperties"]),
    }
    followed = [name for name in ("$ref", "$dynamicRef", "$recursiveRef") if name in cls.VALIDATORS]
    extended: Any = extend  # it has no types
    return extended(cls, {**keywords, **{name: partial(_counted, cls.VALIDATORS[name]) for name in followed}})


Matches = Callable[[str, str], bool]


def _pattern(matches: Matches, _validator: Any, pattern: str, value: Any, _schema: Any) -> Errors:
    if isinstance(value, str) and not matches(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    matches: Matches, validator: Any, patterns: Mapping[str, Any], value: Any, _schema: Any
) -> Errors:
    if isinstance(value, dict):
        for pattern, schema in patterns.items():
            for name in value:
                if matches(pattern, name):
                    yield from validator.descend(value[name], schema, path=name, schema_path=pattern)


def _additional_properties(  # noqa: PLR0917 - as jsonschema calls its keywords
    matches: Matches, usual: Keyword, validator: Any, wanted: Any, value: Any, schema: Any
) -> Errors:
    patterns = schema.get("patternProperties")
    if patterns and isinstance(value, dict):
        value = {name: each for name, each in value.items() if not any(matches(one, name) for one in patterns)}
        schema = {**schema, "patternProperties": {}}
    yield from usual(validator, wanted, value, schema)


def _counted(usual: Keyword, validator: Any, name: str, value: Any, schema: Any) -> Errors:  # noqa: PLR0917 - as above
    followed = _FOLLOWED.get()
    followed.append(None)
    if len(followed) > MOST_REFERENCES:
        raise Unbounded(f"its references lead to each other more than {MOST_REFERENCES:,} times")
    yield from usual(validator, name, value, schema)


def _matches(pattern: str, text: str, *, skips_patterns: bool) -> bool:
    expression = _expression(pattern)
    if expression is None:
        if skips_patterns:
            return True
        raise Unbounded(f"the pattern {pattern!r} has look-around or back references, or is too large")
    try:
        expression.validate_python(text)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=1024)
def _expression(pattern: str) -> SchemaValidator | None:
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None

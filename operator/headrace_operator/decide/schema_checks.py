"""
JSON Schemas of users, applied in bounded time: one that never comes to an end would stop the operator for everybody.

A small schema asks for any amount of work: references that name each other, 20,000 alternatives for each of 18,000
items, a text that is quoted in as many complaints. So each keyword tells before it is applied what it will take, in
steps of about a microsecond, and a check that takes more than MOST_STEPS is broken off. The same schema and value take
the same number of steps everywhere.

Not applied at all: `unevaluatedItems` and `unevaluatedProperties`, for which the library follows references by itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache, partial, partialmethod
from itertools import islice
from typing import Any, Final

import jsonschema
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from referencing.jsonschema import EMPTY_REGISTRY

from headrace_operator.decide.patterns import UnboundedPattern, matches, states_of, steps_to_prepare

MOST_STEPS: Final = 500_000
"""Of one check: about half a second. A list of 1,500 objects of four fields takes a third of it."""
MOST_STEPS_OF_SCHEMA: Final = 800_000
"""To find out whether it is a schema, once for each: it may have 1,000 properties of four keywords."""
TOO_MUCH: Final = (
    "it takes too much work to apply; write a simpler one, or pass the URL of a large input instead of the input"
)
VALUE_WEIGHT: Final = 16
"""What a value counts for, in characters of text, beside its own."""
WEIGHT_A_STEP: Final = 100
"""Is quoted in a complaint within one step."""
COMPARED_A_STEP: Final = 32
SORTED_OUT_A_STEP: Final = 8
PARSED: Final = 4
"""For each character of a regular expression."""
MATCHED_A_STEP: Final = 32
"""Characters times states of a pattern."""
KEYWORD: Final = 2
ERROR: Final = 10
DESCENT: Final = 8
"""To apply one schema to one value."""
_SINGLE_VALUES: Final = {"required", "enum", "const", "type"}
"""Keywords whose lists hold no schemas."""
_REFERENCES: Final = {"$ref", "$dynamicRef", "$recursiveRef"}
_NAMES_PARTS: Final = re.compile(r'[{ ]"(\$id|id|\$anchor|\$dynamicAnchor|\$recursiveAnchor)": ["t]')
"""A part of a schema that can be referred to by a name of its own."""

Errors = Iterator[jsonschema.ValidationError]
Keyword = Callable[[Any, Any, Any, Any], Errors | None]


class Unbounded(ValueError):
    """The schema cannot be applied in bounded time; the text says why."""


@dataclass(frozen=True, slots=True)
class Checker:
    """
    What validates by a schema.

    Args:
        search: Steps to find what a reference names; above 0 where the library looks through the whole schema for it.
    """

    validator: Validator
    search: int


@dataclass(slots=True)
class _Account:
    """
    What one check may take, and has taken.

    Args:
        left: Steps that it may take yet.
        search: As a Checker has it.
        weights: By the id of a value, which is kept beside so that no other value gets its id.
        patterns: Those that were prepared.
    """

    left: int
    search: int
    weights: dict[int, tuple[Any, int]] = field(default_factory=dict)
    patterns: set[str] = field(default_factory=set)


_ACCOUNT: Final[ContextVar[_Account]] = ContextVar("account")


def schema_error(cls: type[Validator], schema: Any) -> jsonschema.ValidationError | None:
    """Why this is no schema of the class's draft, None if it is one. Raises: Unbounded."""
    checker = Checker(_validator(cls, cls.META_SCHEMA), search=0)
    return next(iter(_errors(checker, schema, _Account(MOST_STEPS_OF_SCHEMA, search=0), limit=1)), None)


def checker_of(cls: type[Validator], schema: Mapping[str, Any], *, skips_patterns: bool = False) -> Checker:
    """
    What validates by the schema, one check after the other by errors_of().

    Args:
        skips_patterns: Patterns that cannot be applied in bounded time count as met; else the check raises.
    Raises: Unbounded.
    """
    text = json.dumps({name: each for name, each in schema.items() if name not in {"$id", "id"}})
    for name, instead in (("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", "items")):
        if f'"{name}"' in text:
            raise Unbounded(f"{name} cannot be applied in bounded time; write {instead}")
    search = len(text) if _NAMES_PARTS.search(text) else 0
    return Checker(_validator(cls, schema, skips_patterns=skips_patterns), search)


def errors_of(checker: Checker, value: Any) -> list[jsonschema.ValidationError]:
    """What is wrong with the value, by place. Raises: Unbounded; what jsonschema raises over a schema."""
    # Not by json_path: it is a text, and a long name would be in as many as there are complaints below it.
    found = _errors(checker, value, _Account(MOST_STEPS, checker.search))
    return sorted(found, key=lambda error: list(error.absolute_path))


def _errors(
    checker: Checker, value: Any, account: _Account, *, limit: int | None = None
) -> list[jsonschema.ValidationError]:
    token = _ACCOUNT.set(account)
    try:
        return list(islice(checker.validator.iter_errors(value), limit))
    finally:
        _ACCOUNT.reset(token)


def _validator(cls: type[Validator], schema: Mapping[str, Any], *, skips_patterns: bool = False) -> Validator:
    bounded = _bounded(cls, skips_patterns=skips_patterns)
    # An explicit registry: without one, jsonschema would fetch a $ref that is a URL.
    validator: Validator = bounded(schema, format_checker=cls.FORMAT_CHECKER, registry=EMPTY_REGISTRY)
    return validator


@lru_cache(maxsize=32)
def _bounded(cls: type[Validator], *, skips_patterns: bool) -> Any:
    applies = partial(_matches, skips_patterns=skips_patterns)
    keywords: dict[str, Keyword] = {
        **cls.VALIDATORS,
        "pattern": partial(_pattern, applies),
        "patternProperties": partial(_pattern_properties, applies),
        "additionalProperties": partial(_additional_properties, applies, cls.VALIDATORS["additionalProperties"]),
        "uniqueItems": _unique_items,
    }
    extended: Any = extend  # it has no types
    bounded = extended(cls, {name: partial(_counted, name, keyword) for name, keyword in keywords.items()})
    bounded.evolve = partialmethod(_evolved, bounded.evolve)
    return bounded


def _evolved(self: Any, usual: Callable[..., Any], **changes: Any) -> Any:
    """A part that names a draft is applied as the rest is: the library would take its own keywords, which count nothing."""
    schema = changes.get("schema")
    if isinstance(schema, dict) and "$schema" in schema:
        changes["schema"] = {name: each for name, each in schema.items() if name != "$schema"}
    return usual(self, **changes)


Matches = Callable[[str, str], bool]


def _pattern(applies: Matches, _validator: Any, pattern: str, value: Any, _schema: Any) -> Errors:
    if isinstance(value, str) and not applies(pattern, value):
        yield jsonschema.ValidationError(f"{value!r} does not match {pattern!r}")


def _pattern_properties(
    applies: Matches, validator: Any, patterns: Mapping[str, Any], value: Any, _schema: Any
) -> Errors:
    if isinstance(value, dict):
        for pattern, schema in patterns.items():
            for name in value:
                if applies(pattern, name):
                    yield from validator.descend(value[name], schema, path=name, schema_path=pattern)


def _additional_properties(  # noqa: PLR0917 - as jsonschema calls its keywords
    applies: Matches, usual: Keyword, validator: Any, wanted: Any, value: Any, schema: Any
) -> Errors | None:
    patterns = schema.get("patternProperties")
    if patterns and isinstance(value, dict):
        value = {name: each for name, each in value.items() if not any(applies(one, name) for one in patterns)}
        schema = {**schema, "patternProperties": {}}
    return usual(validator, wanted, value, schema)


def _unique_items(_validator: Any, wanted: Any, value: Any, _schema: Any) -> Errors:
    """The library compares each with each where they cannot be sorted."""
    if wanted and isinstance(value, list):
        _spend(_weight(value) // SORTED_OUT_A_STEP)
        if len({_canonical(item) for item in value}) < len(value):
            yield jsonschema.ValidationError(f"{value!r} has non-unique elements")


def _canonical(value: Any) -> Any:
    """Equal for values that are equal in JSON: 1 and 1.0 are, 1 and true are not."""
    if isinstance(value, dict):
        return "object", frozenset((name, _canonical(each)) for name, each in value.items())
    if isinstance(value, list):
        return "array", *map(_canonical, value)
    return isinstance(value, bool), value


def _counted(name: str, usual: Keyword, validator: Any, wanted: Any, value: Any, schema: Any) -> Errors:  # noqa: PLR0917 - as above
    _spend(_steps(name, wanted, value))
    return map(_counted_error, usual(validator, wanted, value, schema) or ())  # no generator: the stack has an end


def _counted_error(error: jsonschema.ValidationError) -> jsonschema.ValidationError:
    """On its way up each keyword around it adds to where it is."""
    _spend(ERROR)
    return error


def _steps(name: str, wanted: Any, value: Any) -> int:
    """What a keyword takes, without the keywords of the schemas in it."""
    if name in _REFERENCES:
        return DESCENT + len(str(wanted)) + _ACCOUNT.get().search
    weight = _weight(value)
    if name == "format":
        return KEYWORD + weight * (PARSED if wanted == "regex" else 1)
    if name in _SINGLE_VALUES:
        return KEYWORD + _weight(wanted) // COMPARED_A_STEP + weight // WEIGHT_A_STEP
    schemas = len(wanted) if isinstance(wanted, list) else 1
    return KEYWORD + _descents(wanted, value) + (_weight(wanted) + weight * schemas) // WEIGHT_A_STEP


def _descents(wanted: Any, value: Any) -> int:
    if isinstance(wanted, list):
        return DESCENT * len(wanted)
    if isinstance(wanted, (dict, bool)) and isinstance(value, (dict, list)):
        return len(value) * (DESCENT if isinstance(wanted, dict) else 1)
    return 0


def _weight(value: Any) -> int:
    """About how long it is as text; each value is weighed once in a check."""
    if isinstance(value, str):
        return VALUE_WEIGHT + len(value)
    if not isinstance(value, (dict, list)):
        return VALUE_WEIGHT
    weights = _ACCOUNT.get().weights
    held = weights.get(id(value))
    if held is None:
        parts = value if isinstance(value, list) else [*value, *value.values()]
        held = weights[id(value)] = value, VALUE_WEIGHT + sum(map(_weight, parts))
    return held[1]


def _spend(steps: int) -> None:
    account = _ACCOUNT.get()
    account.left -= steps
    if account.left < 0:
        raise Unbounded(TOO_MUCH)


def _matches(pattern: str, text: str, *, skips_patterns: bool) -> bool:
    prepared = _ACCOUNT.get().patterns
    if pattern not in prepared:
        prepared.add(pattern)
        _spend(PARSED * len(pattern))
        _spend(steps_to_prepare(pattern))
    _spend(KEYWORD + states_of(pattern) * len(text) // MATCHED_A_STEP)
    try:
        return matches(pattern, text)
    except UnboundedPattern:
        if skips_patterns:
            return True
        raise Unbounded(f"the pattern {pattern!r} has look-around or back references, or is too large") from None

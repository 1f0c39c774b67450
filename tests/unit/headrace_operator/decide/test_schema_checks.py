"""Schemas of users are applied in bounded time, whatever is in them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from headrace_operator.decide.schema_checks import Unbounded, checker_of, errors_of

FOREVER = r"^(a+)+$"
TEXT = "a" * 60 + "!"
LOOKS_AHEAD = r"^(?=a)a+$"


def complaints(schema: dict[str, Any], value: Any, *, skips_patterns: bool = False) -> list[str]:
    checker = checker_of(jsonschema.Draft202012Validator, schema, skips_patterns=skips_patterns)
    return [error.message for error in errors_of(checker, value)]


@pytest.mark.parametrize(
    ("schema", "value", "told"),
    [
        ({"pattern": FOREVER}, TEXT, f"'{TEXT}' does not match '^(a+)+$'"),
        ({"propertyNames": {"pattern": FOREVER}}, {TEXT: 1}, f"'{TEXT}' does not match '^(a+)+$'"),
        ({"patternProperties": {"^x": {"type": "string"}}}, {"x1": 1, "y": 1}, "1 is not of type 'string'"),
        ({"patternProperties": {FOREVER: {}}, "additionalProperties": False}, {TEXT: 1}, TEXT),
    ],
    ids=["a text", "a name", "entries by their names", "entries that no name allows"],
)
def test_patterns_take_no_longer_than_the_text(schema: dict[str, Any], value: Any, told: str) -> None:
    """Python's own would take years for these."""
    (found,) = complaints(schema, value)
    assert told in found


def test_what_patterns_allow_is_allowed() -> None:
    """As jsonschema does it: anywhere in the text, and beside the properties that are named."""
    schema = {"properties": {"n": {"type": "integer"}}, "patternProperties": {"^x": {}}, "additionalProperties": False}
    assert complaints(schema, {"n": 1, "x1": None}) == []
    assert complaints({"pattern": "b"}, "abc") == []
    assert complaints({"pattern": "b"}, 3) == []


def test_a_pattern_that_cannot_be_bounded_is_refused_or_skipped() -> None:
    """Look-around, for one."""
    with pytest.raises(Unbounded, match="look-around"):
        complaints({"pattern": LOOKS_AHEAD}, "b")
    assert complaints({"pattern": LOOKS_AHEAD}, "b", skips_patterns=True) == []


def test_references_that_multiply_come_to_an_end() -> None:
    """Forty definitions, each of which is the next one twice."""
    steps = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}
    with pytest.raises(Unbounded, match="more than 100,000 times"):
        complaints({"$ref": "#/$defs/d0", "$defs": {**steps, "d40": {}}}, 1)


def test_evaluated_entries_are_not_told_by_patterns() -> None:
    """The library would look for them by Python's expressions."""
    with pytest.raises(Unbounded, match="additionalProperties"):
        complaints({"unevaluatedProperties": False, "patternProperties": {FOREVER: {}}}, {})

"""Schemas of users are applied in bounded time, whatever is in them."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from headrace_operator.decide.schema_checks import Unbounded, checker_of, errors_of, schema_error

FOREVER = r"^(a+)+$"
TEXT = "a" * 60 + "!"
TEXT_NAMES = {f"n{n}": 1 for n in range(5_000)}
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
    with pytest.raises(Unbounded, match="too much work"):
        complaints({"$ref": "#/$defs/d0", "$defs": {**steps, "d40": {}}}, 1)


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        pytest.param({"items": {"allOf": [{}] * 5_000}}, [1] * 18_000, id="many schemas for many items"),
        pytest.param({"items": {"enum": list(range(5_000))}}, ["x"] * 18_000, id="many values for many items"),
        pytest.param({"anyOf": [False] * 20_000}, "x" * 90_000, id="many complaints that quote a long text"),
        pytest.param({"items": {"const": ["x" * 90_000]}}, [1] * 18_000, id="many complaints that quote the schema"),
        pytest.param({"items": {"type": "string"}}, [[[1] * 18_000]] * 1_000, id="complaints about many large items"),
        pytest.param({"dependentRequired": {"x": ["y"] * 100_000}}, {"x": 1}, id="many complaints of one keyword"),
        pytest.param({"patternProperties": {f"a{n}": {} for n in range(5_000)}}, TEXT_NAMES, id="patterns and names"),
        pytest.param({"pattern": "[ab]*a[ab]{10000}c"}, "ab" * 40_000, id="a pattern of many states"),
        pytest.param({"pattern": "([ab]*a([ab]{100}){100})c"}, "ab" * 40_000, id="states within each other"),
        pytest.param({"allOf": [{"pattern": rf"\w{{150}}{n}"} for n in range(20)]}, "x", id="patterns that are large"),
        pytest.param({"pattern": "(?x) [ab]{ # [\n 100}"}, "ab", id="a pattern with blanks and comments"),
        pytest.param(
            {"items": {"$ref": "#name"}, "$defs": {"a": {"$anchor": "name"}, **{f"d{n}": {} for n in range(1_000)}}},
            [1] * 9_000,
            id="names that are looked for in all of the schema",
        ),
    ],
)
def test_what_takes_too_much_work_is_broken_off(schema: dict[str, Any], value: Any) -> None:
    """Each of these took from seconds to hours."""
    with pytest.raises(Unbounded, match="too much work"):
        complaints(schema, value)


def test_ordinary_schemas_are_applied_to_all_that_fits_into_parameters() -> None:
    """A list of objects, with the keywords that people use."""
    row = {
        "type": "object",
        "required": ["id", "name"],
        "properties": {
            "id": {"type": "integer", "minimum": 0},
            "name": {"type": "string", "pattern": "^[a-z0-9]{1,63}$", "maxLength": 63},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "day": {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
        },
        "additionalProperties": False,
    }
    rows = [{"id": n, "name": f"name{n}", "note": None, "day": "2026-01-01"} for n in range(1_500)]
    assert complaints({"items": {"$ref": "#/$defs/row"}, "$defs": {"row": row}}, rows) == []


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([{}, *range(18_000)], True),
        ([{}, 1, 1.0], False),
        ([[1], {"a": [1.0]}, {"a": [1]}], False),
        ([1, True, "1", None, 0, False, [1], [True], {"1": 1}, {"1": True}], True),
        (["a", "a"], False),
        ([[], {}], True),
    ],
    ids=["many kinds", "numbers", "within each other", "that only look equal", "texts", "empty ones"],
)
def test_items_are_told_apart_as_json_does(items: list[Any], unique: bool) -> None:
    """In one go over them, whatever they are."""
    assert (complaints({"uniqueItems": True}, items) == []) is unique
    assert complaints({"uniqueItems": False}, items) == []


def test_a_part_of_another_draft_is_bounded_as_the_rest() -> None:
    """The library would apply it by keywords of its own."""
    other = {"$schema": "http://json-schema.org/draft-07/schema#", "pattern": FOREVER}
    (told,) = complaints({"items": other, "not": {"contains": other}}, [TEXT])
    assert "does not match" in told
    with pytest.raises(Unbounded):
        complaints({"$ref": "http://json-schema.org/draft-07/schema#"}, {"allOf": [{}] * 40_000})


@pytest.mark.parametrize("draft", [3, 4, 6, 7, 201909, 202012])
def test_what_is_a_schema_is_found_out_in_bounded_time(draft: int) -> None:
    """By the schema of each draft."""
    cls = getattr(jsonschema, f"Draft{draft}Validator")
    assert schema_error(cls, {"properties": {"a": {"type": "string", "pattern": "^a"}}}) is None
    assert schema_error(cls, {"properties": {"a": {"type": "strnig"}}}) is not None or draft == 3  # any name is a type
    with pytest.raises(Unbounded):
        schema_error(cls, {"properties": {f"p{n}": {"type": "string"} for n in range(100_000)}})


def test_lists_in_a_schema_are_told_apart_in_bounded_time() -> None:
    """The library would compare each with each."""
    error = schema_error(jsonschema.Draft202012Validator, {"required": [{}, *range(20_000)]})
    assert error is not None


@pytest.mark.parametrize(
    ("name", "instead"), [("unevaluatedProperties", "additionalProperties"), ("unevaluatedItems", "items")]
)
def test_what_is_left_over_is_not_looked_for(name: str, instead: str) -> None:
    """The library follows references for it, and counts nothing."""
    with pytest.raises(Unbounded, match=f"{name} cannot be applied in bounded time; write {instead}"):
        complaints({"allOf": [{name: False}]}, {})

"""Forms from schemas: what is left alone stays as it was, and what nobody can keep is refused."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from headrace_dashboard.pages.schema_form import BadField, filled, inputs, is_as_shown

FIELD = re.compile(r'<(?:input name="field\.x" type="text" value="([^"]*)"|textarea name="field\.x"[^>]*>\n([^<]*)<)')
"""What follows the first line feed of a textarea is its value, as a parser has it."""


def schema(**form: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": form}}


def untouched(value: Any, **form: Any) -> Any:
    """What a browser sends of the form of a value, as it is read: each end of a line in two characters."""
    found = FIELD.search(inputs(schema(**form), {"x": value}))
    assert found, inputs(schema(**form), {"x": value})
    sent = html.unescape(found[1] or found[2] or "")
    assert found[1] is None or "\n" not in sent, "an input has one line"
    return filled(schema(**form), {"field.x": sent.replace("\n", "\r\n")})["x"]


@pytest.mark.parametrize("text", ["one", "select a\nfrom b", "\n\n  indented\n", "a\r\nb", "a\rb", '</textarea>"\n'])
def test_a_text_that_is_left_alone_stays_as_it_was(text: str) -> None:
    """With all its lines; of those of other systems, it is known to be the same."""
    assert is_as_shown(text, untouched(text, type="string"))
    if "\r" not in text:
        assert untouched(text, type="string") == text


@pytest.mark.parametrize("value", ["text", "7", "null", '"in quotes"', [1, {"a": "b\nc"}], {"a": 1.5}, "two\nlines"])
def test_a_field_that_takes_anything_keeps_its_kind(value: Any) -> None:
    """A text that looks like a number is a text still."""
    assert untouched(value) == value


def test_the_default_of_a_question_keeps_its_lines() -> None:
    shown = inputs(schema(type="string", default="dear all,\nit works"))
    assert "<textarea" in shown
    assert "dear all,\nit works</textarea>" in shown


def test_what_is_changed_is_told_from_what_is_not() -> None:
    assert not is_as_shown("a\nb", "a b")
    assert not is_as_shown("7", 7)


@pytest.mark.parametrize("kind", ["integer", "number", None])
@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(str(2**63), "whole numbers", id="a whole number that is too large"),
        pytest.param(str(-(2**63) - 1), "whole numbers", id="one that is too small"),
        pytest.param("9" * 10_000, "whole numbers", id="one that Python does not read"),
        pytest.param("1e999", "at most", id="a number beyond all that there are"),
        pytest.param("[" * 100_000, "deep", id="lists in lists"),
        pytest.param(f"{'[' * 500}{']' * 500}", "deep", id="lists that are sent nowhere"),
        pytest.param('"\\ud800"', "half a character", id="half a character"),
    ],
)
def test_what_nobody_can_keep_is_refused(kind: str | None, text: str, told: str) -> None:
    """Its text is short, whatever was sent."""
    with pytest.raises(BadField, match=told) as refused:
        filled(schema(type=kind), {"field.x": text})
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "many"])
def test_what_is_no_json_is_refused_where_it_has_to_be(text: str) -> None:
    with pytest.raises(BadField, match="expected JSON"):
        filled(schema(type="number"), {"field.x": text})


@pytest.mark.parametrize("text", ["hunter2", "9" * 30])
def test_a_secret_that_is_refused_is_not_told(text: str) -> None:
    with pytest.raises(BadField, match="found a text") as refused:
        filled(schema(type="string", writeOnly=True), {"field.x": text})
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"), [(str(2**63 - 1), 2**63 - 1), (str(-(2**63)), -(2**63)), ("1e3", 1000.0), ("-0.5", -0.5)]
)
def test_numbers_are_read(text: str, value: float) -> None:
    assert filled(schema(type="number"), {"field.x": text}) == {"x": value}

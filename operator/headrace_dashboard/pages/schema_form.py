"""A form from a JSON Schema, and what was filled in as JSON. The operator has the last word on whether it fits."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from headrace_dashboard.pages.html import Html, join, tag

PREFIX: Final = "field."
"""Of the names of inputs: what a schema calls its fields must not collide with ours."""
MOST_LINES: Final = 20
"""Of a field as it is shown at first."""
LEAST_INTEGER: Final = -(2**63)
MOST_INTEGER: Final = 2**63 - 1
"""What the API server keeps as a whole number."""
SHOWN: Final = 60
"""Characters of what cannot be read."""
YES: Final = "true"
NO: Final = "false"


@dataclass(frozen=True, slots=True)
class BadField(Exception):
    """A field cannot be read. `name` is the field's, `problem` what was expected."""

    name: str
    problem: str

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"


def inputs(schema: Mapping[str, Any], values: Mapping[str, Any] | None = None) -> Html:
    """An input a field, in the schema's order; `values` stand in them at first."""
    required = schema.get("required") or ()
    given = values or {}
    return join(
        _labelled(name, _form(form, schema), given.get(name), is_required=name in required)
        for name, form in _properties(schema).items()
    )


def filled(schema: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, Any]:
    """
    What was filled in, by field; empty inputs of optional fields are left out.

    Raises: BadField.
    """
    required = schema.get("required") or ()
    found: dict[str, Any] = {}
    for name, form in _properties(schema).items():
        text = _lines(given.get(PREFIX + name, ""))
        if text.strip() or (name in required and _is_text(_form(form, schema))):
            found[name] = _value(name, _form(form, schema), text)
    return found


def is_as_shown(before: Any, given: Any) -> bool:
    """Whether a field was left as it stood there at first: a browser has one way to end a line, whatever the value has."""
    if isinstance(before, str) and isinstance(given, str):
        return _lines(before) == given
    return bool(before == given)


def _lines(text: str) -> str:
    """Lines end with a line feed: a browser sends two characters for each."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _properties(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _form(form: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one form of a field: references are followed, and null is what an empty input says."""
    if not isinstance(form, Mapping):
        return {}
    name = str(form.get("$ref") or "").removeprefix("#/$defs/")
    named = (schema.get("$defs") or {}).get(name)
    if isinstance(named, Mapping):
        return {**named, **{key: value for key, value in form.items() if key != "$ref"}}
    others = [each for each in form.get("anyOf") or () if isinstance(each, Mapping) and each.get("type") != "null"]
    if len(others) == 1:
        return {**_form(others[0], schema), **{key: value for key, value in form.items() if key != "anyOf"}}
    return form


def _labelled(name: str, form: Mapping[str, Any], value: Any, *, is_required: bool) -> Html:
    shown = form.get("default") if value is None else value
    note = str(form.get("description") or "")
    words = join((name, tag("em", " required") if is_required else None))
    return tag(
        "label",
        tag("span", words),
        _input(name, form, shown, is_required=is_required),
        tag("small", note) if note else None,
    )


def _input(name: str, form: Mapping[str, Any], value: Any, *, is_required: bool) -> Html:
    key = PREFIX + name
    options = form.get("enum")
    if isinstance(options, list) and options:
        return _choice(
            key, [(json.dumps(each), str(each)) for each in options], json.dumps(value), optional=not is_required
        )
    kind = form.get("type")
    if kind == "boolean":
        return _choice(key, [(YES, "Yes"), (NO, "No")], json.dumps(value), optional=not is_required)
    if kind in {"integer", "number"}:
        step = "1" if kind == "integer" else "any"
        bounds = {"min": form.get("minimum"), "max": form.get("maximum")}
        return tag("input", name=key, type="number", step=step, value=_plain(value), required=is_required, **bounds)
    if _is_secret(form):
        return tag(
            "input", name=key, placeholder='{"secretRef": {"name": "…", "key": "…"}}', required=is_required,
            value=_plain(value) if isinstance(value, Mapping) else None, autocomplete="off",
        )  # fmt: skip
    if kind == "string" and "\n" not in _lines(str(value)):
        named = {"date": "date", "email": "email", "uri": "url"}.get(str(form.get("format")), "text")
        return tag("input", name=key, type=named, value=_plain(value), maxlength=form.get("maxLength"))
    return _text_area(key, form, value, is_required=is_required and kind != "string")


def _text_area(key: str, form: Mapping[str, Any], value: Any, *, is_required: bool) -> Html:
    """For texts of several lines, of which an input would keep one, and for JSON."""
    text = _lines((_plain(value) if form.get("type") == "string" else _unlike_json(value)) or "")
    rows = min(max(3, text.count("\n") + 1), MOST_LINES)
    # A parser leaves out the first line feed: that is ours, and the text keeps its own.
    shown, most = f"\n{text}", form.get("maxLength")
    return tag("textarea", shown, name=key, rows=rows, required=is_required, maxlength=most, spellcheck="false")


def _choice(key: str, options: list[tuple[str, str]], chosen: str, *, optional: bool) -> Html:
    known = [("", "-"), *options] if optional or chosen == "null" else options
    return tag(
        "select",
        *(tag("option", words, value=value, selected=value == chosen and chosen != "null") for value, words in known),
        name=key,
    )


def _value(name: str, form: Mapping[str, Any], text: str) -> Any:
    if _is_text(form):
        return text
    try:
        return _from_json(text)
    except (ValueError, OverflowError) as error:
        if _is_secret(form):  # what was typed is told to nobody
            raise BadField(name, 'expected {"secretRef": {"name": "…", "key": "…"}}, found a text') from None
        if isinstance(error, OverflowError):
            raise BadField(name, str(error)) from None
        if form.get("type") in {None, "string"}:
            return text
        raise BadField(name, f"expected JSON ({form.get('type')}), found {text[:SHOWN]!r}") from None


def _from_json(text: str) -> Any:
    """
    What the API server will keep as it is.

    Raises: ValueError: it is no JSON. OverflowError: it is, of what nobody keeps; its text says which.
    """
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_constant)
        orjson.dumps(value)  # as it will be sent
    except (RecursionError, orjson.JSONEncodeError):
        raise OverflowError("it is nested too deeply, or has half a character") from None
    return value


def _integer(text: str) -> int:
    # The length first: Python reads no more than some thousand digits.
    if len(text) > len(str(LEAST_INTEGER)) or not LEAST_INTEGER <= int(text) <= MOST_INTEGER:
        raise OverflowError(f"expected whole numbers from {LEAST_INTEGER} to {MOST_INTEGER}, found {text[:SHOWN]}")
    return int(text)


def _number(text: str) -> float:
    if math.isinf(float(text)):
        raise OverflowError(f"expected numbers of at most {sys.float_info.max:.3g}, found {text[:SHOWN]}")
    return float(text)


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is no JSON")


def _is_text(form: Mapping[str, Any]) -> bool:
    return form.get("type") == "string" and "enum" not in form and not _is_secret(form)


def _is_secret(form: Mapping[str, Any]) -> bool:
    return form.get("writeOnly") is True


def _unlike_json(value: Any) -> str | None:
    """For a field that takes JSON or a text: a text that would be read as JSON is in quotes."""
    if isinstance(value, str):
        with suppress(ValueError, RecursionError):
            json.loads(value)
            return json.dumps(value, ensure_ascii=False)
    return _plain(value)


def _plain(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

"""A form from a JSON Schema, and what was filled in as JSON. The operator has the last word on whether it fits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace_dashboard.pages.html import Html, join, tag

PREFIX: Final = "field."
"""Of the names of inputs: what a schema calls its fields must not collide with ours."""
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
        text = given.get(PREFIX + name, "")
        if text.strip() or (name in required and _is_text(_form(form, schema))):
            found[name] = _value(name, _form(form, schema), text)
    return found


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
    if kind == "string":
        named = {"date": "date", "email": "email", "uri": "url"}.get(str(form.get("format")), "text")
        return tag("input", name=key, type=named, value=_plain(value), maxlength=form.get("maxLength"))
    return tag("textarea", _plain(value) or "", name=key, rows=3, required=is_required, spellcheck="false")


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
        return json.loads(text)
    except ValueError:
        if form.get("type") in {None, "string"} and not _is_secret(form):
            return text
        expected = '{"secretRef": {"name": "…", "key": "…"}}' if _is_secret(form) else f"JSON ({form.get('type')})"
        raise BadField(name, f"expected {expected}, found {'a text' if _is_secret(form) else repr(text)}") from None


def _is_text(form: Mapping[str, Any]) -> bool:
    return form.get("type") == "string" and "enum" not in form and not _is_secret(form)


def _is_secret(form: Mapping[str, Any]) -> bool:
    return form.get("writeOnly") is True


def _plain(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

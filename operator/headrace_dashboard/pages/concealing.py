"""Parameters without what is secret in them: what the Flow's schema marks as `writeOnly`, or as a password."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

MASK: Final = "••••••"
REFERENCE: Final = "secretRef"
DEEPEST: Final = 40


def concealed(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, with a mask in place of each secret; the name of a Secret is none."""
    return {name: _concealed(value, _property(schema, name), schema, 0) for name, value in values.items()}


def _concealed(value: Any, form: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    forms = list(_alternatives(form, root, 0))
    if any(each.get("writeOnly") is True or each.get("format") == "password" for each in forms):
        return value if _is_reference(value) else MASK
    if depth > DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {name: _within(each, [_property(f, name) for f in forms], root, depth) for name, each in value.items()}
    if isinstance(value, list):
        return [_within(each, [_items(f) for f in forms], root, depth) for each in value]
    return value


def _within(value: Any, forms: list[Mapping[str, Any]], root: Mapping[str, Any], depth: int) -> Any:
    """A part that may have several forms: it is secret if it is in any of them."""
    return _concealed(value, {"anyOf": forms}, root, depth + 1)


def _alternatives(form: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Iterator[Mapping[str, Any]]:
    """The form, and those that it may take or refers to."""
    if depth > DEEPEST:
        return
    yield form
    name = str(form.get("$ref") or "").removeprefix("#/$defs/").removeprefix("#/definitions/")
    named = (root.get("$defs") or root.get("definitions") or {}).get(name)
    parts = [named, *(part for key in ("anyOf", "oneOf", "allOf") for part in form.get(key) or ())]
    for part in parts:
        if isinstance(part, Mapping):
            yield from _alternatives(part, root, depth + 1)


def _property(form: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    others = form.get("additionalProperties")
    found = (form.get("properties") or {}).get(name, others)
    return found if isinstance(found, Mapping) else {}


def _items(form: Mapping[str, Any]) -> Mapping[str, Any]:
    found = form.get("items")
    return found if isinstance(found, Mapping) else {}


def _is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {REFERENCE}

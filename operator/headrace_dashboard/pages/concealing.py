"""Parameters without what is secret in them: what the Flow's schema marks as `writeOnly`, or as a password."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

MASK: Final = "••••••"
REFERENCE: Final = "secretRef"
DEEPEST: Final = 40
SECRET: Final[Mapping[str, Any]] = {"writeOnly": True}
ALL_SECRET: Final[Mapping[str, Any]] = {"additionalProperties": SECRET}
"""The schema of parameters that nobody knows the schema of."""


def concealed(values: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, with a mask in place of each secret; the name of a Secret is none."""
    forms = list(_alternatives(schema, schema, set()))
    return {name: _within(value, _properties(forms, name), schema, 0) for name, value in values.items()}


def _concealed(value: Any, form: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    forms = list(_alternatives(form, root, set()))
    if any(each.get("writeOnly") is True or each.get("format") == "password" for each in forms):
        return value if _is_reference(value) else MASK
    if depth > DEEPEST:
        return MASK
    if isinstance(value, Mapping):
        return {name: _within(each, _properties(forms, name), root, depth) for name, each in value.items()}
    if isinstance(value, list):
        return [_within(each, [_item(f, place) for f in forms], root, depth) for place, each in enumerate(value)]
    return value


def _within(value: Any, forms: list[Mapping[str, Any]], root: Mapping[str, Any], depth: int) -> Any:
    """A part that may have several forms: it is secret if it is in any of them."""
    return _concealed(value, {"anyOf": forms}, root, depth + 1)


def _alternatives(
    form: Mapping[str, Any], root: Mapping[str, Any], seen: set[str], depth: int = 0
) -> Iterator[Mapping[str, Any]]:
    """The form, and those that it may take or refers to, each reference once."""
    if depth > DEEPEST:
        yield SECRET
        return
    yield form
    parts = [part for key in ("anyOf", "oneOf", "allOf") for part in form.get(key) or ()]
    parts += [form.get(key) for key in ("if", "then", "else")]
    reference = form.get("$ref")
    if reference is not None and reference not in seen:
        seen.add(reference)
        parts.append(_referred(str(reference), root))
    for part in parts:
        if isinstance(part, Mapping):
            yield from _alternatives(part, root, seen, depth + 1)


def _referred(reference: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the schema leads to; whatever leads elsewhere may be secret."""
    start, *parts = reference.split("/")
    found: Any = root if start == "#" else None
    for part in parts:
        found = found.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else SECRET


def _properties(forms: Iterable[Mapping[str, Any]], name: str) -> list[Mapping[str, Any]]:
    """Forms of what stands under a name. No pattern is tried out, as people write them: what any of them says may be meant."""
    found: list[Any] = []
    for form in forms:
        named = form.get("properties") or {}
        found.append(named[name] if name in named else form.get("additionalProperties"))
        found += (form.get("patternProperties") or {}).values()
    return [each for each in found if isinstance(each, Mapping)]


def _item(form: Mapping[str, Any], place: int) -> Mapping[str, Any]:
    """The form of a list's item, which may be one for its place."""
    others = form.get("items")
    first = form.get("prefixItems") or (others if isinstance(others, list) else [])
    found = first[place] if place < len(first) else form.get("additionalItems", others)
    return found if isinstance(found, Mapping) else {}


def _is_reference(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {REFERENCE}

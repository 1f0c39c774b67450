"""Label and field selectors, as the API takes them in a query."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from headrace.kubeapi.errors import Invalid

Object = Mapping[str, Any]
Picks = Callable[[Object], bool]

_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")
_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")


@cache
def label_selector(text: str) -> Picks:
    """Whether an object's labels fit. Raises: Invalid: it cannot be read."""
    terms = [_label_term(term.strip()) for term in _OUTSIDE_PARENTHESES.split(text) if term.strip()]
    return lambda obj: all(term(obj["metadata"].get("labels") or {}) for term in terms)


def _label_term(term: str) -> Callable[[Mapping[str, str]], bool]:
    if found := _SET.match(term):
        key, how, values = found[1], found[2], {value.strip() for value in found[3].split(",")}
        if how == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if "!=" in term:
        key, _, value = term.partition("!=")
        return lambda labels: labels.get(key) != value
    if "=" in term:
        key, _, value = term.replace("==", "=").partition("=")
        return lambda labels: labels.get(key) == value
    if term.startswith("!"):
        return lambda labels: term[1:] not in labels
    return lambda labels: term in labels


@cache
def field_selector(text: str, known: frozenset[str]) -> Picks:
    """
    Whether an object's fields fit; an absent one is "".

    Args:
        known: Paths that may be named beside name and namespace.
    Raises: Invalid: another one is named.
    """
    equal: dict[tuple[str, ...], str] = {}
    unequal: dict[tuple[str, ...], set[str]] = {}
    for term in text.split(","):
        path, _, value = term.replace("==", "=").partition("=")
        name = path.rstrip("!")
        if name not in {"metadata.name", "metadata.namespace"} | known:
            raise Invalid(400, "BadRequest", f'field label not supported: "{name}"')
        steps = tuple(name.split("."))
        if path.endswith("!"):
            unequal.setdefault(steps, set()).add(value)
        else:
            equal[steps] = value

    def picks(obj: Object) -> bool:
        return all(_field(obj, path) == value for path, value in equal.items()) and all(
            _field(obj, path) not in values for path, values in unequal.items()
        )

    return picks


def _field(obj: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        obj = obj.get(step)
        if obj is None:
            return ""
    return obj

"""Patches. What is handed in is never changed; what did not change is shared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.kubeapi.errors import Invalid


def merged(old: Any, change: Any) -> Any:
    """RFC 7396, a JSON merge patch."""
    if not isinstance(change, dict):
        return change
    base = dict(old) if isinstance(old, dict) else {}
    for name, value in change.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = merged(base.get(name), value)
    return base


def patched(obj: Any, operations: Sequence[Mapping[str, Any]]) -> Any:
    """RFC 6902, a JSON patch of the operations test, add, replace and remove. Raises: Invalid: one fails."""
    for operation in operations:
        steps = [step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]]
        obj = _at(obj, steps, operation)
    return obj


def _at(node: Any, steps: list[str], operation: Mapping[str, Any]) -> Any:
    """The node with what the operation makes of what is below it."""
    step, below = steps[0], steps[1:]
    if isinstance(node, list):
        return _in_list(node, step, below, operation)
    if not isinstance(node, dict):
        raise _refused(operation)
    if below:
        if step not in node:
            raise _refused(operation)
        child = _at(node[step], below, operation)
        return node if child is node[step] else {**node, step: child}
    return _in_mapping(node, step, operation)


def _in_mapping(node: dict[str, Any], step: str, operation: Mapping[str, Any]) -> dict[str, Any]:
    what = operation["op"]
    if what == "add" or (what == "replace" and step in node):
        return {**node, step: operation["value"]}
    if what == "remove" and step in node:
        return {name: value for name, value in node.items() if name != step}
    if what == "test" and node.get(step) == operation["value"]:
        return node
    raise _refused(operation)


def _in_list(node: list[Any], step: str, below: list[str], operation: Mapping[str, Any]) -> list[Any]:
    what = operation["op"]
    if step == "-" and what == "add" and not below:
        return [*node, operation["value"]]
    index = int(step) if step.isdigit() else len(node) + 1
    if index > len(node) or (index == len(node) and (below or what != "add")):
        raise _refused(operation)
    if below:
        return [*node[:index], _at(node[index], below, operation), *node[index + 1 :]]
    if what == "test":
        if node[index] != operation["value"]:
            raise _refused(operation)
        return node
    new = [] if what == "remove" else [operation["value"]]
    return [*node[:index], *new, *node[index + (what != "add") :]]


def _refused(operation: Mapping[str, Any]) -> Invalid:
    text = f"the server rejected our request due to an error in our request: {operation['op']} {operation['path']}"
    return Invalid(422, "Invalid", text)

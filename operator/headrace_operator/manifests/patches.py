"""
The smallest patch that turns one status into another.

A JSON patch, not a merge patch: parameters and results may hold nulls, which a merge patch would drop.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

JsonPatch = list[dict[str, Any]]


def status_changes(before: Mapping[str, Any], after: Mapping[str, Any], *, resource_version: int) -> JsonPatch | None:
    """
    A JSON patch for the status subresource, None when nothing changed.

    Args:
        before: The status as it was read; fields that `after` does not name are removed. Empty: there is none.
        resource_version: What the change rests on; the API refuses the patch if the object has changed since.
    """
    changed = {name: value for name, value in after.items() if name not in before or before[name] != value}
    removed = [name for name in before if name not in after]
    if not changed and not removed:
        return None
    patch: JsonPatch = [{"op": "replace", "path": "/metadata/resourceVersion", "value": str(resource_version)}]
    if not before:
        return [*patch, {"op": "add", "path": "/status", "value": changed}]
    patch += [{"op": "add", "path": f"/status/{name}", "value": value} for name, value in changed.items()]
    patch += [{"op": "remove", "path": f"/status/{name}"} for name in removed]
    return patch

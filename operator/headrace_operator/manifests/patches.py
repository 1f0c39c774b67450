"""The smallest merge patch that turns one status into another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def status_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], *, resource_version: int | None = None
) -> dict[str, Any] | None:
    """
    A merge patch for the status subresource, None when nothing changed.

    Args:
        before: The status as it was read; fields that `after` does not name are removed.
        resource_version: What the change rests on; the API refuses the patch if the object has changed since.
    """
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    removed = {key: None for key in before if key not in after}
    if not changed and not removed:
        return None
    # A merge patch merges maps: a map that changed is replaced by nulling what it no longer has.
    patch: dict[str, Any] = {"status": {key: _replacing(before.get(key), value) for key, value in changed.items()}}
    patch["status"].update(removed)
    if resource_version is not None:
        patch["metadata"] = {"resourceVersion": str(resource_version)}
    return patch


def _replacing(before: Any, after: Any) -> Any:
    if not isinstance(before, Mapping) or not isinstance(after, Mapping):
        return after
    kept = {key: _replacing(before.get(key), value) for key, value in after.items()}
    return {**kept, **{key: None for key in before if key not in after}}

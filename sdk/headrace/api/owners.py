"""How an object names the one that it goes with when that is deleted."""

from __future__ import annotations

from typing import Any

from headrace.api.keys import API_VERSION


def owner_reference(kind: str, name: str, uid: str, *, api_version: str = API_VERSION) -> dict[str, Any]:
    """That of the controlling owner, whose own deletion need not wait for what it owns."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }

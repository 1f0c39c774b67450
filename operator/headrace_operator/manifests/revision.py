"""A Flow's revision: its spec under the hash of its content, and the ConfigMap of its inline files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from headrace.api import keys
from headrace.api.owners import owner_reference

HASH_CHARACTERS = 10


def revision_of(spec: Mapping[str, Any]) -> str:
    """The content hash of a Flow's spec, as the API returns it: equal specs have equal revisions."""
    canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:HASH_CHARACTERS]


def revision_name(flow: str, revision: str) -> str:
    """The name of the ControllerRevision and of the ConfigMap."""
    return f"{flow}-{revision}"


def controller_revision(flow: Mapping[str, Any], revision: str) -> dict[str, Any]:
    """The ControllerRevision that keeps this spec for as long as runs or Deployments name it."""
    metadata = flow["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": _metadata(
            metadata, revision, owner=owner_reference(keys.FLOWS.kind, metadata["name"], metadata["uid"])
        ),
        "data": {"spec": flow["spec"]},
        "revision": metadata["generation"],
    }


def code_config_map(stored: Mapping[str, Any], flow: Mapping[str, Any], revision: str) -> dict[str, Any] | None:
    """The inline files, immutable, owned by the stored ControllerRevision so that both go together; None without."""
    inline = (flow["spec"].get("source") or {}).get("inline")
    if inline is None:
        return None
    name, uid = stored["metadata"]["name"], stored["metadata"]["uid"]
    owner = owner_reference("ControllerRevision", name, uid, api_version="apps/v1")
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(flow["metadata"], revision, owner=owner),
        "immutable": True,
        "data": dict(inline["files"]),
    }


def _metadata(flow: Mapping[str, Any], revision: str, *, owner: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": revision_name(flow["name"], revision),
        "namespace": flow["namespace"],
        "labels": {
            keys.MANAGED_BY_LABEL: keys.MANAGED_BY,
            keys.FLOW_LABEL: flow["name"],
            keys.REVISION_LABEL: revision,
        },
        "ownerReferences": [owner],
    }

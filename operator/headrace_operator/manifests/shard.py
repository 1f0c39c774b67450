"""The Leases by which replicas share the namespaces: names, and what is written into them."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from headrace.api.keys import COUNTS_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, OPERATOR_LABEL
from headrace.instants import microseconds

SHARD: Final = "headrace-operator-shard-"
MEMBER: Final = "headrace-operator-member-"
"""How the names of these Leases begin."""
LONGEST_NAME: Final = 253


def ring_identity(count: int) -> str:
    """Who holds the leader's Lease while shards are in use: all replicas of this number of shards together."""
    return f"{count}-shards"


def shard_name(shard: int) -> str:
    """The name of a shard's Lease."""
    return f"{SHARD}{shard}"


def shard_index(name: str) -> int | None:
    """The shard whose Lease has this name; None for another Lease."""
    index = name.removeprefix(SHARD)
    return int(index) if name.startswith(SHARD) and index.isdigit() else None


def member_name(identity: str) -> str:
    """The name of a replica's Lease: its identity, with a hash where that is no name."""
    plain = re.sub(r"[^a-z0-9-]", "-", identity.lower()).strip("-")
    if plain != identity or len(MEMBER + plain) > LONGEST_NAME:
        plain = f"{plain[:180]}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}".lstrip("-")
    return MEMBER + plain


def member_labels() -> dict[str, str]:
    """By which replicas find each other."""
    return {OPERATOR_LABEL: "member", MANAGED_BY_LABEL: MANAGED_BY}


def new_shard(shard: int, holder: str, *, lease_s: float, now: datetime) -> dict[str, Any]:
    """A shard's Lease that was not there yet, held."""
    labels = {OPERATOR_LABEL: "shard", MANAGED_BY_LABEL: MANAGED_BY}
    metadata = {"name": shard_name(shard), "labels": labels}
    return {"metadata": metadata, "spec": _spec(holder, 0, lease_s, now)}


def held_by(lease: Mapping[str, Any], holder: str, *, lease_s: float, now: datetime) -> dict[str, Any]:
    """The Lease with another holder; refused if it is not the version that was read any more."""
    spec = lease.get("spec") or {}
    return {**lease, "spec": {**spec, **_spec(holder, int(spec.get("leaseTransitions") or 0) + 1, lease_s, now)}}


def vacated(lease: Mapping[str, Any]) -> dict[str, Any]:
    """The Lease, held by nobody; refused if it is not the version that was read any more."""
    return {**lease, "spec": {**(lease.get("spec") or {}), "holderIdentity": ""}}


def telling(holder: str, counts: str, *, is_first: bool) -> list[dict[str, Any]]:
    """
    The patch that tells what a shard counts, refused if another one holds it.

    Args:
        is_first: The Lease has no annotations yet.
    """
    path = "/metadata/annotations/" + COUNTS_ANNOTATION.replace("~", "~0").replace("/", "~1")
    value: dict[str, Any] = {"op": "add", "path": path, "value": counts}
    if is_first:
        value = {"op": "add", "path": "/metadata/annotations", "value": {COUNTS_ANNOTATION: counts}}
    return [{"op": "test", "path": "/spec/holderIdentity", "value": holder}, value]


def counts_of(lease: Mapping[str, Any]) -> str:
    """What a shard's holder told last; "" for nothing."""
    return str((lease["metadata"].get("annotations") or {}).get(COUNTS_ANNOTATION) or "")


def giving_up(holder: str, lease: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The patch that frees a Lease, refused if another one holds it, or the same one anew: it may come late."""
    transitions = (lease.get("spec") or {}).get("leaseTransitions")
    return [
        {"op": "test", "path": "/spec/holderIdentity", "value": holder},
        *([] if transitions is None else [{"op": "test", "path": "/spec/leaseTransitions", "value": transitions}]),
        {"op": "replace", "path": "/spec/holderIdentity", "value": ""},
    ]


def _spec(holder: str, transitions: int, lease_s: float, now: datetime) -> dict[str, Any]:
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": math.ceil(lease_s),
        "acquireTime": microseconds(now),
        "leaseTransitions": transitions,
    }

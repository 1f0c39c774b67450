"""The Leases of a ConcurrencyLimit: as they are made, and the patches that change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from headrace import slots
from headrace.api.keys import MANAGED_BY, MANAGED_BY_LABEL
from headrace.slots import Rate
from headrace_operator.decide.leases import RateLease, Slot
from headrace_operator.manifests.patches import JsonPatch


def free_slot(limit: str, index: int, *, namespace: str, duration_s: int) -> dict[str, Any]:
    """
    A slot that nobody holds.

    Args:
        duration_s: Seconds after which a task that holds it, and does not renew it, loses it.
    """
    notes = {slots.DURATION_ANNOTATION: str(duration_s)}
    return _lease(limit, slots.slot_name(limit, index), namespace, notes)


def rate_lease(limit: str, rate: Rate, *, namespace: str) -> dict[str, Any]:
    """Where starts are noted; none is yet."""
    return _lease(limit, slots.rate_name(limit), namespace, {slots.RATE_ANNOTATION: str(rate)})


def taking(slot: Slot, holder: str, now: datetime) -> dict[str, Any]:
    """The merge patch by which a run takes a free slot, refused if the slot has changed."""
    return slots.taking(_as_read(slot.version, {"leaseTransitions": slot.transitions}), holder, now)


def giving_back(slot: Slot) -> JsonPatch:
    """The patch that frees a slot, refused if its holding is another one by now; a renewal does no harm."""
    return slots.giving_back(slot.holder, slot.transitions)


def taking_back(slot: Slot) -> JsonPatch:
    """The patch that frees a slot whose holder is gone, refused if anything about it has changed: that one may be alive."""
    unchanged = {"op": "replace", "path": "/metadata/resourceVersion", "value": str(slot.version)}
    return [unchanged, *slots.giving_back(slot.holder, slot.transitions)]


def noting(lease: RateLease, starts_ms: Sequence[int]) -> dict[str, Any]:
    """The merge patch that notes starts, refused if others were noted meanwhile."""
    return slots.noting(_as_read(lease.version, {}), starts_ms)


def annotating(version: int, notes: Mapping[str, str | None]) -> dict[str, Any]:
    """The merge patch that sets annotations, or removes those that are None; refused if the Lease has changed."""
    return {"metadata": {"resourceVersion": str(version), "annotations": dict(notes)}}


def _as_read(version: int, spec: Mapping[str, Any]) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": str(version)}, "spec": spec}


def _lease(limit: str, name: str, namespace: str, notes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {slots.LIMIT_LABEL: limit, MANAGED_BY_LABEL: MANAGED_BY},
            "annotations": dict(notes),
        },
        "spec": {},
    }

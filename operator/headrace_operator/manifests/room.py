"""The Lease in which shards book the capacity of a WorkPool."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from headrace.api.keys import BOOKINGS_ANNOTATION, MANAGED_BY, MANAGED_BY_LABEL, OPERATOR_LABEL
from headrace_operator.decide.reservations import Booking

ROOM: Final = "headrace-operator-pool-"
"""How the names of these Leases begin."""


def room_name(pool: str) -> str:
    """The name of a pool's Lease."""
    return ROOM + pool


def pool_of_room(name: str) -> str:
    """The pool whose Lease has this name."""
    return name.removeprefix(ROOM)


def new_room(pool: str, bookings: Mapping[str, Booking]) -> dict[str, Any]:
    """A pool's Lease that was not there yet."""
    labels = {OPERATOR_LABEL: "pool", MANAGED_BY_LABEL: MANAGED_BY}
    return {
        "metadata": {"name": room_name(pool), "labels": labels, "annotations": _note(bookings)},
        "spec": {},
    }


def booking(version: int, bookings: Mapping[str, Booking]) -> dict[str, Any]:
    """The merge patch that tells all bookings, refused if somebody has booked meanwhile."""
    return {"metadata": {"resourceVersion": str(version), "annotations": _note(bookings)}}


def bookings_of(lease: Mapping[str, Any]) -> dict[str, Booking]:
    """What each shard has booked. What cannot be read is none: its shard books anew what it uses."""
    text = (lease["metadata"].get("annotations") or {}).get(BOOKINGS_ANNOTATION) or "{}"
    try:
        told = json.loads(text)
        return {name: _booking(each) for name, each in told.items()}
    except (ValueError, TypeError, AttributeError, InvalidOperation):
        return {}


def _booking(told: Mapping[str, Any]) -> Booking:
    room = {unit: Decimal(amount) for unit, amount in (told.get("room") or {}).items()}
    since_ms = told.get("hungrySince")
    return Booking(room, bool(told.get("wants")), None if since_ms is None else int(since_ms))


def _note(bookings: Mapping[str, Booking]) -> dict[str, str]:
    told = {name: _told(each) for name, each in sorted(bookings.items())}
    return {BOOKINGS_ANNOTATION: json.dumps(told, separators=(",", ":"))}


def _told(each: Booking) -> dict[str, Any]:
    told: dict[str, Any] = {
        "room": {unit: format(amount.normalize(), "f") for unit, amount in sorted(each.room.items())}
    }
    if each.wants:
        told["wants"] = True
    if each.hungry_since_ms is not None:
        told["hungrySince"] = each.hungry_since_ms
    return told

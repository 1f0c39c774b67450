"""Instants as `metav1.Time` and `metav1.MicroTime` write them."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(instant: datetime) -> str:
    """RFC 3339 in UTC, to the second, as the API server's own fields are."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def microseconds(instant: datetime) -> str:
    """RFC 3339 in UTC, to the microsecond, as Leases have it."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

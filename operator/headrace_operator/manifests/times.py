"""Instants as `metav1.Time` writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(instant: datetime) -> str:
    """RFC 3339 in UTC, to the second, as the API server's own fields are."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

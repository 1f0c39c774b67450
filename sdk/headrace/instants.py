"""Instants as the API, Leases, records and events have them: RFC 3339 in UTC with a Z. Instants are aware; what they have beyond is cut off."""

from __future__ import annotations

from datetime import UTC, datetime


def stamp(instant: datetime) -> str:
    """To the second, as `metav1.Time` is written: "2026-01-31T07:00:00Z". Raises: OverflowError: UTC has no date for it."""
    return _text(instant, "seconds")


def milliseconds(instant: datetime) -> str:
    """To the millisecond: "2026-01-31T07:00:00.000Z". Raises: as stamp."""
    return _text(instant, "milliseconds")


def microseconds(instant: datetime) -> str:
    """To the microsecond, as `metav1.MicroTime` is written, which Leases have: "2026-01-31T07:00:00.000000Z". Raises: as stamp."""
    return _text(instant, "microseconds")


def exact(instant: datetime) -> str:
    """With microseconds if it has any, else to the second. Raises: as stamp."""
    return _text(instant, "auto")


def _text(instant: datetime, to: str) -> str:
    return instant.astimezone(UTC).isoformat(timespec=to).removesuffix("+00:00") + "Z"

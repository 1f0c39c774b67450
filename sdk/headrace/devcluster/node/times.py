"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.instants import microseconds, stamp


def now() -> str:
    """This instant, to the second: `2026-01-31T07:00:00Z`."""
    return stamp(datetime.now(UTC))


def now_precise() -> str:
    """This instant, to the microsecond, as Leases and logs have it."""
    return microseconds(datetime.now(UTC))


def parse(text: str) -> datetime:
    """The aware instant that Kubernetes wrote. Raises: ValueError."""
    return datetime.fromisoformat(text)

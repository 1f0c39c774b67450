"""Times as Kubernetes writes them."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """This instant, to the second: `2026-01-31T07:00:00Z`."""
    return stamp(datetime.now(UTC))


def now_precise() -> str:
    """This instant, to the microsecond, as Leases and logs have it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def stamp(instant: datetime) -> str:
    """An instant, to the second."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(text: str) -> datetime:
    """The aware instant that Kubernetes wrote. Raises: ValueError."""
    return datetime.fromisoformat(text)

"""
How long results are kept: `HEADRACE_RESULTS_TTL_SECONDS`, from `spec.results.ttlSeconds` of the Flow.

The first line of each object says when it expires; from then on it counts as absent, until somebody prunes it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from headrace import instants
from headrace.errors import UsageError, shown

VARIABLE: Final = "HEADRACE_RESULTS_TTL_SECONDS"
MAX_HEAD: Final = 65536
"""Bytes of the first line of an object, at most."""


def ttl_s(variables: Mapping[str, str] = os.environ) -> int | None:
    """Seconds that a result is kept from when it is stored; None: for ever. Raises: UsageError: the variable has no such value."""
    text = variables.get(VARIABLE, "")
    if not text:
        return None
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"{VARIABLE} is {shown(text)}, expected a whole number of seconds from 1")


def stamp(at_s: float) -> str:
    """The moment as the first line of an object tells it: RFC 3339, UTC, whole seconds, none too early."""
    return instants.stamp(datetime.fromtimestamp(-(-at_s // 1), UTC))


def expiry_s(start: bytes) -> float | None:
    """
    When an object expires, in seconds since 1970; None: never.

    Args:
        start: The object, or as much of it as holds its first line. What is no object of headrace never expires.
    """
    head = start[: max(start.find(b"\n", 0, MAX_HEAD), 0)]
    if b'"expires"' not in head:
        return None
    try:
        return datetime.fromisoformat(json.loads(head)["expires"]).timestamp()
    except (ValueError, KeyError, TypeError):
        return None


def has_expired(start: bytes, now_s: float) -> bool:
    """Whether the object that begins so counts as absent by now."""
    expiry = expiry_s(start)
    return expiry is not None and expiry <= now_s

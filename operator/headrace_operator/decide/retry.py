"""When a failed attempt is tried again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta

from headrace.api.common import RetryPolicy
from headrace.api.conditions import Reason
from headrace_operator.decide.snapshot import Attempt

INFRASTRUCTURE_REASONS: frozenset[str] = frozenset(
    {
        Reason.OOM_KILLED,
        Reason.EVICTED,
        Reason.PREEMPTED,
        Reason.NODE_LOST,
        Reason.NODE_SHUTDOWN,
        Reason.POD_DELETED,
        Reason.POD_LOST,
        Reason.POD_REJECTED,
    }
)
"""Endings that the flow is not to blame for: `spec.infrastructureRetries` counts them, `spec.retries` the others."""


MOVES: frozenset[str] = frozenset({Reason.POOL_UNAVAILABLE, Reason.OUTRANKED})
"""Endings by which we move a run elsewhere, or put it back into the queue."""
UNCOUNTED: frozenset[str] = MOVES | {Reason.PAUSED}
"""Endings that no retry policy counts."""


def backoff_s(policy: RetryPolicy, *, failures: int, seed: str) -> float:
    """
    Seconds to wait after the `failures`-th failure (from 1): delay x factor^(failures-1), bounded, with jitter.

    The jitter is a function of `seed`, so that an operator that starts anew computes the same instant.
    """
    # The exponent is bounded too: factor 10 and a thousand failures would overflow a float.
    growth = policy.factor ** min(failures - 1, 64)
    bounded = min(policy.delay_seconds * growth, float(policy.max_delay_seconds))
    digest = hashlib.sha256(f"{seed}/{failures}".encode()).digest()
    spread = int.from_bytes(digest[:8], "big") / 2**64 * 2 - 1
    return float(max(0.0, bounded * (1 + policy.jitter * spread)))


def failures_so_far(attempts: Iterable[Attempt], *, infrastructure: bool) -> int:
    """How many ended attempts count against one of the two retry policies."""
    return sum(
        1
        for attempt in attempts
        if attempt.finished_at is not None
        and attempt.reason not in UNCOUNTED
        and (attempt.reason in INFRASTRUCTURE_REASONS) is infrastructure
    )


def next_attempt_at(
    policy: RetryPolicy, *, failures: int, seed: str, ended: datetime, asked_delay_s: float | None = None
) -> datetime | None:
    """
    When to try again, None when the policy is exhausted.

    Args:
        failures: Ended attempts that count against this policy, the last one included.
        asked_delay_s: What the flow itself asked for (`RetryRun`); it takes the place of the computed delay.
    """
    if failures > policy.limit:
        return None
    delay_s = backoff_s(policy, failures=failures, seed=seed) if asked_delay_s is None else asked_delay_s
    return ended + timedelta(seconds=delay_s)

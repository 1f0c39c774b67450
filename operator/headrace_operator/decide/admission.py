"""
Whether a run may start under its deployment's concurrency, and what to do when it may not.

    Queue    waits; the runs ahead of it go first
    Skip     ends as Skipped when every slot is taken, or promised to the runs ahead of it
    Replace  the newest runs win: an older one, waiting or running, is cancelled
"""

from __future__ import annotations

from headrace.api.deployment import OnConflict
from headrace_operator.decide.snapshot import Snapshot


def free_slots(seen: Snapshot) -> int | None:
    """How many more runs of the deployment may start; None without a limit."""
    if seen.deployment is None:
        return None
    limit = seen.deployment.concurrency.limit if seen.deployment.concurrency else None
    bounds = [bound for bound in (limit, seen.deployment.allowed) if bound is not None]
    return max(0, min(bounds) - seen.place.active) if bounds else None


def may_start(seen: Snapshot) -> bool:
    """Whether a slot is free for this run, those ahead of it served first."""
    free = free_slots(seen)
    return free is None or seen.place.ahead < free


def is_skipped(seen: Snapshot) -> bool:
    """Whether the deployment skips runs that meet a full house, and this is one; promised slots are taken too."""
    # One that has begun and gave its place back, outranked or paused, waits for another: its work is not thrown away.
    has_begun = seen.admitted or bool(seen.run.status.attempts)
    return _policy(seen) is OnConflict.SKIP and not has_begun and not may_start(seen)


def is_replaced(seen: Snapshot) -> bool:
    """Whether enough newer runs of the deployment exist to fill every slot."""
    if _policy(seen) is not OnConflict.REPLACE or seen.deployment is None or seen.deployment.concurrency is None:
        return False
    return seen.place.newer >= seen.deployment.concurrency.limit


def _policy(seen: Snapshot) -> OnConflict | None:
    if seen.deployment is None or seen.deployment.concurrency is None:
        return None
    return seen.deployment.concurrency.on_conflict

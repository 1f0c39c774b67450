"""
How fast a Backfill may create runs, and how fast it comes on.

Creations are spread evenly: a bucket that fills at the rate and holds a second's worth. What it held is not kept by
anybody: after a start it holds no more than what has come in since the last run that the API still knows, and less
is never wrong. So within any minute, restarts or not, at most the rate and a second's worth of it are created.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from headrace.api.backfill import RateMark

MINUTE_S: Final = 60.0
MARK_EVERY_S: Final = 60.0
MARKS: Final = 6
"""The measured rate is that of the last five minutes or so."""
LEAST_S: Final = 5.0
"""A rate over less time than that says nothing."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """How many runs might be created at an instant."""

    level: float
    at: datetime


def capacity(rate_per_minute: int) -> int:
    """How many runs may be created at once: a second's worth, at least one."""
    return max(1, rate_per_minute // 60)


def first_bucket(rate_per_minute: int, *, last_created: datetime | None, is_fresh: bool, now: datetime) -> Bucket:
    """
    What may be assumed at a start.

    Args:
        last_created: When the latest run was created that the API still has. None: it has none.
        is_fresh: None was ever created.
    """
    if is_fresh and last_created is None:
        return Bucket(float(capacity(rate_per_minute)), now)
    # Creation times are cut to the second: the run may be a second younger.
    since = now if last_created is None else min(now, last_created + timedelta(seconds=1))
    return refilled(Bucket(0.0, since), rate_per_minute, now)


def refilled(bucket: Bucket, rate_per_minute: int, now: datetime) -> Bucket:
    """The bucket now; a clock that goes back fills nothing."""
    passed_s = max(0.0, (now - bucket.at).total_seconds())
    level = bucket.level + passed_s * rate_per_minute / MINUTE_S
    return Bucket(min(level, float(capacity(rate_per_minute))), now)


def next_start(bucket: Bucket, rate_per_minute: int) -> datetime:
    """When the bucket holds a whole run."""
    missing = max(0.0, 1.0 - bucket.level)
    return bucket.at + timedelta(seconds=missing * MINUTE_S / rate_per_minute)


def with_mark(marks: tuple[RateMark, ...], over: int, now: datetime) -> tuple[RateMark, ...]:
    """The marks by which the rate is measured: one a minute, the latest few; begun anew where fewer are over than were."""
    known = tuple(mark for mark in marks if mark.over <= over and mark.at <= now)
    if not known or (now - known[-1].at).total_seconds() >= MARK_EVERY_S:
        known = (*known, RateMark(at=now, over=over))
    return known[-MARKS:]


def measured_rate(marks: tuple[RateMark, ...], over: int, now: datetime) -> float | None:
    """Partitions a minute since the oldest mark, to a tenth. None: too little is known."""
    if not marks:
        return None
    passed_s = (now - marks[0].at).total_seconds()
    gained = over - marks[0].over
    if passed_s < LEAST_S or gained <= 0:
        return None
    return round(gained / passed_s * MINUTE_S, 1)


def expected_end(rate: float | None, left: int, now: datetime) -> datetime | None:
    """When it is over at this rate, to the second. None: not known, or more than a century away."""
    if not rate or left <= 0:
        return None
    minutes = left / rate
    if minutes > 100 * 365 * 24 * 60:
        return None
    return (now + timedelta(minutes=minutes)).replace(microsecond=0)

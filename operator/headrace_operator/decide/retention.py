"""Which finished runs have been kept long enough."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from headrace.api.conditions import Phase
from headrace_operator.decide.snapshot import ObjectKey, PartitionRef


@dataclass(frozen=True, slots=True)
class FinishedRun:
    """What is remembered of a run after its end."""

    key: ObjectKey
    uid: str
    deployment: str | None
    phase: Phase
    reason: str
    finished_at: datetime
    schedule: str | None = None
    scheduled_time: datetime | None = None
    version: int = 0
    """The resource version; it tells ends of the same second apart."""
    partition: PartitionRef | None = None


@dataclass(frozen=True, slots=True)
class Keep:
    """How many are kept, and for how long; None is no bound. Skipped runs count with the succeeded."""

    succeeded: int | None
    failed: int | None
    ttl_s: float | None
    scheduled_until: Mapping[str, datetime | None] = field(default_factory=dict)
    """By schedule: a run for a later time is kept, as its Deployment has not yet noted that it was created."""
    uncounted: Container[str] = frozenset()
    """Uids of runs that are kept until their Deployment's status counts how they ended."""
    unrecorded: Container[str] = frozenset()
    """Uids of runs that are kept until the history store has their records."""
    given_up: Container[str] = frozenset()
    """Those of them that go at the end of their time to live all the same: more than can be held back wait for the store."""


@dataclass(frozen=True, slots=True)
class Retirement:
    """Runs to delete now, and when to look again (None: only when another run ends)."""

    delete: tuple[FinishedRun, ...]
    look_again_at: datetime | None


GOOD_ENDS = frozenset({Phase.SUCCEEDED, Phase.SKIPPED})


def retire(runs: Iterable[FinishedRun], keep: Keep, now: datetime) -> Retirement:
    """The newest ones stay within the counts, and none outlives the time to live."""
    newest_first = sorted(runs, key=lambda run: (run.finished_at, run.key), reverse=True)
    good = [run for run in newest_first if run.phase in GOOD_ENDS]
    bad = [run for run in newest_first if run.phase not in GOOD_ENDS]
    excess = {run.key for run in (*_beyond(good, keep.succeeded), *_beyond(bad, keep.failed))}
    expired = {run.key for run in newest_first if _expiry(run, keep, now) <= now}
    delete = tuple(
        run
        for run in newest_first
        if (run.key in excess and not is_held(run, keep)) or (run.key in expired and _may_expire(run, keep))
    )
    gone = {run.key for run in delete}
    stay = [_expiry(run, keep, now) for run in newest_first if run.key not in gone]
    next_expiry = min((expiry for expiry in stay if expiry > now), default=None) if keep.ttl_s is not None else None
    return Retirement(delete, next_expiry)


def _beyond(newest_first: list[FinishedRun], count: int | None) -> list[FinishedRun]:
    return [] if count is None else newest_first[count:]


def _expiry(run: FinishedRun, keep: Keep, now: datetime) -> datetime:
    never = now + timedelta(days=1)
    return never if keep.ttl_s is None else run.finished_at + timedelta(seconds=keep.ttl_s)


def is_held(run: FinishedRun, keep: Keep) -> bool:
    """Whether deleting it now would lose something that is not noted elsewhere yet, whatever the counts say."""
    return run.uid in keep.unrecorded or _too_fresh(run, keep)


def _may_expire(run: FinishedRun, keep: Keep) -> bool:
    return not _too_fresh(run, keep) and (run.uid not in keep.unrecorded or run.uid in keep.given_up)


def _too_fresh(run: FinishedRun, keep: Keep) -> bool:
    """Deleting it would let the schedule create it once more, or lose it to the circuit breaker's count."""
    if run.uid in keep.uncounted:
        return True
    if run.schedule is None or run.scheduled_time is None or run.schedule not in keep.scheduled_until:
        return False
    noted = keep.scheduled_until[run.schedule]
    return noted is None or run.scheduled_time > noted

"""Which finished runs have been kept long enough."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from headrace.api.conditions import Phase
from headrace_operator.decide.cost import Expense
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
    expenses: tuple[Expense, ...] = ()


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
    known = list(runs)
    ttl = None if keep.ttl_s is None else timedelta(seconds=keep.ttl_s)
    good = [run for run in known if run.phase in GOOD_ENDS]
    bad = [run for run in known if run.phase not in GOOD_ENDS]
    excess = {run.key: run for run in (*_beyond(good, keep.succeeded), *_beyond(bad, keep.failed))}
    expired = {} if ttl is None else {run.key: run for run in known if now - run.finished_at >= ttl}
    delete = tuple(
        run
        for run in _newest_first((excess | expired).values())
        if (run.key in excess and not is_held(run, keep)) or (run.key in expired and _may_expire(run, keep))
    )
    if ttl is None:
        return Retirement(delete, None)
    gone = {run.key for run in delete}
    stay = (run.finished_at for run in known if run.key not in expired and run.key not in gone)
    next_ended = min(stay, default=None)
    return Retirement(delete, None if next_ended is None else next_ended + ttl)


def _newest_first(runs: Iterable[FinishedRun]) -> list[FinishedRun]:
    return sorted(runs, key=lambda run: (run.finished_at, run.key), reverse=True)


def _beyond(runs: list[FinishedRun], count: int | None) -> list[FinishedRun]:
    """All but the newest so many. Where none is too many, nothing is sorted: a history may have 100,000 runs."""
    return [] if count is None or len(runs) <= count else _newest_first(runs)[count:]


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

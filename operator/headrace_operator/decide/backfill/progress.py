"""
What to do about one Backfill: runs to create, runs to cancel, and the status that tells which partitions are over.

    status as the API has it ──> partitions that may get a run: not over, no run of theirs known
    ends that it does not tell ──> status to be written ──> acknowledged ──> these runs may be deleted

Runs are created only for what the acknowledged status leaves open. So an operator that dies anywhere leaves behind
what the next one finds: runs in the API, or outcomes in the status, and never neither.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from headrace.api.backfill import BackfillPhase, BackfillSpec, BackfillStatus
from headrace.api.conditions import ConditionType, EventReason, Reason
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.backfill.costs import affordable, projected, with_costs
from headrace_operator.decide.backfill.noted import (
    MAX_RETRYING,
    retry_groups,
    with_ends,
    with_rerun,
)
from headrace_operator.decide.backfill.pace import (
    Bucket,
    expected_end,
    first_bucket,
    measured_rate,
    next_start,
    refilled,
    with_mark,
)
from headrace_operator.decide.backfill.rules import RULES, Verdict
from headrace_operator.decide.backfill.situation import ActiveRun, BackfillSnapshot, Situation
from headrace_operator.decide.conditions import condition, shortened, stored, with_condition

MAX_AT_ONCE: Final = 64
"""Runs that one pass creates; the next pass follows at once."""
MAX_UNNOTED: Final = 1000
"""With more ends that the status does not tell, nothing is created: the API holds as many runs that cannot go."""
BYTES_PER_S: Final = 8192
"""A status is written at most so fast: one of 64 KiB every eight seconds."""


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run to create."""

    position: int
    number: int


@dataclass(frozen=True, slots=True)
class BackfillDecision:
    """
    What to do, in this order.

    Args:
        events: To record before the status is written.
        status: To write now. None: nothing is to be written, or not yet.
        create: Runs of partitions that are open.
        cancel: Runs to tell to end.
        remove: Runs that must not be: their partitions are over.
        expire: The Backfill itself is to be deleted.
        bucket: What is left of the rate.
    """

    status: BackfillStatus | None = None
    events: tuple[RecordEvent, ...] = ()
    create: tuple[PlannedRun, ...] = ()
    cancel: tuple[ActiveRun, ...] = ()
    remove: tuple[ActiveRun, ...] = ()
    expire: bool = False
    bucket: Bucket | None = None
    look_again_at: datetime | None = None


def decide_backfill(seen: BackfillSnapshot, now: datetime) -> BackfillDecision:
    """The runs that there is room for, and the status that tells what became of the others."""
    if seen.spec is None or seen.total is None or seen.noted is None:
        return _unusable(seen, now)
    spec, total, held = seen.spec, seen.total, seen.noted
    seen = _of_partitions(seen, total)
    stale = tuple(run for run in seen.active if held.tells(run.position, run.number))
    active = tuple(run for run in seen.active if run not in stale) if stale else seen.active
    news = sorted(
        (run for run in seen.ended if not held.tells(run.position, run.number)), key=lambda run: (run.number, run.key)
    )
    after = with_ends(held, spec, news)
    cost = with_costs(seen.status.cost, spec.budget, news)
    at = Situation(seen, spec, total, held, after, active, cost, now)
    if spec.rerun_failed > held.round and not spec.cancel and not at.is_draining:
        at = replace(at, after=with_rerun(after, spec.rerun_failed))
    verdict = next(verdict for rule in RULES if (verdict := rule(at)))
    create, bucket, start_at = _creations(at, verdict)
    decision = BackfillDecision(
        create=create,
        cancel=tuple(run for run in active if not run.cancel) if spec.cancel else (),
        remove=stale,
        bucket=bucket,
        look_again_at=_earliest(verdict.look_again_at, start_at, seen.unsure_until if at.is_draining else None),
    )
    return _with_status(at, verdict, decision)


def _of_partitions(seen: BackfillSnapshot, total: int) -> BackfillSnapshot:
    """Without runs of positions that there are not: labels can be changed by hand."""
    active = tuple(run for run in seen.active if run.position < total)
    ended = tuple(run for run in seen.ended if run.position < total)
    is_odd = len(active) < len(seen.active) or len(ended) < len(seen.ended)
    return replace(seen, active=active, ended=ended) if is_odd else seen


def _with_status(at: Situation, verdict: Verdict, decision: BackfillDecision) -> BackfillDecision:
    """With the status, if it is due, and the end of a Backfill that was kept long enough."""
    seen = at.seen
    status = _status(at, verdict)
    is_same = at.after.outcomes == at.held.outcomes
    if status == seen.status and is_same:
        expiry = _expiry(at.spec, status)
        is_expired = expiry is not None and expiry <= at.now
        if is_expired and (seen.holds_untold or not seen.is_complete):  # news of either wake it
            return decision
        return replace(decision, expire=is_expired, look_again_at=_earliest(decision.look_again_at, expiry))
    due = _due(seen, status, at.over - len(at.held.over), at.now)
    if due is not None and due > at.now:
        return replace(decision, look_again_at=_earliest(decision.look_again_at, due))
    if not is_same:  # last, as this may take milliseconds
        status = status.model_copy(update={"outcomes": at.after.outcomes.encoded()})
    return replace(decision, status=status, events=_events(at, status, verdict))


def _unusable(seen: BackfillSnapshot, now: datetime) -> BackfillDecision:
    reason, message = seen.problem or (Reason.INVALID_SPEC, "the spec cannot be read")
    conditions = with_condition(
        seen.conditions,
        condition(
            ConditionType.READY, holds=False, reason=reason, message=message, now=now, generation=seen.generation
        ),
    )
    status = seen.status.model_copy(
        update={
            "observed_generation": seen.generation,
            "phase": BackfillPhase.PENDING,
            "reason": reason,
            "message": shortened(message),
            "conditions": tuple(stored(view) for view in conditions),
        }
    )
    if status == seen.status:
        return BackfillDecision()
    return BackfillDecision(status=status, events=(RecordEvent(reason, message, warning=True),))


# What is created.


def _creations(at: Situation, verdict: Verdict) -> tuple[tuple[PlannedRun, ...], Bucket | None, datetime | None]:
    """Runs to create, what is left of the rate, and when time alone may let more be created."""
    bucket = _bucket(at)
    if not verdict.creates or len(at.seen.ended) >= MAX_UNNOTED:
        return (), bucket, None
    room = _room(at)
    rate = at.spec.rate_per_minute
    allowed = room if bucket is None else min(room, int(bucket.level))
    runs = tuple(run for run, _ in zip(_open(at), range(allowed), strict=False))
    if bucket is None or rate is None:
        again = at.now if len(runs) == MAX_AT_ONCE else None
    else:
        bucket = replace(bucket, level=bucket.level - len(runs))
        again = next_start(bucket, rate) if len(runs) == allowed < room else None
    return runs, bucket, _earliest(again, _next_retry(at) if len(runs) < room else None)


def _room(at: Situation) -> int:
    room = min(at.spec.max_active - len(at.active), MAX_AT_ONCE)
    if at.spec.budget is not None:
        room = min(room, affordable(at.spec.budget, at.cost, at.over, active=len(at.active)))
    return max(0, room)


def _open(at: Situation) -> Iterator[PlannedRun]:
    """What the acknowledged status leaves open and no known run is of: first what is to be tried again."""
    taken = {run.position for run in at.active} | {run.position for run in at.seen.ended}
    taken |= {position for position, until in at.seen.blocked.items() if until > at.now}
    retrying = sorted((retry.not_before, position) for position, retry in at.held.retrying.items())
    for due, position in retrying:
        if due <= at.now and position not in taken:
            yield PlannedRun(position, at.held.number_of(position))
    if len(at.after.retrying) >= MAX_RETRYING:
        return
    for position in at.held.over.missing(at.total):
        if position not in taken and position not in at.held.retrying:
            yield PlannedRun(position, at.held.number_of(position))


def _next_retry(at: Situation) -> datetime | None:
    dues = (*(retry.not_before for retry in at.after.retrying.values()), *at.seen.blocked.values())
    return min((due for due in dues if due > at.now), default=None)


def _bucket(at: Situation) -> Bucket | None:
    rate, known = at.spec.rate_per_minute, at.seen.bucket
    if rate is None:
        return None
    if known is not None:
        return refilled(known, rate, at.now)
    is_fresh = at.seen.status.started_at is None and not at.seen.active and not at.seen.ended
    return first_bucket(rate, last_created=at.seen.last_created, is_fresh=is_fresh, now=at.now)


# What is told.


def _status(at: Situation, verdict: Verdict) -> BackfillStatus:
    old, outcomes = at.seen.status, at.after.outcomes
    counts = {
        "observed_generation": at.seen.generation,
        "phase": verdict.phase,
        "reason": verdict.reason,
        "message": shortened(verdict.message),
        "conditions": _conditions(at, verdict),
        "total": at.total,
        "succeeded": len(outcomes.succeeded),
        "failed": len(outcomes.failed),
        "cancelled": len(outcomes.cancelled),
        "active": len(at.active),
        "pending": max(0, at.total - at.over - len(at.active)),
        "retrying": old.retrying if at.after.retrying == at.held.retrying else retry_groups(at.after.retrying),
        "rerun_failed": at.after.round,
        "progress": f"{100 * at.over // at.total if at.total else 100}%",
        "cost": at.cost,
        "projected_cost": projected(at.cost, at.over, at.total),
        "started_at": old.started_at or at.seen.last_created,
        "finished_at": (old.finished_at or at.now.replace(microsecond=0)) if verdict.phase.finished else None,
    }
    return old.model_copy(update=counts | _speed(at, verdict))


def _speed(at: Situation, verdict: Verdict) -> dict[str, object]:
    """Measured anew only when a partition is over or the phase is another: time alone changes no status."""
    old = at.seen.status
    if verdict.phase is not BackfillPhase.RUNNING:
        return {"rate_per_minute": None, "eta": None, "rate_marks": ()}
    over = at.over
    if old.rate_marks and over == len(at.held.over):
        return {}
    marks = with_mark(old.rate_marks, over, at.now)
    rate = measured_rate(marks, over, at.now) or old.rate_per_minute
    return {"rate_per_minute": rate, "eta": expected_end(rate, at.total - over, at.now), "rate_marks": marks}


def _conditions(at: Situation, verdict: Verdict) -> tuple[object, ...]:
    generation, now = at.seen.generation, at.now
    reason, message = at.seen.deployment_problem or (Reason.READY, "runs can be created")
    ready = condition(
        ConditionType.READY,
        holds=at.seen.deployment_problem is None,
        reason=reason,
        message=message,
        now=now,
        generation=generation,
    )
    completed = condition(
        ConditionType.COMPLETED,
        holds=verdict.phase.finished,
        reason=verdict.reason,
        message=verdict.message,
        now=now,
        generation=generation,
    )
    views = with_condition(with_condition(at.seen.conditions, ready), completed)
    return at.seen.status.conditions if views == at.seen.conditions else tuple(stored(view) for view in views)


def _due(seen: BackfillSnapshot, new: BackfillStatus, ends: int, now: datetime) -> datetime | None:
    """When a changed status is to be written. None: now, as it is news, or tells enough, or the clock went back."""
    old = seen.status
    is_news = (old.phase, old.reason, old.observed_generation, old.rerun_failed) != (
        new.phase,
        new.reason,
        new.observed_generation,
        new.rerun_failed,
    )
    if is_news or seen.written_at is None or seen.written_at > now or ends >= MAX_UNNOTED // 2:
        return None
    return seen.written_at + timedelta(seconds=max(seen.status_delay_s, seen.status_bytes / BYTES_PER_S))


def _expiry(spec: BackfillSpec, status: BackfillStatus) -> datetime | None:
    ttl_s = spec.ttl_seconds_after_finished
    if ttl_s is None or status.finished_at is None:
        return None
    return status.finished_at + timedelta(seconds=ttl_s)


def _events(at: Situation, new: BackfillStatus, verdict: Verdict) -> tuple[RecordEvent, ...]:
    """One for each turn that people want to know of."""
    old, found = at.seen.status, []
    if new.rerun_failed != old.rerun_failed:
        told = f"{len(at.after.outcomes.again)} partition(s) that failed are run once more (spec.rerunFailed is {new.rerun_failed})"
        found.append(RecordEvent(EventReason.RERUN_STARTED, told))
    if (new.phase, new.reason) != (old.phase, old.reason) and new.phase not in {None, BackfillPhase.PENDING}:
        goes_on = new.phase is BackfillPhase.RUNNING and verdict.reason is Reason.RUNNING
        begins = EventReason.STARTED if old.started_at is None else EventReason.RESUMED
        is_bad = (
            new.phase in {BackfillPhase.FAILED, BackfillPhase.WAITING} and verdict.reason is not Reason.WINDOW_CLOSED
        )
        found.append(RecordEvent(begins if goes_on else verdict.reason, new.message or "", warning=is_bad))
    return tuple(found)


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)

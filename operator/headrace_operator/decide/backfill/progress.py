"""
What to do about one Backfill: runs to create, runs to cancel, and the status that tells which partitions are over.

    status as the API has it ──> partitions that may get a run: not over, no run of theirs known
    ends that it does not tell ──> status to be written ──> acknowledged ──> these runs may be deleted

Runs are created only for what the acknowledged status leaves open. So an operator that dies anywhere leaves behind
what the next one finds: runs in the API, or outcomes in the status, and never neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from headrace.api.backfill import BackfillPhase, BackfillSpec, BackfillStatus
from headrace.api.conditions import ConditionType, Reason
from headrace.api.money import Cost
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.backfill.calendar import is_open, next_change
from headrace_operator.decide.backfill.costs import affordable, described, projected, with_costs
from headrace_operator.decide.backfill.noted import (
    MAX_RETRYING,
    EndedRun,
    Noted,
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
from headrace_operator.decide.conditions import condition, shortened, stored, with_condition
from headrace_operator.decide.snapshot import ConditionView, ObjectKey

MAX_AT_ONCE: Final = 64
"""Runs that one pass creates; the next pass follows at once."""
MAX_UNNOTED: Final = 1000
"""With more ends that the status does not tell, nothing is created: the API holds as many runs that cannot go."""
BYTES_PER_S: Final = 8192
"""A status is written at most so fast: one of 64 KiB every eight seconds."""

Problem = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run of the Backfill that is not known to have ended; `cancel`: its end was asked for."""

    key: ObjectKey
    uid: str
    position: int
    number: int
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class BackfillSnapshot:
    """
    All that a Backfill's decision rests on.

    Args:
        spec, total, noted: None where they cannot be read; `problem` says why.
        total: Partitions that there are.
        status: As the API has it; `noted` is what it tells of partitions, `status_bytes` its size there.
        deployment_problem: Why no run can be created, None if one can.
        ended: Runs that the status does not tell; others may be among them.
        blocked: Positions whose runs cannot be created, and when to try again.
        unsure_until: Creations had no answer: until then runs may come that are not known.
        is_complete: The runs that had finished before the start are known.
        is_store_full: Too many finished runs wait for the history store.
        last_created: When the latest run was created that is known.
        bucket: Of the rate, as the last pass left it. None: this is the first pass.
        written_at: When the status was written last. None: not by this process.
        status_delay_s: By how much writes of the status are put off, to gather ends; more for a large one.
        holds_unrecorded: The history store lacks some of its runs, which would go with it.
    """

    key: ObjectKey
    uid: str
    generation: int
    spec: BackfillSpec | None
    total: int | None
    problem: Problem | None
    status: BackfillStatus
    noted: Noted | None
    conditions: tuple[ConditionView, ...] = ()
    deployment_problem: Problem | None = None
    active: tuple[ActiveRun, ...] = ()
    ended: tuple[EndedRun, ...] = ()
    blocked: Mapping[int, datetime] = field(default_factory=dict)
    unsure_until: datetime | None = None
    is_complete: bool = True
    is_store_full: bool = False
    last_created: datetime | None = None
    bucket: Bucket | None = None
    written_at: datetime | None = None
    status_delay_s: float = 1.0
    status_bytes: int = 0
    holds_unrecorded: bool = False


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


@dataclass(frozen=True, slots=True)
class Situation:
    """The snapshot, and what follows from it: `after` is what the status tells once it is written."""

    seen: BackfillSnapshot
    spec: BackfillSpec
    total: int
    held: Noted
    after: Noted
    active: tuple[ActiveRun, ...]
    cost: Cost | None
    now: datetime

    @property
    def over(self) -> int:
        """Partitions that are over."""
        return len(self.after.over)

    @property
    def is_draining(self) -> bool:
        """Whether a re-run waits for the runs of the one before: their numbers must not be taken for old ones."""
        wanted = self.spec.rerun_failed > self.held.round and not self.spec.cancel
        return wanted and (
            self.seen.unsure_until is not None
            or not self.seen.is_complete
            or any(run.position in self.held.outcomes.again for run in self.active)
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """The phase and why; `creates`: further runs may be created."""

    phase: BackfillPhase
    reason: Reason
    message: str
    creates: bool = False
    look_again_at: datetime | None = None


Rule = Callable[[Situation], Verdict | None]


def decide_backfill(seen: BackfillSnapshot, now: datetime) -> BackfillDecision:
    """The runs that there is room for, and the status that tells what became of the others."""
    if seen.spec is None or seen.total is None or seen.noted is None:
        return _unusable(seen, now)
    held = seen.noted
    stale = tuple(run for run in seen.active if held.tells(run.position, run.number))
    active = tuple(run for run in seen.active if run not in stale) if stale else seen.active
    news = sorted(
        (run for run in seen.ended if not held.tells(run.position, run.number)), key=lambda run: (run.number, run.key)
    )
    after = with_ends(held, seen.spec, news)
    cost = with_costs(seen.status.cost, seen.spec.budget, news)
    at = Situation(seen, seen.spec, seen.total, held, after, active, cost, now)
    if seen.spec.rerun_failed > held.round and not seen.spec.cancel and not at.is_draining:
        at = replace(at, after=with_rerun(after, seen.spec.rerun_failed))
    verdict = next(verdict for rule in RULES if (verdict := rule(at)))
    create, bucket, start_at = _creations(at, verdict)
    decision = BackfillDecision(
        create=create,
        cancel=tuple(run for run in active if not run.cancel) if seen.spec.cancel else (),
        remove=stale,
        bucket=bucket,
        look_again_at=_earliest(verdict.look_again_at, start_at),
    )
    return _with_status(at, verdict, decision)


def _with_status(at: Situation, verdict: Verdict, decision: BackfillDecision) -> BackfillDecision:
    """With the status, if it is due, and the end of a Backfill that was kept long enough."""
    seen = at.seen
    status = _status(at, verdict)
    is_same = at.after.outcomes == at.held.outcomes
    if status == seen.status and is_same:
        expiry = _expiry(at.spec, status)
        is_expired = expiry is not None and expiry <= at.now
        if is_expired and seen.holds_unrecorded:  # the history store's news wake it
            return decision
        return replace(decision, expire=is_expired, look_again_at=_earliest(decision.look_again_at, expiry))
    due = _due(seen, status, at.over - len(at.held.over), at.now)
    if due is not None and due > at.now:
        return replace(decision, look_again_at=_earliest(decision.look_again_at, due))
    if not is_same:  # last, as this may take milliseconds
        status = status.model_copy(update={"outcomes": at.after.outcomes.encoded()})
    return replace(decision, status=status, events=_events(at, status))


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


# The rules, in order: the first one with an answer wins.


def cancelled(at: Situation) -> Verdict | None:
    """spec.cancel ends it once its runs have ended."""
    if not at.spec.cancel:
        return None
    if at.active:
        told = f"spec.cancel is true; {len(at.active)} run(s) are being ended"
        return Verdict(BackfillPhase.RUNNING, Reason.CANCEL_REQUESTED, told)
    return Verdict(BackfillPhase.CANCELLED, Reason.CANCELLED, f"spec.cancel is true; {_tally(at)}")


def all_over(at: Situation) -> Verdict | None:
    """Every partition is over."""
    if at.over < at.total or at.active:
        return None
    outcomes = at.after.outcomes
    if not outcomes.failed and not outcomes.cancelled:
        return Verdict(BackfillPhase.SUCCEEDED, Reason.SUCCEEDED, f"all {at.total} partitions succeeded")
    told = f"{_tally(at)}; raise spec.rerunFailed to run those that failed once more"
    return Verdict(BackfillPhase.FAILED, Reason.PARTITIONS_FAILED, told)


def too_many_failures(at: Situation) -> Verdict | None:
    """More failed than spec.maxFailures allows."""
    failed, allowed = len(at.after.outcomes.failed), at.spec.max_failures
    if allowed is None or failed <= allowed:
        return None
    told = (
        f"{failed} partition(s) failed, spec.maxFailures allows {allowed}; mend the cause, then raise spec.rerunFailed, "
        "or spec.maxFailures to go on without them"
    )
    return _ends_with_active(at, Reason.TOO_MANY_FAILURES, told)


def unread(at: Situation) -> Verdict | None:
    """Which runs had finished before the start is being read: nothing changes until then."""
    status = at.seen.status
    if at.seen.is_complete:
        return None
    phase = status.phase or BackfillPhase.PENDING
    reason = Reason(status.reason) if status.reason in set(Reason) else Reason.RUNNING
    return Verdict(phase, reason, status.message or "reads which of its runs have ended")


def budget_spent(at: Situation) -> Verdict | None:
    """A further run would cost more than is left."""
    if at.spec.budget is None or at.active or affordable(at.spec.budget, at.cost, at.over, active=0) > 0:
        return None
    told = (
        f"{described(at.cost)} are spent on {at.over} of {at.total} partitions, and one more would exceed spec.budget "
        f"({at.spec.budget.amount} {at.spec.budget.currency}); raise it to go on"
    )
    return Verdict(BackfillPhase.FAILED, Reason.BUDGET_EXCEEDED, told)


def suspended(at: Situation) -> Verdict | None:
    """spec.suspend holds back what has not begun."""
    if not at.spec.suspend:
        return None
    return Verdict(BackfillPhase.PAUSED, Reason.SUSPENDED, "spec.suspend is true; set it to false to go on")


def no_deployment(at: Situation) -> Verdict | None:
    """The Deployment is not there, or cannot be used."""
    if at.seen.deployment_problem is None:
        return None
    return Verdict(BackfillPhase.WAITING, *at.seen.deployment_problem)


def window_closed(at: Situation) -> Verdict | None:
    """Outside its window it starts nothing."""
    window = at.spec.window
    if window is None:
        return None
    change = next_change(window, at.now)
    if is_open(window, at.now):
        return None
    told = f"spec.window is closed until {change:%Y-%m-%dT%H:%M:%SZ}" if change else "spec.window never opens"
    return Verdict(BackfillPhase.WAITING, Reason.WINDOW_CLOSED, told, look_again_at=change)


def store_full(at: Situation) -> Verdict | None:
    """Too many finished runs wait for the history store."""
    if not at.seen.is_store_full:
        return None
    told = "too many finished runs wait for the history store; it goes on when they are recorded"
    return Verdict(BackfillPhase.WAITING, Reason.HISTORY_FULL, told)


def draining(at: Situation) -> Verdict | None:
    """A re-run begins when the runs of the one before have ended."""
    if not at.is_draining:
        return None
    told = "spec.rerunFailed was raised; the failed partitions are run again when those of the last re-run have ended"
    return Verdict(BackfillPhase.RUNNING, Reason.RUNNING, told, look_again_at=at.seen.unsure_until)


def goes_on(at: Situation) -> Verdict | None:
    """Nothing stands in the way."""
    if at.spec.budget is not None and at.over and at.cost is None:
        told = "no run has told its cost yet, so one at a time is started (spec.pricing of WorkPools makes costs known)"
    else:
        told = "runs are created as there is room for them"
    return Verdict(BackfillPhase.RUNNING, Reason.RUNNING, told, creates=True)


RULES: tuple[Rule, ...] = (
    cancelled,
    all_over,
    too_many_failures,
    unread,
    budget_spent,
    suspended,
    no_deployment,
    window_closed,
    store_full,
    draining,
    goes_on,
)


def _ends_with_active(at: Situation, reason: Reason, told: str) -> Verdict:
    if at.active:
        return Verdict(BackfillPhase.RUNNING, reason, f"{told}; waits for {len(at.active)} run(s) to end")
    return Verdict(BackfillPhase.FAILED, reason, told)


def _tally(at: Situation) -> str:
    outcomes = at.after.outcomes
    told = f"of {at.total} partitions {len(outcomes.succeeded)} succeeded, {len(outcomes.failed)} failed"
    told += f", {len(outcomes.cancelled)} were cancelled" if outcomes.cancelled else ""
    left = at.total - at.over
    return f"{told}, {left} were not run" if left else told


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


def _events(at: Situation, new: BackfillStatus) -> tuple[RecordEvent, ...]:
    """One for each turn that people want to know of."""
    old, found = at.seen.status, []
    if new.rerun_failed != old.rerun_failed:
        told = f"{len(at.after.outcomes.again)} partition(s) that failed are run once more (spec.rerunFailed is {new.rerun_failed})"
        found.append(RecordEvent("RerunStarted", told))
    if (new.phase, new.reason) != (old.phase, old.reason) and new.phase not in {None, BackfillPhase.PENDING}:
        goes_on = new.phase is BackfillPhase.RUNNING and new.reason == Reason.RUNNING
        name = ("Started" if old.started_at is None else "Resumed") if goes_on else str(new.reason)
        is_bad = new.phase in {BackfillPhase.FAILED, BackfillPhase.WAITING} and new.reason != Reason.WINDOW_CLOSED
        found.append(RecordEvent(name, new.message or "", warning=is_bad))
    return tuple(found)


def _earliest(*instants: datetime | None) -> datetime | None:
    return min((instant for instant in instants if instant is not None), default=None)

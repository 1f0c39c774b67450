"""
What to do about one Deployment: the runs that its schedules call for now, and its status.

Runs are created before the status says that their times are decided. An operator that dies in between decides
the same times again, and meets the runs that it made: their names derive from schedule and time.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headrace.api.budget import Spent
from headrace.api.conditions import ConditionType, EventReason, Phase, Reason
from headrace.api.deployment import (
    MAX_ACTIVE_LISTED,
    ActiveRun,
    Circuit,
    DeploymentSpec,
    DeploymentStatus,
    LastRun,
    NextSchedule,
    ScheduleMemory,
)
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.circuit import CircuitDecision, advance, circuit_condition
from headrace_operator.decide.conditions import condition, find_condition, stored, with_condition
from headrace_operator.decide.deployment_budget import Account, account, budget_problem, with_budget_condition
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.schedule import Owner, Plan, PlannedRun, Refusal, plan, without_runs
from headrace_operator.decide.snapshot import ConditionView, ObjectKey
from headrace_operator.decide.spending import Count, Spending
from headrace_operator.decide.triggers import TriggerSight, triggering

STOPPED = "spec.budget is spent (action Stop); in the next period, or with a higher amount, catchUp decides about the missed times"


@dataclass(frozen=True, slots=True)
class DeploymentSnapshot:
    """
    All that a Deployment's decision rests on.

    Args:
        spec: None where it cannot be read; `problem` says why.
        flow_problem: Why its Flow cannot be run, None if it can.
        memory: Its status' schedules: what was decided before.
        last_known: Its status' lastRun.
        active: Runs that hold a slot, at most as many as the status lists.
        known_runs: Names of its FlowRuns that exist: their times have their run.
        last_finished: The run that ended last, as far as this process knows.
        circuit: Its status' circuit.
        consecutive_failures: As its status has it.
        circuit_reset: The annotation that closes the circuit.
        ended: Runs that ended since `circuit.counted_until`, or since its creation; None: not known yet.
        triggers: None where it has none, and had none.
        spent: Its status' spent.
        spending: What its budget was spent on; None: it has none, or that is not known yet.
    """

    key: ObjectKey
    uid: str
    generation: int
    created: datetime
    spec: DeploymentSpec | None
    problem: str | None
    flow_problem: tuple[Reason, str] | None
    conditions: tuple[ConditionView, ...]
    memory: tuple[ScheduleMemory, ...]
    last_known: LastRun | None
    active: tuple[ActiveRun, ...]
    active_count: int
    queued_count: int
    known_runs: Container[str]
    last_finished: FinishedRun | None
    circuit: Circuit | None = None
    consecutive_failures: int = 0
    circuit_reset: str | None = None
    ended: tuple[FinishedRun, ...] | None = None
    triggers: TriggerSight | None = None
    spent: Spent | None = None
    spending: Spending | None = None


@dataclass(frozen=True, slots=True)
class DeploymentDecision:
    """Runs to create, Events to record, the status to have, when to look again; `count` is what the status counts of its budget."""

    create: tuple[PlannedRun, ...]
    events: tuple[RecordEvent, ...]
    status: DeploymentStatus
    look_again_at: datetime | None
    count: Count | None = None


def decide_deployment(seen: DeploymentSnapshot, now: datetime) -> DeploymentDecision:
    """The runs that are due, and the status that tells of them."""
    if seen.spec is None:
        conditions = _ready(seen, now, (Reason.INVALID_SPEC, seen.problem or "the spec cannot be read"))
        return DeploymentDecision(
            (),
            (),
            _status(seen, conditions, seen.memory, next_schedules=(), counted=_as_it_was(seen), spent=seen.spent),
            None,
        )
    counted = _counted(seen, seen.spec, now)
    purse = _account(seen, seen.spec, now)
    stopped = purse is not None and purse.stops
    planned = plan(
        seen.spec.schedules,
        seen.spec.catch_up,
        seen.memory,
        deployment=Owner(seen.key.name, seen.uid, _beginning(seen, now), seen.known_runs),
        suspended=seen.spec.suspend or stopped,
        now=now,
    )
    conditions = _ready(seen, now, seen.flow_problem or budget_problem(seen.spec.budget))
    conditions = _scheduling(conditions, seen, _scheduling_reason(seen.spec, planned, purse), now=now)
    conditions = _triggering(conditions, seen, seen.spec, now=now)
    blocked = _blocked_triggers(seen, conditions)
    conditions = _circuit_open(conditions, seen, seen.spec, counted, now=now)
    conditions = with_budget_condition(conditions, purse, generation=seen.generation, now=now)
    next_schedules = tuple(NextSchedule(name=name, time=time) for name, time in planned.next_times)
    next_time = None if planned.look_again_after_s is None else now + timedelta(seconds=planned.look_again_after_s)
    missed = tuple(RecordEvent(EventReason.MISSED_SCHEDULE, miss.message, warning=True) for miss in planned.missed)
    return DeploymentDecision(
        create=planned.runs,
        events=(*missed, *blocked, *counted.events, *_warnings(purse)),
        status=_status(
            seen,
            conditions,
            planned.memory,
            next_schedules=next_schedules,
            counted=counted,
            spent=purse.spent if purse else None,
        ),
        look_again_at=min(
            (at for at in (next_time, counted.look_again_at, _period_ends(purse)) if at is not None), default=None
        ),
        count=purse.count if purse else None,
    )


def with_refusals(decision: DeploymentDecision, refusals: Sequence[Refusal]) -> DeploymentDecision:
    """The decision when these of its runs will never be: their times are missed ones."""
    schedules = without_runs(decision.status.schedules, refusals)
    return replace(decision, status=decision.status.model_copy(update={"schedules": schedules}))


def _account(seen: DeploymentSnapshot, spec: DeploymentSpec, now: datetime) -> Account | None:
    """What is said of its budget; None without one. One that cannot be read counts nothing, and stays as it was."""
    if spec.budget is None:
        return None
    if budget_problem(spec.budget) is not None:
        return Account(seen.spent, None, None, stops=False)
    return account(spec.budget, seen.spent, seen.spending, conditions=seen.conditions, now=now)


def _warnings(purse: Account | None) -> tuple[RecordEvent, ...]:
    return purse.verdict.events if purse is not None and purse.verdict is not None else ()


def _period_ends(purse: Account | None) -> datetime | None:
    return purse.spent.until if purse is not None and purse.spent is not None and purse.count is not None else None


def _counted(seen: DeploymentSnapshot, spec: DeploymentSpec, now: datetime) -> CircuitDecision:
    """The ends that are not counted yet, counted; nothing is as long as some ends may be unknown."""
    if seen.ended is None:
        return _as_it_was(seen)
    memory = seen.circuit or Circuit(counted_until=seen.created)
    return advance(
        memory, seen.consecutive_failures, spec.circuit_breaker, seen.ended, reset=seen.circuit_reset, now=now
    )


def _as_it_was(seen: DeploymentSnapshot) -> CircuitDecision:
    return CircuitDecision(seen.circuit or Circuit(), seen.consecutive_failures, None, (), None)


def _circuit_open(
    conditions: tuple[ConditionView, ...],
    seen: DeploymentSnapshot,
    spec: DeploymentSpec,
    counted: CircuitDecision,
    *,
    now: datetime,
) -> tuple[ConditionView, ...]:
    """The condition CircuitOpen, for as long as there is a circuit breaker."""
    if spec.circuit_breaker is None:
        return tuple(condition for condition in conditions if condition.type != ConditionType.CIRCUIT_OPEN)
    if seen.ended is None:
        return conditions
    is_open, reason, message = circuit_condition(counted, spec.circuit_breaker)
    return with_condition(
        conditions,
        condition(
            ConditionType.CIRCUIT_OPEN,
            holds=is_open,
            reason=reason,
            message=message,
            now=now,
            generation=seen.generation,
        ),
    )


def _triggering(
    conditions: tuple[ConditionView, ...], seen: DeploymentSnapshot, spec: DeploymentSpec, *, now: datetime
) -> tuple[ConditionView, ...]:
    """The condition Triggering, for as long as there are triggers; as it was while their Automations are not ready."""
    if not spec.triggers or seen.triggers is None:
        return tuple(condition for condition in conditions if condition.type != ConditionType.TRIGGERING)
    found = triggering(seen.key, seen.uid, spec, seen.triggers)
    if found is None:
        return conditions
    holds, reason, message = found
    return with_condition(
        conditions,
        condition(
            ConditionType.TRIGGERING,
            holds=holds,
            reason=reason,
            message=message,
            now=now,
            generation=seen.generation,
        ),
    )


def _blocked_triggers(seen: DeploymentSnapshot, conditions: tuple[ConditionView, ...]) -> tuple[RecordEvent, ...]:
    """An Event when triggers begin to start nothing though they should, or do so for another reason."""
    before = find_condition(seen.conditions, ConditionType.TRIGGERING)
    after = find_condition(conditions, ConditionType.TRIGGERING)
    if after is None or after.status == "True" or after.reason == Reason.SUSPENDED:
        return ()
    is_news = before is None or (before.reason, before.message) != (after.reason, after.message)
    return (RecordEvent(EventReason.TRIGGER_BLOCKED, after.message, warning=True),) if is_news else ()


def _beginning(seen: DeploymentSnapshot, now: datetime) -> datetime:
    """Where times begin without a memory: for the first schedule of a Deployment that was looked at before, now."""
    return now if seen.conditions else seen.created


def _ready(seen: DeploymentSnapshot, now: datetime, problem: tuple[Reason, str] | None) -> tuple[ConditionView, ...]:
    reason, message = problem or (Reason.READY, "runs can be started")
    return with_condition(
        seen.conditions,
        condition(
            ConditionType.READY,
            holds=problem is None,
            reason=reason,
            message=message,
            now=now,
            generation=seen.generation,
        ),
    )


def _scheduling(
    conditions: tuple[ConditionView, ...],
    seen: DeploymentSnapshot,
    found: tuple[Reason, str],
    *,
    now: datetime,
) -> tuple[ConditionView, ...]:
    reason, message = found
    return with_condition(
        conditions,
        condition(
            ConditionType.SCHEDULING,
            holds=reason is Reason.SCHEDULED,
            reason=reason,
            message=message,
            now=now,
            generation=seen.generation,
        ),
    )


def _scheduling_reason(spec: DeploymentSpec, planned: Plan, purse: Account | None) -> tuple[Reason, str]:
    if planned.invalid:
        told = "; ".join(f'schedule "{broken.schedule}": {broken.message}' for broken in planned.invalid)
        return Reason.INVALID_SCHEDULE, told
    if spec.suspend:
        return Reason.SUSPENDED, "spec.suspend is true; set it to false and catchUp decides about the missed times"
    if not spec.schedules and spec.triggers:
        return Reason.NO_SCHEDULES, "there is no schedule; triggers start runs, and so does a FlowRun that is created"
    if not spec.schedules:
        return Reason.NO_SCHEDULES, "there is no schedule; create a FlowRun to start a run"
    if purse is not None and purse.stops:
        return Reason.BUDGET_EXCEEDED, STOPPED
    return Reason.SCHEDULED, f"{len(spec.schedules)} schedule(s) start runs"


def _status(
    seen: DeploymentSnapshot,
    conditions: tuple[ConditionView, ...],
    memory: tuple[ScheduleMemory, ...],
    *,
    next_schedules: tuple[NextSchedule, ...],
    counted: CircuitDecision,
    spent: Spent | None,
) -> DeploymentStatus:
    return DeploymentStatus(
        observed_generation=seen.generation,
        conditions=tuple(stored(condition) for condition in conditions),
        active=seen.active[:MAX_ACTIVE_LISTED],
        active_count=seen.active_count,
        queued_count=seen.queued_count,
        next_schedules=next_schedules,
        last_run=_last_run(seen),
        consecutive_failures=counted.consecutive_failures,
        circuit=_worth_telling(counted.circuit, seen),
        spent=spent,
        schedules=memory,
    )


def _worth_telling(circuit: Circuit, seen: DeploymentSnapshot) -> Circuit | None:
    """None as long as there is no circuit breaker and nothing has been counted."""
    return circuit if seen.circuit or circuit.state or circuit.counted or circuit.reset else None


def _last_run(seen: DeploymentSnapshot) -> LastRun | None:
    """The later of what the status says and what has ended since."""
    ended = seen.last_finished
    if ended is None or (seen.last_known is not None and seen.last_known.time >= ended.finished_at):
        return seen.last_known
    return LastRun(name=ended.key.name, phase=Phase(ended.phase), reason=ended.reason or None, time=ended.finished_at)

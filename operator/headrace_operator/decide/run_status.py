"""The statuses that a run passes through on its way, each built from the one before it."""

from __future__ import annotations

from datetime import datetime

from headrace.api.conditions import ConditionType, Phase, Reason
from headrace_operator.decide.changing import changed
from headrace_operator.decide.conditions import condition, find_condition, shortened, with_condition
from headrace_operator.decide.parameters import effective_parameters
from headrace_operator.decide.snapshot import Attempt, Pod, RunStatus, Snapshot, Unresolved

GIVEN_BACK: frozenset[str] = frozenset({Reason.OUTRANKED, Reason.PAUSED, Reason.BUDGET_EXCEEDED})
"""Why a run that has begun holds no places."""


def accepted(seen: Snapshot, now: datetime) -> RunStatus:
    """The status with what acceptance pins: revision, parameters, the time it began to wait."""
    status = seen.run.status
    revision, parameters = status.flow_revision, status.parameters
    if not isinstance(seen.flow, Unresolved):
        revision = revision or seen.flow.revision
        effective = effective_parameters(seen.run, seen.flow, seen.deployment)
        if effective != (seen.run.parameters or {}):
            parameters = effective
    conditions = with_condition(
        status.conditions,
        condition(
            ConditionType.ACCEPTED,
            holds=True,
            reason=Reason.ACCEPTED,
            message="flow revision pinned, parameters valid",
            now=now,
        ),
    )
    return changed(
        status,
        flow_revision=revision,
        parameters=parameters,
        conditions=conditions,
        observed_generation=seen.run.generation,
        queued_at=status.queued_at or seen.run.created,
    )


def not_accepted(seen: Snapshot, reason: Reason, message: str, now: datetime) -> RunStatus:
    conditions = with_condition(
        seen.run.status.conditions,
        condition(ConditionType.ACCEPTED, holds=False, reason=reason, message=message, now=now),
    )
    return changed(
        seen.run.status,
        phase=Phase.RETRYING if seen.run.status.attempts else Phase.PENDING,
        reason=reason,
        message=shortened(message),
        conditions=conditions,
        observed_generation=seen.run.generation,
        queued_at=seen.run.status.queued_at or seen.run.created,
    )


def admitted(seen: Snapshot, pod: Pod, now: datetime) -> RunStatus:
    base = _as_launched(accepted(seen, now), seen, pod)
    conditions = with_condition(
        base.conditions,
        condition(
            ConditionType.ADMITTED,
            holds=True,
            reason=Reason.ADMITTED,
            message=f"pod {pod.key.name} was created",
            now=now,
        ),
    )
    return changed(
        base,
        conditions=conditions,
        attempts=_with_attempt(base.attempts, pod),
        next_attempt_at=None,
        pool=pod.pool,
    )


def _as_launched(status: RunStatus, seen: Snapshot, pod: Pod) -> RunStatus:
    """Before the first status the pod tells what was pinned: its Deployment may have changed since."""
    if seen.run.status.flow_revision is not None:
        return status
    parameters = status.parameters
    if pod.parameters is not None:
        parameters = None if pod.parameters == (seen.run.parameters or {}) else pod.parameters
    return changed(status, flow_revision=pod.revision or status.flow_revision, parameters=parameters)


def _with_attempt(attempts: tuple[Attempt, ...], pod: Pod) -> tuple[Attempt, ...]:
    """A start that was told stays as it was told: a node that tells another one later is worth no write."""
    told = next((a.started_at for a in attempts if a.number == pod.attempt and a.pod == pod.key.name), None)
    current = Attempt(pod.attempt, pod.key.name, node=pod.node, pool=pod.pool, started_at=told or _started(pod))
    return (*(a for a in attempts if a.number != pod.attempt), current)


def _started(pod: Pod) -> datetime | None:
    for container in (pod.raw.get("status") or {}).get("containerStatuses") or ():
        state = container.get("state") or {}
        stamp = (state.get("running") or state.get("terminated") or {}).get("startedAt")
        if container.get("name") == "flow" and stamp:
            return datetime.fromisoformat(stamp)
    return None


def running(seen: Snapshot, pod: Pod, now: datetime) -> RunStatus:
    base = admitted(seen, pod, now)
    started = _started(pod)
    return changed(
        base,
        phase=Phase.RUNNING,
        reason=Reason.RUNNING,
        message=f"attempt {pod.attempt} runs in pod {pod.key.name}" + (f" on node {pod.node}" if pod.node else ""),
        started_at=base.started_at or started,
    )


def pending(seen: Snapshot, pod: Pod, reason: Reason, message: str, *, now: datetime) -> RunStatus:
    base = admitted(seen, pod, now)
    phase = Phase.RETRYING if pod.attempt > 1 else Phase.PENDING
    return changed(base, phase=phase, reason=reason, message=shortened(message))


def not_admitted(status: RunStatus, reason: Reason, message: str, now: datetime) -> RunStatus:
    """The status of a run that waits for a place; that it had one and gave it back stays said, whatever it waits for."""
    if is_back_in_line(status):
        return status
    lacks = condition(ConditionType.ADMITTED, holds=False, reason=reason, message=message, now=now)
    return changed(status, conditions=with_condition(status.conditions, lacks))


def is_back_in_line(status: RunStatus) -> bool:
    """Whether the run had its places and gave them back, outranked, paused or out of budget, and has not got them again."""
    found = find_condition(status.conditions, ConditionType.ADMITTED)
    return found is not None and found.status == "False" and found.reason in GIVEN_BACK


def gives_way(status: RunStatus, attempt: int) -> bool:
    """Whether the status says that this very attempt, which has not ended, must go for a run of higher priority."""
    return status.reason == Reason.OUTRANKED and any(a.number == attempt and not a.finished_at for a in status.attempts)

"""A RunStatus as the API holds it, and the smallest patch from one to the next."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from headrace.api.money import Cost
from headrace.instants import stamp
from headrace_operator.decide.snapshot import Attempt, ConditionView, PastPauseView, PauseView, RunStatus
from headrace_operator.manifests.patches import JsonPatch, status_changes


def status_patch(old: RunStatus, new: RunStatus, *, resource_version: int) -> JsonPatch | None:
    """
    A patch of what changed, None when nothing did.

    Args:
        resource_version: What the decision rests on; the API refuses the patch if the run has changed since.
    """
    return status_changes(render_status(old), render_status(new), resource_version=resource_version)


def render_status(status: RunStatus) -> dict[str, Any]:
    """The status as a mapping of its fields in the API; absent ones are left out."""
    fields: dict[str, Any] = {
        "phase": status.phase,
        "reason": status.reason,
        "message": status.message,
        "observedGeneration": status.observed_generation,
        "conditions": [render_condition(condition) for condition in status.conditions],
        "flowRevision": status.flow_revision,
        "parameters": _plain(status.parameters),
        "pool": status.pool,
        "attempts": [_attempt(attempt) for attempt in status.attempts],
        "nextAttemptAt": _stamp(status.next_attempt_at),
        "tasks": _plain(status.tasks),
        "result": _plain(status.result),
        "artifacts": [dict(artifact) for artifact in status.artifacts],
        "usage": _plain(status.usage),
        "cost": _cost(status.cost),
        "lineage": _plain(status.lineage),
        "queuedAt": _stamp(status.queued_at),
        "startedAt": _stamp(status.started_at),
        "finishedAt": _stamp(status.finished_at),
        "pause": _pause(status.pause) if status.pause else None,
        "answers": [_past_pause(past) for past in status.answers],
    }
    return {key: value for key, value in fields.items() if value is not None and value != []}


def render_condition(condition: ConditionView) -> dict[str, Any]:
    """One `metav1.Condition`."""
    rendered: dict[str, Any] = {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": stamp(condition.last_transition_time),
    }
    if condition.observed_generation is not None:
        rendered["observedGeneration"] = condition.observed_generation
    return rendered


def _attempt(attempt: Attempt) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "number": attempt.number,
        "pod": attempt.pod,
        "node": attempt.node,
        "pool": attempt.pool,
        "reason": attempt.reason,
        "message": attempt.message,
        "exitCode": attempt.exit_code,
        "startedAt": _stamp(attempt.started_at),
        "finishedAt": _stamp(attempt.finished_at),
        "cost": _cost(attempt.cost),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _cost(cost: Cost | None) -> dict[str, str] | None:
    return None if cost is None else {"amount": cost.amount, "currency": cost.currency}


def _pause(pause: PauseView) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "kind": pause.kind.value,
        "name": pause.name,
        "message": pause.message,
        "schema": _plain(pause.schema),
        "since": stamp(pause.since),
        "until": _stamp(pause.until),
        "problem": pause.problem,
        "refused": pause.refused,
    }
    return {key: value for key, value in fields.items() if value is not None}


def _past_pause(past: PastPauseView) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": past.name,
        "decision": past.decision.value,
        "input": _plain(past.input),
        "comment": past.comment,
        "since": stamp(past.since),
        "at": stamp(past.at),
    }
    return {key: value for key, value in fields.items() if value is not None}


def _stamp(instant: datetime | None) -> str | None:
    return None if instant is None else stamp(instant)


def _plain(mapping: Any) -> dict[str, Any] | None:
    return None if mapping is None else dict(mapping)

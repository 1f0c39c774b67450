"""Backfills as a decision sees them; a case states its own point."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from headrace.api.backfill import BackfillSpec, BackfillStatus
from headrace.api.conditions import Phase
from headrace.api.money import Cost
from headrace.backfills.outcomes import decoded
from headrace_operator.decide.backfill.noted import EndedRun, noted_in
from headrace_operator.decide.backfill.progress import BackfillDecision
from headrace_operator.decide.backfill.situation import ActiveRun, BackfillSnapshot
from headrace_operator.decide.snapshot import ConditionView, ObjectKey
from tests.builders import NAMESPACE, NOW

KEY = ObjectKey(NAMESPACE, "bf")


def a_spec(total: int = 10, **spec: Any) -> BackfillSpec:
    """A Backfill of so many partitions; `spec` as in a manifest."""
    listed = {"list": [{"name": f"p{number}"} for number in range(total)]}
    return BackfillSpec.model_validate({"deploymentRef": {"name": "daily"}, "partitions": listed, **spec})


def seen(
    total: int = 10, status: BackfillStatus | None = None, *, spec: Any = None, **changes: Any
) -> BackfillSnapshot:
    """A Backfill that nothing has been done for, unless `status` says so."""
    known = status or BackfillStatus()
    fields: dict[str, Any] = {
        "key": KEY,
        "uid": "bf-uid",
        "generation": 1,
        "spec": a_spec(total, **(spec or {})),
        "total": total,
        "problem": None,
        "status": known,
        "noted": noted_in(known, decoded(known.outcomes)),
        "conditions": tuple(
            ConditionView(c.type, c.status, c.reason, c.message, c.last_transition_time, c.observed_generation)
            for c in known.conditions
        ),
    }
    return BackfillSnapshot(**{**fields, **changes})


def active(*positions: int, number: int = 1) -> tuple[ActiveRun, ...]:
    """Runs under way."""
    return tuple(ActiveRun(_name(at, number), f"uid-{at}-{number}", at, number) for at in positions)


def ended(
    position: int,
    phase: Phase = Phase.SUCCEEDED,
    *,
    number: int = 1,
    at: datetime = NOW,
    cost: str | None = None,
    reason: str = "",
) -> EndedRun:
    """A run that has ended."""
    spent = Cost(amount=cost, currency="USD") if cost else None
    return EndedRun(_name(position, number), f"uid-{position}-{number}", position, number, phase, reason, at, spent)


def told(decision: BackfillDecision) -> tuple[str, str]:
    """Phase and reason of the status that is written."""
    assert decision.status is not None
    return str(decision.status.phase), str(decision.status.reason)


def positions(decision: BackfillDecision) -> list[int]:
    """Of the runs that are created."""
    return [run.position for run in decision.create]


def later(seconds: float) -> datetime:
    """So long after NOW."""
    return NOW + timedelta(seconds=seconds)


def _name(position: int, number: int) -> ObjectKey:
    return ObjectKey(NAMESPACE, f"bf-p{position}-{number}")

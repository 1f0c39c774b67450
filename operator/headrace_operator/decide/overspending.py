"""Retries for which a budget has nothing left: the run gives its places back, and waits in line for better times."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.actions import Decision
from headrace_operator.decide.conditions import shortened
from headrace_operator.decide.run_status import not_admitted
from headrace_operator.decide.snapshot import Snapshot, Turn


def out_of_budget(seen: Snapshot, now: datetime) -> Decision | None:
    """Its next attempt is due, and what is left of its Deployment's budget does not pay for it."""
    view = seen.deployment
    if view is None or view.payable is None or view.budget_wait is None or not seen.admitted:
        return None
    if isinstance(seen.turn, Turn) or seen.place.active < view.payable:
        return None
    message = view.budget_wait.message
    status = replace(
        not_admitted(seen.run.status, Reason.BUDGET_EXCEEDED, message, now),
        phase=Phase.RETRYING,
        reason=Reason.WAITING_FOR_BUDGET,
        message=shortened(message),
        next_attempt_at=None,
    )
    return Decision(reason=Reason.WAITING_FOR_BUDGET, status=status)

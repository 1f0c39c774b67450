"""What to do when the API server does not take a run's pod."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.actions import Decision, RecordEvent
from headrace_operator.decide.conditions import shortened
from headrace_operator.decide.run_status import accepted, not_admitted
from headrace_operator.decide.settle import Outcome, finish
from headrace_operator.decide.snapshot import Snapshot

TRY_AGAIN_S = 30.0
"""Quotas and policies are changed by people; nothing tells the operator when."""


def pod_refused(seen: Snapshot, message: str, *, final: bool, now: datetime) -> Decision:
    """
    A run whose pod breaks a rule for good fails; one that a quota or a policy refuses waits.

    Args:
        message: The API server's.
        final: The same pod would be refused for ever.
    """
    if final:
        text = f"the API server refuses the pod: {message}; mend the Flow (podTemplate, resources, env)"
        return finish(seen, now, Outcome(Phase.FAILED, Reason.POD_CREATION_FAILED, text))
    text = f"the API server refuses the pod for now: {message}; raise the quota or mend the policy, and it goes on"
    return _waits(seen, text, now)


def foreign_pod(seen: Snapshot, pod: str, *, now: datetime) -> Decision:
    """A pod of this name that is not this run's must go first."""
    return _waits(seen, f"pod {pod} exists and belongs to another object; delete it, and this run goes on", now)


def _waits(seen: Snapshot, message: str, now: datetime) -> Decision:
    again = now + timedelta(seconds=TRY_AGAIN_S)
    base = accepted(seen, now)
    lacking = not_admitted(base, Reason.POD_CREATION_FAILED, message, now)
    status = replace(
        lacking,
        phase=Phase.RETRYING if base.attempts else Phase.PENDING,
        reason=Reason.POD_CREATION_FAILED,
        message=shortened(message),
    )
    if status == seen.run.status:
        return Decision(reason=Reason.POD_CREATION_FAILED, look_again_at=again)
    event = RecordEvent(Reason.POD_CREATION_FAILED, message, warning=True)
    return Decision(reason=Reason.POD_CREATION_FAILED, actions=(event,), status=status, look_again_at=again)

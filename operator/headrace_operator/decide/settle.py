"""The end of an attempt, and of a run: what is written down, and whether there is another try."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from headrace.api.common import RetryPolicy
from headrace.api.conditions import ConditionType, Phase, Reason
from headrace_operator.decide.actions import Action, Decision, RecordEvent, ReleasePod
from headrace_operator.decide.admission import is_replaced
from headrace_operator.decide.conditions import shortened, with_condition
from headrace_operator.decide.diagnosis import Ending, Fate, Report
from headrace_operator.decide.retry import failures_so_far, next_attempt_at
from headrace_operator.decide.run_status import accepted, admitted
from headrace_operator.decide.snapshot import Attempt, Pod, RunStatus, Snapshot, Unresolved

START_PROBLEMS: frozenset[str] = frozenset(
    {Reason.IMAGE_PULL_FAILED, Reason.CONFIG_MISSING, Reason.CONTAINER_CREATION_FAILED}
)
"""Waits that the operator gives up after a while, as a person must act; an unschedulable pod may wait for ever."""

_PHASES_WITH_EVENT = frozenset({Phase.FAILED, Phase.CRASHED, Phase.CANCELLED})


def settle(seen: Snapshot, pod: Pod, ending: Ending, now: datetime) -> Decision:
    """Write the end of this attempt: done, once more, or over. The pod is let go only after that."""
    status = _with_ending(admitted(seen, pod, now), pod, ending, now)
    release: tuple[Action, ...] = (ReleasePod(pod.key.name, pod.uid),) if pod.held else ()
    if ending.fate is Fate.DONE:
        return finish(
            seen,
            now,
            phase=Phase.SUCCEEDED,
            reason=ending.reason,
            message=ending.message,
            status=status,
            afterwards=release,
        )
    if seen.run.cancel or is_replaced(seen):
        return _cancelled(seen, status, now, release)
    if _never_started(seen, ending):
        return finish(
            seen,
            now,
            phase=Phase.FAILED,
            reason=Reason(str(seen.run.status.reason)),
            message=seen.run.status.message or ending.message,
            status=status,
            afterwards=release,
        )
    return _retry_or_finish(seen, ending, status, now, release)


def settle_lost(seen: Snapshot, now: datetime) -> Decision:
    """As `settle`, for a pod that went without leaving its outcome (its finalizer was taken off by force)."""
    last = seen.run.status.attempts[-1]
    message = (
        f"pod {last.pod} is gone and left no outcome: somebody removed its finalizer; "
        "see the API server's audit log for who deleted it"
    )
    ended = replace(last, reason=Reason.POD_LOST, message=message, finished_at=now)
    status = replace(accepted(seen, now), attempts=(*seen.run.status.attempts[:-1], ended))
    if seen.run.cancel or is_replaced(seen):
        return _cancelled(seen, status, now, ())
    ending = Ending(fate=Fate.INFRASTRUCTURE_RETRY, reason=Reason.POD_LOST, message=message, finished_at=now)
    return _retry_or_finish(seen, ending, status, now, ())


def finish(
    seen: Snapshot,
    now: datetime,
    *,
    phase: Phase,
    reason: Reason,
    message: str,
    status: RunStatus | None = None,
    afterwards: tuple[Action, ...] = (),
) -> Decision:
    """The run's last status. A success is told by its status alone; other ends are Events too."""
    base = status or seen.run.status
    succeeded = phase is Phase.SUCCEEDED
    final = replace(
        base,
        phase=phase,
        reason=reason,
        message=shortened(message),
        conditions=with_condition(
            base.conditions, ConditionType.COMPLETED, status=succeeded, reason=reason, message=message, now=now
        ),
        observed_generation=seen.run.generation,
        next_attempt_at=None,
        queued_at=base.queued_at or seen.run.created,
        finished_at=now,
    )
    event = (RecordEvent(reason, message, warning=phase is not Phase.CANCELLED),) if phase in _PHASES_WITH_EVENT else ()
    return Decision(reason=reason, status=final, afterwards=(*afterwards, *event))


def _cancelled(seen: Snapshot, status: RunStatus, now: datetime, release: tuple[Action, ...]) -> Decision:
    reason = Reason.CANCELLED if seen.run.cancel else Reason.REPLACED
    message = "cancelled on request" if seen.run.cancel else "replaced by a newer run of its deployment"
    return finish(seen, now, phase=Phase.CANCELLED, reason=reason, message=message, status=status, afterwards=release)


def _retry_or_finish(
    seen: Snapshot, ending: Ending, status: RunStatus, now: datetime, release: tuple[Action, ...]
) -> Decision:
    infrastructure = ending.fate is Fate.INFRASTRUCTURE_RETRY
    phase = Phase.CRASHED if infrastructure else Phase.FAILED
    if ending.fate is Fate.FINAL:
        return finish(
            seen, now, phase=phase, reason=ending.reason, message=ending.message, status=status, afterwards=release
        )
    policy = retry_policy(seen, infrastructure=infrastructure)
    failures = failures_so_far(status.attempts, infrastructure=infrastructure)
    asked_s = ending.report.retry_delay_seconds if ending.report else None
    due = next_attempt_at(
        policy, failures=failures, seed=seen.run.uid, ended=ending.finished_at or now, asked_delay_s=asked_s
    )
    if due is None:
        tries = f" (no retry left of {policy.limit})" if policy.limit else ""
        return finish(
            seen,
            now,
            phase=phase,
            reason=ending.reason,
            message=f"{ending.message}{tries}",
            status=status,
            afterwards=release,
        )
    return _retrying(seen, ending, replace(status, next_attempt_at=due), f"retry {failures} of {policy.limit}", release)


def _retrying(seen: Snapshot, ending: Ending, status: RunStatus, which: str, release: tuple[Action, ...]) -> Decision:
    due = status.next_attempt_at
    message = f"{ending.message}; {which} starts at {due:%Y-%m-%dT%H:%M:%SZ}"
    waiting = replace(
        status,
        phase=Phase.RETRYING,
        reason=ending.reason,
        message=shortened(message),
        observed_generation=seen.run.generation,
    )
    event = RecordEvent(ending.reason, message, warning=True)
    return Decision(reason=Reason.RETRY_SCHEDULED, status=waiting, afterwards=(*release, event), look_again_at=due)


def retry_policy(seen: Snapshot, *, infrastructure: bool) -> RetryPolicy:
    """The Deployment's policy where it sets one, else the Flow's."""
    name = "infrastructure_retries" if infrastructure else "retries"
    ours: RetryPolicy | None = getattr(seen.deployment.spec, name) if seen.deployment else None
    if ours is not None:
        return ours
    if isinstance(seen.flow, Unresolved):  # its Flow was deleted under it: no policy, no retry
        return RetryPolicy(limit=0)
    theirs: RetryPolicy = getattr(seen.flow.spec, name)
    return theirs


def _never_started(seen: Snapshot, ending: Ending) -> bool:
    """Whether this is the end of a pod that we gave up on, as it could not start."""
    return ending.started_at is None and seen.run.status.reason in START_PROBLEMS


def _with_ending(status: RunStatus, pod: Pod, ending: Ending, now: datetime) -> RunStatus:
    attempt = Attempt(
        number=pod.attempt,
        pod=pod.key.name,
        node=pod.node,
        reason=ending.reason,
        message=shortened(ending.message),
        exit_code=ending.exit_code,
        started_at=ending.started_at,
        finished_at=ending.finished_at or now,
    )
    return _with_report(
        replace(
            status,
            attempts=(*(a for a in status.attempts if a.number != pod.attempt), attempt),
            started_at=status.started_at or ending.started_at,
        ),
        ending.report,
    )


def _with_report(status: RunStatus, report: Report | None) -> RunStatus:
    if report is None:
        return status
    return replace(
        status,
        tasks=report.tasks or status.tasks,
        usage=report.usage or status.usage,
        result=status.result if report.result is None else {"value": report.result},
    )

"""The end of an attempt, and of a run: what is written down, and whether there is another try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.api.common import RetryPolicy
from headrace.api.conditions import ConditionType, Phase, Reason
from headrace.api.flowrun import MAX_PAUSES
from headrace.api.money import Cost
from headrace.instants import stamp
from headrace_operator.decide.actions import Action, Decision, DeletePod, RecordEvent, ReleasePod
from headrace_operator.decide.admission import is_replaced
from headrace_operator.decide.artifacts import with_artifacts
from headrace_operator.decide.changing import changed
from headrace_operator.decide.conditions import condition, shortened, with_condition
from headrace_operator.decide.cost import cost_of, total_cost
from headrace_operator.decide.diagnosis import Ending, Fate, Report
from headrace_operator.decide.lineage import merged
from headrace_operator.decide.pausing import begun, is_repeated
from headrace_operator.decide.pod_facts import taken_at
from headrace_operator.decide.retry import MOVES, failures_so_far, next_attempt_at
from headrace_operator.decide.run_status import accepted, admitted, not_admitted
from headrace_operator.decide.snapshot import Attempt, Pod, RunStatus, Snapshot, Unresolved

START_PROBLEMS: frozenset[str] = frozenset(
    {Reason.IMAGE_PULL_FAILED, Reason.CONFIG_MISSING, Reason.CONTAINER_CREATION_FAILED}
)
"""Waits that the operator gives up after a while, as a person must act; an unschedulable pod may wait for ever."""

_PHASES_WITH_EVENT = frozenset({Phase.FAILED, Phase.CRASHED, Phase.CANCELLED})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ends: the phase, and why."""

    phase: Phase
    reason: Reason
    message: str


def settle(seen: Snapshot, pod: Pod, ending: Ending, now: datetime) -> Decision:
    """Write the end of this attempt: done, once more, or over. The pod is let go only after that."""
    asked = cancellation(seen)
    if asked is not None and ending.reason is Reason.POD_DELETED:  # by us
        ending = changed(ending, reason=asked.reason, message=asked.message)
    moved = _moved(seen, pod, ending)
    if moved is not None:
        ending = changed(ending, reason=moved, message=seen.run.status.message or ending.message)
        if pod.node is None:  # nothing but our taking it back tells when it ended
            ending = changed(ending, finished_at=now)
    began = (at for at in (taken_at(pod.raw), ending.started_at) if at is not None)
    cost = cost_of(seen.price, since=min(began, default=None), until=ending.finished_at or now)
    status = _with_ending(admitted(seen, pod, now), pod, ending, cost=cost, now=now)
    decision = _what_next(seen, ending, status, now)
    leave: list[Action] = []
    if is_live(pod) and not pod.deleting:  # a container beside the flow's goes on
        leave.append(DeletePod(pod.key.name, pod.uid))
    if pod.held:
        leave.append(ReleasePod(pod.key.name, pod.uid))
    return changed(decision, afterwards=(*leave, *decision.afterwards))


def settle_lost(seen: Snapshot, now: datetime) -> Decision:
    """As `settle`, for a pod that went without leaving its outcome (its finalizer was taken off by force)."""
    last = seen.run.status.attempts[-1]
    message = (
        f"pod {last.pod} is gone and left no outcome: somebody removed its finalizer; "
        "see the API server's audit log for who deleted it"
    )
    ended = changed(last, reason=Reason.POD_LOST, message=message, finished_at=now)
    status = changed(accepted(seen, now), attempts=(*seen.run.status.attempts[:-1], ended))
    ending = Ending(fate=Fate.INFRASTRUCTURE_RETRY, reason=Reason.POD_LOST, message=message, finished_at=now)
    return _what_next(seen, ending, status, now)


def is_live(pod: Pod) -> bool:
    """Whether a process of the pod may still run."""
    return (pod.raw.get("status") or {}).get("phase") not in {"Succeeded", "Failed"}


def finish(
    seen: Snapshot,
    now: datetime,
    outcome: Outcome,
    *,
    status: RunStatus | None = None,
) -> Decision:
    """The run's last status. A success is told by its status alone; other ends are Events too."""
    base = status or seen.run.status
    completed = condition(
        ConditionType.COMPLETED,
        holds=True,
        reason=outcome.reason,
        message=outcome.message,
        now=now,
    )
    final = changed(
        base,
        phase=outcome.phase,
        reason=outcome.reason,
        message=shortened(outcome.message),
        conditions=with_condition(base.conditions, completed),
        observed_generation=seen.run.generation,
        next_attempt_at=None,
        pause=None,
        queued_at=base.queued_at or seen.run.created,
        finished_at=now,
    )
    events: tuple[Action, ...] = ()
    if outcome.phase in _PHASES_WITH_EVENT:
        events = (RecordEvent(outcome.reason, outcome.message, warning=outcome.phase is not Phase.CANCELLED),)
    return Decision(reason=outcome.reason, status=final, afterwards=events)


def cancellation(seen: Snapshot) -> Outcome | None:
    """How the run ends if somebody, or a newer run, asked for its end; None if nobody did."""
    if seen.run.cancel:
        return Outcome(Phase.CANCELLED, Reason.CANCELLED, "cancelled on request (spec.cancel)")
    parent = seen.run.parent
    if parent is not None and seen.parent_is_over:
        did = "called this task" if seen.run.task else "started this run"
        message = f"FlowRun {parent.name}, which {did}, is over or was cancelled"
        return Outcome(Phase.CANCELLED, Reason.CANCELLED, message)
    if is_replaced(seen):
        return Outcome(Phase.CANCELLED, Reason.REPLACED, "replaced by a newer run of its deployment")
    return None


def retry_policy(seen: Snapshot, *, infrastructure: bool) -> RetryPolicy:
    """The Deployment's policy where it sets one, else the Flow's. A remote task's own retries are made in its pod."""
    if seen.run.task is not None and not infrastructure:
        return RetryPolicy(limit=0)
    name = "infrastructure_retries" if infrastructure else "retries"
    ours: RetryPolicy | None = getattr(seen.deployment.spec, name) if seen.deployment else None
    if ours is not None:
        return ours
    if isinstance(seen.flow, Unresolved):  # its Flow was deleted under it: no policy, no retry
        return RetryPolicy(limit=0)
    theirs: RetryPolicy = getattr(seen.flow.spec, name)
    return theirs


def _what_next(seen: Snapshot, ending: Ending, status: RunStatus, now: datetime) -> Decision:
    if ending.fate is Fate.DONE:
        return finish(seen, now, Outcome(Phase.SUCCEEDED, ending.reason, ending.message), status=status)
    asked = cancellation(seen)
    if asked is not None:
        return finish(seen, now, asked, status=status)
    if _never_started(seen, ending):
        told = Outcome(Phase.FAILED, Reason(str(seen.run.status.reason)), seen.run.status.message or ending.message)
        return finish(seen, now, told, status=status)
    if ending.reason in MOVES:
        return _goes_elsewhere(seen, ending, status, now)
    if ending.fate is Fate.PAUSED:
        return _pauses(seen, ending, status, now)
    return _retry_or_finish(seen, ending, status, now)


def _moved(seen: Snapshot, pod: Pod, ending: Ending) -> Reason | None:
    """Why we ended the pod ourselves, to start the run anew elsewhere; None if we did not."""
    told = seen.run.status.reason
    of_this_pod = any(a.number == pod.attempt and a.finished_at is None for a in seen.run.status.attempts)
    if told not in MOVES or not of_this_pod or ending.fate is Fate.DONE:
        return None
    # A run that was outranked runs already, and ends in its own way when it is told to; the others never began.
    ended_by_us = told == Reason.OUTRANKED or ending.reason is Reason.POD_DELETED
    return Reason(told) if ended_by_us else None


def _goes_elsewhere(seen: Snapshot, ending: Ending, status: RunStatus, now: datetime) -> Decision:
    """The next attempt starts as soon as there is a place for it; nobody's retries are spent on that."""
    waiting = changed(
        status,
        phase=Phase.RETRYING,
        reason=ending.reason,
        message=shortened(ending.message),
        observed_generation=seen.run.generation,
    )
    if ending.reason is Reason.OUTRANKED:
        waiting = not_admitted(waiting, ending.reason, ending.message, now)
    event = RecordEvent(ending.reason, ending.message, warning=True)
    return Decision(reason=ending.reason, status=waiting, afterwards=(event,))


def _pauses(seen: Snapshot, ending: Ending, status: RunStatus, now: datetime) -> Decision:
    assert ending.report is not None
    assert ending.report.pause is not None
    asked = ending.report.pause
    problem = None
    if sum(attempt.reason == Reason.PAUSED for attempt in status.attempts) > MAX_PAUSES:
        problem = f"a run can pause {MAX_PAUSES} times; sleep less than a minute at a time, or split the flow"
    elif is_repeated(asked, status):
        problem = f'it paused at "{asked.name}" again, which is over: its process did not read HEADRACE_ANSWERS'
    if problem is not None:
        return finish(seen, now, Outcome(Phase.FAILED, Reason.TOO_MANY_PAUSES, problem), status=status)
    return begun(seen, asked, status, since=ending.finished_at or now, now=now)


def _retry_or_finish(seen: Snapshot, ending: Ending, status: RunStatus, now: datetime) -> Decision:
    infrastructure = ending.fate is Fate.INFRASTRUCTURE_RETRY
    over = Outcome(_bad_end(ending), ending.reason, ending.message)
    if ending.fate is Fate.FINAL:
        return finish(seen, now, over, status=status)
    policy = retry_policy(seen, infrastructure=infrastructure)
    failures = failures_so_far(status.attempts, infrastructure=infrastructure)
    due = next_attempt_at(
        policy,
        failures=failures,
        seed=seen.run.uid,
        ended=min(ending.finished_at or now, now),  # a node whose clock is ahead must not put it off
        asked_delay_s=ending.report.retry_delay_seconds if ending.report else None,
    )
    if due is None:
        tries = f" (no retry left of {policy.limit})" if policy.limit else ""
        return finish(seen, now, changed(over, message=f"{ending.message}{tries}"), status=status)
    told = f"{ending.message}; retry {failures} of {policy.limit} starts at {stamp(due)}"
    return _retry_later(seen, ending.reason, told, changed(status, next_attempt_at=due))


def _bad_end(ending: Ending) -> Phase:
    if ending.reason in {
        Reason.CANCELLED,
        Reason.REJECTED,
    }:  # the flow ended itself so, or was ended from inside its pod
        return Phase.CANCELLED
    return Phase.CRASHED if ending.fate is Fate.INFRASTRUCTURE_RETRY else Phase.FAILED


def _retry_later(seen: Snapshot, reason: Reason, message: str, status: RunStatus) -> Decision:
    waiting = changed(
        status,
        phase=Phase.RETRYING,
        reason=reason,
        message=shortened(message),
        observed_generation=seen.run.generation,
    )
    return Decision(
        reason=Reason.RETRY_SCHEDULED,
        status=waiting,
        afterwards=(RecordEvent(reason, message, warning=True),),
        look_again_at=status.next_attempt_at,
    )


def _never_started(seen: Snapshot, ending: Ending) -> bool:
    """Whether this is the end of a pod that could not start: given up by us, or at its time limit."""
    ended_so = ending.reason in {Reason.POD_DELETED, Reason.TIMED_OUT}
    return ended_so and ending.started_at is None and seen.run.status.reason in START_PROBLEMS


def _with_ending(status: RunStatus, pod: Pod, ending: Ending, *, cost: Cost | None, now: datetime) -> RunStatus:
    attempt = Attempt(
        number=pod.attempt,
        pod=pod.key.name,
        node=pod.node,
        pool=pod.pool,
        reason=ending.reason,
        message=shortened(ending.message),
        exit_code=ending.exit_code,
        started_at=ending.started_at,
        finished_at=ending.finished_at or now,
        cost=cost,
    )
    attempts = (*(a for a in status.attempts if a.number != pod.attempt), attempt)
    return _with_report(
        changed(
            status,
            attempts=attempts,
            cost=total_cost(a.cost for a in attempts),
            started_at=status.started_at or ending.started_at,
        ),
        ending.report,
    )


def _with_report(status: RunStatus, report: Report | None) -> RunStatus:
    if report is None:
        return status
    return changed(
        status,
        tasks=report.tasks or status.tasks,
        usage=report.usage or status.usage,
        artifacts=with_artifacts(status.artifacts, report.artifacts),
        lineage=merged(status.lineage, report.lineage),
        result=_result(report) or status.result,
    )


def _result(report: Report) -> Mapping[str, Any] | None:
    if report.result is not None:
        return {"value": report.result}
    if report.result_url is not None:
        return {"url": report.result_url}
    return {"omitted": True} if report.result_omitted else None

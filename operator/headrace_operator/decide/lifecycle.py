"""
What to do about one FlowRun: the first rule with an answer wins.

    (new) ──> Pending ──> Running ──> Succeeded
                ^  │         │ ├────> Failed | Crashed
                │  │         │ └────> Retrying ──> Running …
                │  v         v
              Paused      Cancelled        Skipped, Failed/InvalidParameters: from Pending, without a pod
                           Paused ──> Retrying: the flow asks for an answer or a time (decide/pausing.py)

Rules about pods that exist come before rules about what ought to be: an outcome is taken down first, whatever
was changed since.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.actions import Action, Decision, DeletePod, LaunchPod, PassReason, RecordEvent, ReleasePod
from headrace_operator.decide.admission import is_skipped
from headrace_operator.decide.circuit import circuit_wait
from headrace_operator.decide.conditions import shortened
from headrace_operator.decide.diagnosis import Waiting, diagnose_end, diagnose_wait
from headrace_operator.decide.overspending import out_of_budget
from headrace_operator.decide.parameters import effective_parameters, parameter_problem
from headrace_operator.decide.pausing import pauses
from headrace_operator.decide.placement import falls_over
from headrace_operator.decide.run_status import accepted, gives_way, not_accepted, not_admitted, pending, running
from headrace_operator.decide.settle import START_PROBLEMS, Outcome, cancellation, finish, is_live, settle, settle_lost
from headrace_operator.decide.snapshot import Blocked, Pod, RunStatus, Snapshot, Turn, Unresolved, current_pod, own_pods
from headrace_operator.decide.waiting import SLOW_START_S, UNANSWERED_S

Rule = Callable[[Snapshot, datetime], Decision | None]

OUTRANKED = "a run of higher priority needs its place; it starts again when its turn comes"


def decide(seen: Snapshot, now: datetime) -> Decision:
    """First rule with an answer wins; the order is policy and is tested."""
    for rule in RULES:
        if decision := rule(seen, now):
            return decision
    return Decision(reason=PassReason.NOTHING_TO_DO)


def decide_turn(seen: Snapshot, now: datetime) -> Decision:
    """As `decide`, for a run that has asked and been answered: no rule before those about its turn rests on that."""
    return waits_for_its_turn(seen, now) or starts(seen, now) or Decision(reason=PassReason.NOTHING_TO_DO)


def being_deleted(seen: Snapshot, _now: datetime) -> Decision | None:
    """Its pods go with it by owner reference; we only stop holding them."""
    if not seen.run.deleting:
        return None
    return Decision(reason=PassReason.RUN_DELETED, actions=_release_all(seen))


def already_finished(seen: Snapshot, _now: datetime) -> Decision | None:
    """The outcome is written: what is left of its pods may go."""
    return Decision(reason=PassReason.ALREADY_FINISHED, actions=clear_orphans(seen.pods)) if seen.run.finished else None


def attempt_is_recorded(seen: Snapshot, _now: datetime) -> Decision | None:
    """A pod whose end is in the status already: the operator died between the two writes."""
    ended = {a.pod for a in seen.run.status.attempts if a.finished_at is not None}
    stale = tuple(ReleasePod(pod.key.name, pod.uid) for pod in seen.pods if pod.held and pod.key.name in ended)
    return Decision(reason=PassReason.OUTCOME_ALREADY_WRITTEN, actions=stale) if stale else None


def pod_ended(seen: Snapshot, now: datetime) -> Decision | None:
    """The current pod's end is taken down, then the pod is let go."""
    pod = current_pod(seen)
    if pod is None:
        return None
    ending = diagnose_end(pod.raw, now=now, sdk=_is_sdk(seen))
    return None if ending is None else settle(seen, pod, ending, now)


def pod_lost(seen: Snapshot, now: datetime) -> Decision | None:
    """The status says that an attempt runs, and its pod is confirmed to be gone."""
    return settle_lost(seen, now) if seen.lost else None


def cancelled(seen: Snapshot, now: datetime) -> Decision | None:
    """Somebody, or a newer run, asked for its end."""
    outcome = cancellation(seen)
    if outcome is None:
        return None
    pod = current_pod(seen)
    return finish(seen, now, outcome) if pod is None else _ask_to_end(seen, pod, outcome, now)


def _ask_to_end(seen: Snapshot, pod: Pod, outcome: Outcome, now: datetime) -> Decision | None:
    if pod.deleting:
        return _unanswered_end(seen, pod, now)
    asked = Reason.REPLACED if outcome.reason is Reason.REPLACED else Reason.CANCEL_REQUESTED
    message = f"pod {pod.key.name} was asked to end; it is killed when its grace period is over"
    status = _told(seen, pod, asked, message, now=now)
    return Decision(reason=asked, actions=(DeletePod(pod.key.name, pod.uid),), status=status)


def _unanswered_end(seen: Snapshot, pod: Pod, now: datetime) -> Decision | None:
    """A pod that was asked to end and whose node does not answer: the run waits, and says for what."""
    waiting = diagnose_wait(pod.raw, now=now)
    if waiting is None:
        return Decision(reason=PassReason.POD_IS_ENDING, look_again_at=_unanswered_at(pod))
    return _tell_wait(seen, pod, waiting, now)


def _unanswered_at(pod: Pod) -> datetime | None:
    """When a pod that was asked to end counts as unanswered; None if nobody asked."""
    deadline = pod.raw["metadata"].get("deletionTimestamp")
    return datetime.fromisoformat(deadline) + timedelta(seconds=UNANSWERED_S + 1) if deadline else None


def outranked(seen: Snapshot, now: datetime) -> Decision | None:
    """A run of higher priority needs its places: it gives them back, and waits for its turn again."""
    pod = current_pod(seen)
    if pod is None:
        return _gives_way_between_attempts(seen, now) if seen.outranked and seen.admitted else None
    if not (seen.outranked or gives_way(seen.run.status, pod.attempt)):
        return None
    if pod.deleting:
        return Decision(reason=PassReason.POD_IS_ENDING, look_again_at=_unanswered_at(pod))
    # The status first: it tells the pod's end apart from a deletion by somebody else.
    status = _told(seen, pod, Reason.OUTRANKED, OUTRANKED, now=now)
    return Decision(
        reason=Reason.OUTRANKED,
        status=status if status != seen.run.status else None,
        afterwards=(DeletePod(pod.key.name, pod.uid),),
    )


def _gives_way_between_attempts(seen: Snapshot, now: datetime) -> Decision | None:
    status = replace(
        not_admitted(seen.run.status, Reason.OUTRANKED, OUTRANKED, now), reason=Reason.OUTRANKED, message=OUTRANKED
    )
    return Decision(reason=Reason.OUTRANKED, status=status, afterwards=(RecordEvent(Reason.OUTRANKED, OUTRANKED),))


def pod_exists(seen: Snapshot, now: datetime) -> Decision | None:
    """The current pod has not ended: tell whether it runs, or what it waits for."""
    pod = current_pod(seen)
    if pod is None:
        return None
    waiting = diagnose_wait(pod.raw, now=now)
    if waiting is not None and not _may_be_over_soon(seen, pod, waiting, now):
        return _pod_waits(seen, pod, waiting, now)
    if not _runs(pod):
        return _pod_starts(seen, pod, now)
    status = running(seen, pod, now)
    return Decision(
        reason=Reason.RUNNING,
        status=status if status != seen.run.status else None,
        look_again_at=_unanswered_at(pod),
    )


def _may_be_over_soon(seen: Snapshot, pod: Pod, waiting: Waiting, now: datetime) -> bool:
    """A pod that found no node at once often finds one in a moment: that is worth no write and no Event."""
    return waiting.reason is Reason.UNSCHEDULABLE and now < _quiet_until(seen, pod, now)


def _quiet_until(seen: Snapshot, pod: Pod, now: datetime) -> datetime:
    return _created(pod, now) + timedelta(seconds=seen.patience.start_s)


def _pod_starts(seen: Snapshot, pod: Pod, now: datetime) -> Decision:
    """Nothing is wrong yet; only a start that takes its time is worth a write."""
    quiet_until = _quiet_until(seen, pod, now)
    if now < quiet_until:
        return Decision(reason=PassReason.POD_STARTING, look_again_at=quiet_until)
    message = f"pod {pod.key.name} is on its way" + (f" on node {pod.node}" if pod.node else "")
    status = pending(seen, pod, Reason.POD_PENDING, message, now=now)
    slow_at = _bound_at(pod, now) + timedelta(seconds=SLOW_START_S + 1)
    return Decision(
        reason=PassReason.POD_STARTING,
        status=status if status != seen.run.status else None,
        look_again_at=slow_at if now < slow_at else _unanswered_at(pod),
    )


def _pod_waits(seen: Snapshot, pod: Pod, waiting: Waiting, now: datetime) -> Decision:
    deadline = _created(pod, now) + timedelta(seconds=seen.start_deadline_s)
    decision = _tell_wait(seen, pod, waiting, now)
    if waiting.reason is Reason.UNSCHEDULABLE and not pod.deleting:
        return _finds_no_node(seen, pod, decision, waiting.message, now=now)
    if waiting.reason not in START_PROBLEMS or pod.deleting:
        return decision
    if waiting.hopeless or now >= deadline:
        # After the status, which tells the pod's end apart from a deletion by somebody else.
        return replace(decision, afterwards=(DeletePod(pod.key.name, pod.uid),))
    return replace(decision, look_again_at=deadline)


def _finds_no_node(seen: Snapshot, pod: Pod, waits: Decision, refused: str, *, now: datetime) -> Decision:
    """It waits for a node; where another pool fits it, only for a while."""
    found = falls_over(seen.placement, created=_created(pod, now), refused=refused)
    if found is None:
        return waits
    if now < found.due:
        return replace(waits, look_again_at=found.due)
    # The status first: it tells the pod's end apart from a deletion by somebody else. And only this very pod: the
    # scheduler may be binding it just now.
    status = pending(seen, pod, Reason.POOL_UNAVAILABLE, found.message, now=now)
    return Decision(
        reason=Reason.POOL_UNAVAILABLE,
        status=status if status != seen.run.status else None,
        afterwards=(DeletePod(pod.key.name, pod.uid, pod.version),),
    )


def _tell_wait(seen: Snapshot, pod: Pod, waiting: Waiting, now: datetime) -> Decision:
    """What it waits for goes to the status; an Event only when the kind of wait changes."""
    status = _told(seen, pod, waiting.reason, waiting.message, now=now)
    if status == seen.run.status:
        return Decision(reason=waiting.reason)
    is_news = seen.run.status.reason != waiting.reason
    event = (RecordEvent(waiting.reason, waiting.message, warning=True),) if is_news else ()
    return Decision(reason=waiting.reason, actions=event, status=status)


def pod_unseen(seen: Snapshot, _now: datetime) -> Decision | None:
    """An attempt is under way, its pod neither seen nor known to be gone: a second one might live beside it."""
    attempts = seen.run.status.attempts
    if not attempts or attempts[-1].finished_at is not None:
        return None
    return Decision(reason=PassReason.POD_UNSEEN)


def _told(seen: Snapshot, pod: Pod, reason: Reason, message: str, *, now: datetime) -> RunStatus:
    """The status of a run whose pod is there, with something to tell; Pending is said of pods that do not run yet."""
    if not _runs(pod):
        return pending(seen, pod, reason, message, now=now)
    return replace(running(seen, pod, now), reason=reason, message=shortened(message))


def _runs(pod: Pod) -> bool:
    phase: str | None = (pod.raw.get("status") or {}).get("phase")
    return phase == "Running"


def key_unsettled(seen: Snapshot, _now: datetime) -> Decision | None:
    """Whether an earlier run has its idempotency key is not known yet: the operator has just started."""
    if seen.key_is_settled or seen.admitted or seen.run.status.attempts:
        return None
    return Decision(reason=PassReason.HISTORY_NOT_READ)


def duplicate(seen: Snapshot, now: datetime) -> Decision | None:
    """Another run has its idempotency key, and is the one that counts."""
    if seen.first is None or seen.admitted or seen.run.status.attempts:
        return None
    message = f'run {seen.first.name} has the same spec.idempotencyKey "{seen.run.idempotency_key}", and counts'
    return finish(seen, now, Outcome(Phase.SKIPPED, Reason.DUPLICATE, message))


def unresolved(seen: Snapshot, now: datetime) -> Decision | None:
    """The Flow, Deployment or revision that it names is not there (yet), or gives this Deployment no pods."""
    lacks = seen.flow if isinstance(seen.flow, Unresolved) else seen.withheld
    if lacks is None:
        return None
    status = not_accepted(seen, lacks.reason, lacks.message, now)
    if status == seen.run.status:
        return Decision(reason=lacks.reason)
    event = RecordEvent(lacks.reason, lacks.message, warning=True)
    return Decision(reason=lacks.reason, actions=(event,), status=status)


def foreign_task(seen: Snapshot, now: datetime) -> Decision | None:
    """A run may call its own tasks: those of another Flow would run with the other's ServiceAccount and Secrets."""
    if not seen.is_foreign:
        return None
    task = seen.run.task
    message = (
        f"spec.flowRef: names other code than FlowRun {task.parent.name if task else ''} runs, which is said to have called "
        "this task; a run calls tasks of its own Flow, at its own revision"
    )
    status = not_accepted(seen, Reason.FOREIGN_TASK, message, now)
    return finish(seen, now, Outcome(Phase.FAILED, Reason.FOREIGN_TASK, message), status=status)


def wrong_parameters(seen: Snapshot, now: datetime) -> Decision | None:
    """Parameters that break the Flow's schema end the run before it has a pod; once they are pinned, they are known to be right."""
    if isinstance(seen.flow, Unresolved) or seen.run.status.attempts or seen.run.status.flow_revision is not None:
        return None
    problem = parameter_problem(effective_parameters(seen.run, seen.flow, seen.deployment), seen.flow)
    if problem is None:
        return None
    status = not_accepted(seen, Reason.INVALID_PARAMETERS, problem, now)
    return finish(seen, now, Outcome(Phase.FAILED, Reason.INVALID_PARAMETERS, problem), status=status)


def suspended(seen: Snapshot, now: datetime) -> Decision | None:
    """`spec.suspend` holds the next attempt back."""
    if not seen.run.suspend:
        return None
    message = "spec.suspend is true; set it to false to go on"
    status = replace(
        accepted(seen, now), phase=Phase.PAUSED, reason=Reason.SUSPENDED, message=message, next_attempt_at=None
    )
    return Decision(reason=Reason.SUSPENDED, status=status if status != seen.run.status else None)


def backs_off(seen: Snapshot, now: datetime) -> Decision | None:
    """A retry that is not due yet."""
    due = seen.run.status.next_attempt_at
    return Decision(reason=PassReason.BACKING_OFF, look_again_at=due) if due is not None and now < due else None


def skipped(seen: Snapshot, now: datetime) -> Decision | None:
    """Every slot is taken and the deployment skips."""
    if not is_skipped(seen):
        return None
    reason = Reason.SKIPPED_BY_CONCURRENCY
    message = "no slot of its deployment is free (spec.concurrency.limit), and spec.concurrency.onConflict is Skip"
    wait = circuit_wait(seen.deployment.circuit) if seen.deployment else None
    if wait is not None:
        reason, message = wait[0], f"{wait[1]}; spec.concurrency.onConflict is Skip"
    elif seen.deployment is not None and seen.deployment.budget_wait is not None:
        over = seen.deployment.budget_wait
        reason, message = over.reason, f"{over.message}; spec.concurrency.onConflict is Skip"
    return finish(seen, now, Outcome(Phase.SKIPPED, reason, message))


def earlier_pod_is_live(seen: Snapshot, _now: datetime) -> Decision | None:
    """A pod of the attempt before, or of a deleted run of the same name, must have ended first."""
    earlier = tuple(pod for pod in seen.pods if pod.run_uid != seen.run.uid or is_live(pod))
    return Decision(reason=PassReason.EARLIER_POD_IS_LIVE, actions=clear_orphans(earlier)) if earlier else None


def asks_for_its_turn(seen: Snapshot, _now: datetime) -> Decision | None:
    """Nothing else is in the way."""
    return Decision(reason=PassReason.ASKS_FOR_ITS_TURN, asks=True) if seen.turn is None else None


def waits_for_its_turn(seen: Snapshot, now: datetime) -> Decision | None:
    """What it needs is taken, or promised to runs ahead of it."""
    if not isinstance(seen.turn, Blocked):
        return None
    told_at = seen.run.created + timedelta(seconds=seen.patience.turn_s)
    if now < told_at and seen.run.status.phase is None:
        return Decision(reason=seen.turn.reason, look_again_at=told_at)
    # No count of the runs ahead is in the message: it would change, and be written, with each run that ends.
    reason, message = seen.turn.reason, seen.turn.message
    status = replace(
        not_admitted(accepted(seen, now), reason, message, now),
        phase=Phase.RETRYING if seen.run.status.attempts else Phase.PENDING,
        reason=reason,
        message=shortened(message),
    )
    return Decision(reason=reason, status=status if status != seen.run.status else None)


def starts(seen: Snapshot, _now: datetime) -> Decision | None:
    """It is its turn: the next attempt's pod is created."""
    if not isinstance(seen.turn, Turn):
        return None
    return Decision(reason=PassReason.LAUNCHED, actions=(LaunchPod(_next_attempt(seen), seen.turn),))


RULES: tuple[Rule, ...] = (
    being_deleted,
    already_finished,
    attempt_is_recorded,
    pod_ended,
    pod_lost,
    cancelled,
    outranked,
    pod_exists,
    pod_unseen,
    pauses,
    key_unsettled,
    duplicate,
    unresolved,
    foreign_task,
    wrong_parameters,
    suspended,
    backs_off,
    out_of_budget,
    skipped,
    earlier_pod_is_live,
    asks_for_its_turn,
    waits_for_its_turn,
    starts,
)


def _next_attempt(seen: Snapshot) -> int:
    recorded = [a.number for a in seen.run.status.attempts]
    existing = [pod.attempt for pod in own_pods(seen)]
    return max([0, *recorded, *existing]) + 1


def _is_sdk(seen: Snapshot) -> bool:
    return isinstance(seen.flow, Unresolved) or seen.flow.spec.entrypoint is not None


def _release_all(seen: Snapshot) -> tuple[Action, ...]:
    return tuple(ReleasePod(pod.key.name, pod.uid) for pod in seen.pods if pod.held)


def _created(pod: Pod, now: datetime) -> datetime:
    stamp = pod.raw["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(stamp) if stamp else now


def _bound_at(pod: Pod, now: datetime) -> datetime:
    """When it got its node, as far as it tells: a start is slow counted from then."""
    conditions = (pod.raw.get("status") or {}).get("conditions") or ()
    bound = next((c for c in conditions if c.get("type") == "PodScheduled" and c.get("lastTransitionTime")), None)
    return _created(pod, now) if bound is None else datetime.fromisoformat(bound["lastTransitionTime"])


def clear_orphans(pods: tuple[Pod, ...]) -> tuple[Action, ...]:
    """For pods whose run is gone or over: end those that still run, let go of all."""
    stop = tuple(DeletePod(pod.key.name, pod.uid) for pod in pods if is_live(pod) and not pod.deleting)
    release = tuple(ReleasePod(pod.key.name, pod.uid) for pod in pods if pod.held)
    return (*stop, *release)

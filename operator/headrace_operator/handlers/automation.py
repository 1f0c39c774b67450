"""
The reconcile of Automations: what has happened is claimed in the status, then it is acted on.

    occurrence ──(status, by compare and swap)──> open firing ──(actions)──> ended firing in the status

The claim comes first. Who dies after it leaves an open firing, which the next one acts on; who dies before it leaves an occurrence that is
found again. Receivers of webhooks claim in the same way, on any replica.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

import structlog

from headrace.api.automation import AutomationStatus, Firing, PlannedAction, RunDeed
from headrace.api.conditions import ConditionType, EventReason, Reason
from headrace.api.keys import API_VERSION
from headrace.kubeapi.errors import ApiError, Forbidden, Invalid
from headrace_operator.apply.automation import change_deployment, repeat_run, start_run
from headrace_operator.apply.cancelling import cancel_run
from headrace_operator.apply.events import record_event, write_event
from headrace_operator.apply.webhooks import Delivery
from headrace_operator.decide.actions import GivenReason, RecordEvent
from headrace_operator.decide.automation.claiming import COUNTED_EVERY, AutomationSnapshot, claimed
from headrace_operator.decide.automation.occurrences import Occurrence
from headrace_operator.decide.automation.progress import open_firings, with_ended
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.automation_secrets import secrets_due, secrets_problem
from headrace_operator.handlers.automation_sources import problem_of, series_of, stand
from headrace_operator.handlers.context import Context, seconds_until
from headrace_operator.kube.resources import AUTOMATIONS
from headrace_operator.manifests.automation_run import run_names
from headrace_operator.manifests.event import Subject
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.automations import AutomationRecord, Waiting

log = structlog.get_logger()

BLIND: Final = (Reason.QUERY_FAILED, Reason.EVENTS_NOT_READABLE)
PATIENCE: Final = timedelta(hours=1)
"""An action that the API server forbids is tried for this long: a quota may be used up, or a policy forbid it, for a while."""


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring one Automation one step on. Returns seconds until time alone calls for the next one."""
    automations = context.intake.automations
    record = automations.held.get(key)
    if record is None or record.deleting:
        context.metrics.automations.gone(key)
        context.webhooks.forget_all(key)
        context.queries.forget(key)
        return None
    now = context.clock()
    dues = [automations.due(record, now), stand(context, record, now)]
    problem = await _problem(context, record, now)
    dues.append(secrets_due(context, record))
    record = await _claim(context, record, problem, now)
    await _act(context, record)
    waiting = automations.waiting(record.uid)
    if waiting.counted_since is not None:
        dues.append(waiting.counted_since + COUNTED_EVERY)
    return seconds_until(min((due for due in dues if due is not None), default=None), context.clock())


async def _problem(context: Context, record: AutomationRecord, now: datetime) -> tuple[Reason, str] | None:
    """Why it cannot act as it should, None if it can. What can be done is done all the same."""
    missing = await secrets_problem(context, record, now)
    if record.rules is None:
        return Reason.INVALID_SPEC, record.problem or ""
    problem = problem_of(context, record)
    if problem is None and missing is not None:
        return Reason.SECRET_NOT_READABLE, missing
    return problem


async def _claim(
    context: Context, record: AutomationRecord, problem: tuple[Reason, str] | None, now: datetime
) -> AutomationRecord:
    """What has happened goes into the status, where it is to be acted on. Returns the record with it."""
    waiting = context.intake.automations.waiting(record.uid)
    seen = _snapshot(context, record, waiting, problem)
    claim = claimed(seen, now)
    if claim.status is not None:
        before, record = record, await _write(context, record, claim.status)
        await _tell_blindness(context, before, problem)
    _forget(waiting, claim.settled)
    # Beside what is left for later, what was counted while the status was written: it is not in it.
    waiting.counts, waiting.counted_since = claim.counts + (waiting.counts - seen.counts), claim.counted_since
    context.metrics.automations.judged(record.key, claim.judgement.outcomes)
    for firing in claim.judgement.fresh:
        log.info("automation_fired", firing=firing.id, about=firing.about)
        if firing.message is not None:
            await _tell_failure(context, record, firing.message)
    return record


def _snapshot(
    context: Context, record: AutomationRecord, waiting: Waiting, problem: tuple[Reason, str] | None
) -> AutomationSnapshot:
    return AutomationSnapshot(
        uid=record.uid,
        generation=record.generation,
        created=record.created,
        rules=record.rules,
        status=record.status,
        problem=problem,
        series=series_of(context, record),
        occurrences=tuple(waiting.occurrences.values()),
        listed=waiting.listed,
        counts=waiting.counts.copy(),
        counted_since=waiting.counted_since,
    )


def _forget(waiting: Waiting, settled: Iterable[Occurrence]) -> None:
    """Not what has been told of anew since it was judged."""
    for each in settled:
        if waiting.occurrences.get(each.id) is each:
            del waiting.occurrences[each.id]
            waiting.listed.discard(each.id)


async def _write(context: Context, record: AutomationRecord, status: AutomationStatus) -> AutomationRecord:
    """Raises: Conflict: a receiver was quicker, or somebody changed the spec. ApiError."""
    told = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = status_changes(record.stored, told, resource_version=record.version)
    if patch is None:
        return record
    stored = await context.cluster.patch(AUTOMATIONS, *record.key, patch, subresource="status")
    automations = context.intake.automations
    automations.seen(stored)
    return automations.held.get(record.key, record)


async def _tell_blindness(context: Context, before: AutomationRecord, problem: tuple[Reason, str] | None) -> None:
    """Once for each time that what it waits for cannot be seen any more."""
    told = next((each.reason for each in before.status.conditions if each.type == ConditionType.READY), None)
    if problem is not None and problem[0] in BLIND and told != problem[0]:
        await _tell(context, before, RecordEvent(problem[0], problem[1], warning=True))


async def _act(context: Context, record: AutomationRecord) -> None:
    """Does what open firings ask for, and writes which of them have ended. Raises: ApiError: one has not, for the moment."""
    ended: dict[str, str | None] = {}
    held_up: ApiError | None = None
    for firing in open_firings(record.status.firings):
        try:
            is_over, problem = await _carry_out(context, record, firing)
        except ApiError as error:
            held_up = error
            continue
        if is_over:
            ended[firing.id] = problem
    if ended:
        await _write(context, record, with_ended(record.status, ended))
        await _tell_ended(context, record, ended)
    if held_up is not None:
        raise held_up


async def _tell_ended(context: Context, record: AutomationRecord, ended: dict[str, str | None]) -> None:
    for firing in open_firings(record.status.firings):
        if firing.id not in ended:
            continue
        for action in firing.actions or ():
            if "webhook" in action.do:
                context.webhooks.forget(_delivery(record, firing, action))
            context.intake.automations.waiting(record.uid).acted.pop((firing.id, action.name), None)
        problem = ended[firing.id]
        log.info("automation_acted", firing=firing.id, problem=problem)
        if problem is not None:
            await _tell_failure(context, record, problem)


async def _tell_failure(context: Context, record: AutomationRecord, problem: str) -> None:
    await _tell(context, record, RecordEvent(EventReason.AUTOMATION_FAILED, problem, warning=True))


async def _tell(context: Context, record: AutomationRecord, event: RecordEvent) -> None:
    await record_event(context.cluster, _subject(record), event, context.clock())


def _subject(record: AutomationRecord) -> Subject:
    return Subject(API_VERSION, AUTOMATIONS.kind, record.key, record.uid)


async def _carry_out(context: Context, record: AutomationRecord, firing: Firing) -> tuple[bool, str | None]:
    """Whether all of its actions have ended, and what went wrong with them. Raises: ApiError: one is to be tried again."""
    hooks = [_delivery(record, firing, action) for action in firing.actions or () if "webhook" in action.do]
    under_way = [context.webhooks.under_way(hook) for hook in hooks]  # all are begun before any is waited for
    problems = await _deeds(context, record, firing)
    if any(under_way):
        return False, None
    problems |= {hook.action: context.webhooks.problem(hook) for hook in hooks}
    told = [f"action {action}: {problem}" for action, problem in problems.items() if problem is not None]
    _measure(context, record, firing, told)
    return True, "; ".join(told) or None


async def _deeds(context: Context, record: AutomationRecord, firing: Firing) -> dict[str, str | None]:
    """
    By action, what went wrong for good with those that are no webhooks, None for nothing.

    Raises: ApiError: one is to be tried again. The others were tried all the same, as what is refused to one may be so for long.
    """
    acted = context.intake.automations.waiting(record.uid).acted
    actions = [action for action in firing.actions or () if "webhook" not in action.do]
    held_up: ApiError | None = None
    for action in actions:
        if (firing.id, action.name) in acted:  # what is beside it may take long: people may have changed it back
            continue
        try:
            acted[firing.id, action.name] = await _done(context, record, firing, action)
        except ApiError as error:
            held_up = held_up or error
    if held_up is not None:
        raise held_up
    return {action.name: acted[firing.id, action.name] for action in actions}


def _measure(context: Context, record: AutomationRecord, firing: Firing, problems: list[str]) -> None:
    for action in firing.actions or ():
        failed = next((each for each in problems if each.startswith(f"action {action.name}: ")), None)
        context.metrics.automations.acted(record.key, next(iter(action.do), "none"), failed)


def _delivery(record: AutomationRecord, firing: Firing, action: PlannedAction) -> Delivery:
    return Delivery(record.key, firing, action.name, action.do["webhook"])


async def _done(context: Context, record: AutomationRecord, firing: Firing, action: PlannedAction) -> str | None:
    """What went wrong for good, None for nothing. Raises: ApiError: it may go well later."""
    try:
        return await _one(context, record, firing, action)
    except (Forbidden, Invalid) as error:
        is_final = isinstance(error, Invalid) and error.is_final
        if not is_final and context.clock() - firing.at < PATIENCE:
            raise
        return f"the API server {'refuses' if isinstance(error, Invalid) else 'forbids'} it: {error.message}"


async def _one(context: Context, record: AutomationRecord, firing: Firing, action: PlannedAction) -> str | None:
    match action.do:
        case {"start": start}:
            found = context.intake.cache.deployments.get(ObjectKey(record.key.namespace, start["deployment"]))
            flow = found.spec.flow_ref.name if found and found.spec else None
            return await start_run(context.cluster, record.key, start, name=run_names(firing)[action.name], flow=flow)
        case {"run": change} if change["deed"] == RunDeed.CANCEL:
            await cancel_run(context.cluster, ObjectKey(record.key.namespace, change["name"]), change["uid"])
            return None
        case {"run": change} if change["deed"] == RunDeed.RETRY:
            return await repeat_run(context.cluster, record.key, change, name=run_names(firing)[action.name])
        case {"deployment": change}:
            return await change_deployment(context.cluster, record.key.namespace, change)
        case {"event": told}:
            event = RecordEvent(GivenReason(told["reason"]), told["message"], warning=told["type"] == "Warning")
            cause = f"{firing.id}/{action.name}"  # each firing tells, also what an earlier one has told
            await write_event(context.cluster, _subject(record), event, context.clock(), cause=cause)
            return None
    return "it is of no kind that this version knows"

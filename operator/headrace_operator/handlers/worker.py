"""Takes keys from the queue and has them reconciled; whatever goes wrong with one affects that one alone."""

from __future__ import annotations

from collections.abc import Mapping

import structlog

from headrace.kubeapi.errors import ApiError, Conflict, NotFound
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.errors import LeadershipLostError
from headrace_operator.handlers import (
    admission,
    automation,
    autosize,
    backfill,
    concurrency_limit,
    deployment,
    flow,
    flow_run,
    retention,
    room,
    triggers,
    work_pool,
)
from headrace_operator.handlers.context import Context, Reconcile
from headrace_operator.kube.resources import (
    AUTOMATIONS,
    BACKFILLS,
    CONCURRENCY_LIMITS,
    DEPLOYMENTS,
    FLOW_RUNS,
    FLOWS,
    WORK_POOLS,
    Resource,
)
from headrace_operator.observe.doors import Door
from headrace_operator.observe.workkeys import Kind, WorkKey
from headrace_operator.telemetry.logging import AT_WORK
from headrace_operator.workqueue import WorkQueue

log = structlog.get_logger()

LONGEST_SLEEP_S = 300.0
"""What is due by the time of day is looked at again by then: the machine's clock may have been set meanwhile. A look costs no request."""

RECONCILES: Mapping[Kind, Reconcile] = {
    Kind.FLOW: flow.reconcile,
    Kind.DEPLOYMENT: deployment.reconcile,
    Kind.FLOW_RUN: flow_run.reconcile,
    Kind.RETENTION: retention.reconcile,
    Kind.LIMIT: concurrency_limit.reconcile,
    Kind.POOL: work_pool.reconcile,
    Kind.ROOM: room.reconcile,
    Kind.ADMISSION: admission.reconcile,
    Kind.AUTOSIZE: autosize.reconcile,
    Kind.BACKFILL: backfill.reconcile,
    Kind.BACKFILL_RETENTION: retention.reconcile_backfill,
    Kind.AUTOMATION: automation.reconcile,
    Kind.TRIGGERS: triggers.reconcile,
}
_RESOURCES: Mapping[Kind, Resource] = {
    Kind.FLOW: FLOWS,
    Kind.AUTOSIZE: FLOWS,
    Kind.DEPLOYMENT: DEPLOYMENTS,
    Kind.BACKFILL: BACKFILLS,
    Kind.AUTOMATION: AUTOMATIONS,
    Kind.FLOW_RUN: FLOW_RUNS,
    Kind.LIMIT: CONCURRENCY_LIMITS,
    Kind.POOL: WORK_POOLS,
}


async def work(queue: WorkQueue[WorkKey], context: Context) -> None:
    """Reconcile one key after another, for ever."""
    while True:
        item = await queue.get()
        AT_WORK.set((item.kind.value, *item.key))
        try:
            await _reconcile(queue, context, item)
        finally:
            queue.done(item)
            AT_WORK.set(None)


async def _reconcile(queue: WorkQueue[WorkKey], context: Context, item: WorkKey) -> None:
    began = context.monotonic()
    outcome = "done"
    try:
        again_s = await RECONCILES[item.kind](context, item.key)
        queue.succeeded(item)
        if again_s is not None:
            queue.add(item, min(again_s, LONGEST_SLEEP_S))
    except (Conflict, NotFound) as error:
        outcome = "stale"
        await _look_anew(queue, context, item, error)
    except ApiError as error:
        outcome = "api_error"
        _back_off(queue, item, error)
    except LeadershipLostError:
        raise  # this process must not write any more, whatever the key
    except Exception as error:  # a fault in one key must not stop the others
        outcome = "error"
        delay_s = queue.back_off(item, at_least_s=1.0)
        log.exception("reconcile_failed", error=type(error).__name__, retry_in_s=delay_s)
    duration_s = context.monotonic() - began
    context.metrics.reconciled(item.kind, outcome, duration_s)
    log.debug("reconciled", outcome=outcome, duration_s=round(duration_s, 4))


async def _look_anew(queue: WorkQueue[WorkKey], context: Context, item: WorkKey, error: ApiError) -> None:
    """What was read is no longer so: read the object itself, then decide again."""
    resource = _RESOURCES.get(item.kind)
    if resource is None:
        _back_off(queue, item, error)
        return
    door = context.intake.doors[resource]
    try:
        obj = await context.cluster.get(resource, item.key.namespace, item.key.name)
    except NotFound:
        _forget(door, item.key)
        queue.succeeded(item)
        return
    except ApiError as unreadable:
        _back_off(queue, item, unreadable)
        return
    door.seen(obj)
    delay_s = queue.back_off(item)
    log.debug("looked_anew", error=error.reason, retry_in_s=delay_s)


def _forget(door: Door, key: ObjectKey) -> None:
    held = door.held.get(key)
    if held is not None:
        door.gone(key, held.uid)


def _back_off(queue: WorkQueue[WorkKey], item: WorkKey, error: ApiError) -> None:
    delay_s = queue.back_off(item, at_least_s=error.retry_after_s or 0.0)
    log.warning("api_call_failed", error=str(error), retry_in_s=round(delay_s, 2))

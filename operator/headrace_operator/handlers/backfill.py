"""
The reconcile of Backfills: what ended is noted in the status, then runs are created for partitions that are open.

The status comes first: what it does not tell is in runs that stay in the API until it does.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, Final

import structlog

from headrace.api.backfill import BackfillSpec
from headrace.api.conditions import EventReason, Phase, Reason
from headrace.api.keys import API_VERSION
from headrace.kubeapi.errors import AlreadyExists, Forbidden, Invalid, NotFound
from headrace_operator.apply.cancelling import cancel_run
from headrace_operator.apply.events import record_event
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.backfill.noted import RUNS_OF_ROUND, EndedRun
from headrace_operator.decide.backfill.partitions import Partition
from headrace_operator.decide.backfill.progress import BackfillDecision, PlannedRun, decide_backfill
from headrace_operator.decide.backfill.situation import ActiveRun
from headrace_operator.decide.snapshot import ObjectKey, PartitionRef
from headrace_operator.handlers.context import Context, seconds_until
from headrace_operator.handlers.several import several_at_once
from headrace_operator.kube.cluster import delete_this
from headrace_operator.kube.resources import BACKFILLS, FLOW_RUNS
from headrace_operator.manifests.event import Subject
from headrace_operator.manifests.partition_run import partition_run
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.backfill import observe_backfill
from headrace_operator.observe.backfills import BackfillRecord, Runs
from headrace_operator.observe.parse import run_from

log = structlog.get_logger()

REQUESTS_AT_ONCE: Final = 8
"""Of one Backfill: several are made in the time of one, and other kinds of work get their turn."""
BLOCKED_S: Final = 30.0
"""A name that another object has is tried again after this long: that one may be on its way out."""


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring one Backfill one step on. Returns seconds until time alone calls for the next one."""
    backfills = context.intake.backfills
    record = backfills.held.get(key)
    if record is None or record.deleting:
        context.metrics.backfills.gone(key)
        return None
    runs = backfills.runs(record.uid)
    now = context.clock()
    decision = decide_backfill(observe_backfill(context.intake, record, context.settings, now), now)
    runs.bucket = decision.bucket
    if decision.expire:
        # Of this version: somebody may just have asked for a re-run, and nothing would be left to run.
        await context.cluster.delete(BACKFILLS, *key, uid=record.uid, version=record.version)
        log.info("backfill_expired")
        return None
    # An Event that is written twice is one Event; one that comes after the status is lost if we die in between.
    for event in decision.events:
        await _record(context, record, event)
    await _write_status(context, record, runs, decision)
    context.metrics.backfills.told(key, decision.status or record.status)
    await _change_runs(context, record, runs, decision)
    dues = (decision.look_again_at, *runs.blocked.values())
    return seconds_until(min((due for due in dues if due is not None), default=None), context.clock())


async def _write_status(context: Context, record: BackfillRecord, runs: Runs, decision: BackfillDecision) -> None:
    if decision.status is None:
        return
    status = decision.status.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude_unset=record.noted is None
    )
    if record.noted is None:  # what cannot be read must not be lost: without it, everything would be run once more
        status = {**record.stored, **status}
    patch = status_changes(record.stored, status, resource_version=record.version)
    if patch is None:
        return
    stored = await context.cluster.patch(BACKFILLS, *record.key, patch, subresource="status")
    runs.written_at = context.clock()
    context.intake.backfills.seen(stored)


async def _change_runs(context: Context, record: BackfillRecord, runs: Runs, decision: BackfillDecision) -> None:
    """
    Creates, cancels and removes runs, several at once.

    Raises: ApiError, LeadershipLostError: the first one that was met, when none is under way any more.
    """
    changes = (
        *(partial(_remove, context, active) for active in decision.remove),
        *(partial(_cancel, context, active) for active in decision.cancel),
        *(partial(_create, context, record, runs, planned) for planned in decision.create),
    )
    try:
        await several_at_once(changes, most=REQUESTS_AT_ONCE)
    except (Forbidden, Invalid) as error:
        told = f"runs cannot be created: {error.message}"
        await _record(context, record, RecordEvent(EventReason.RUNS_NOT_CREATED, told, warning=True))
        raise


async def _remove(context: Context, run: ActiveRun) -> None:
    """A run whose partition is over: its creation was thought to be lost, and came late."""
    log.warning("late_run_removed", run=run.key.name)
    await delete_this(context.cluster, FLOW_RUNS, *run.key, uid=run.uid)


async def _cancel(context: Context, run: ActiveRun) -> None:
    cancelled = await cancel_run(context.cluster, run.key, run.uid)
    if cancelled is not None:
        context.intake.run_seen(cancelled)


async def _create(context: Context, record: BackfillRecord, runs: Runs, planned: PlannedRun) -> None:
    if record.partitions is None or record.spec is None:
        return
    partition = record.partitions.at(planned.position)
    rerun, attempt = divmod(planned.number - 1, RUNS_OF_ROUND)
    name = record.partitions.run_name(record.key.name, partition, attempt + 1, rerun=rerun)
    key = ObjectKey(record.key.namespace, name)
    ref = PartitionRef(record.key.name, record.uid, planned.position, planned.number)
    manifest = _manifest(context, record.spec, ref, key=key, partition=partition)
    runs.unknown[name] = context.clock()
    try:
        stored = await context.cluster.create(FLOW_RUNS, key.namespace, manifest)
    except AlreadyExists:
        await _meet(context, record, runs, ref, key=key)
    except Invalid as error:
        if not error.is_final:
            raise
        await _refused(context, record, runs, ref, key=key, error=error)
    else:
        context.intake.run_seen(stored)
    runs.unknown.pop(name, None)


async def _meet(context: Context, record: BackfillRecord, runs: Runs, ref: PartitionRef, *, key: ObjectKey) -> None:
    """A run of this name that was made for this very partition is success; one of somebody else is told."""
    try:
        obj = await context.cluster.get(FLOW_RUNS, key.namespace, key.name)
    except NotFound:  # it was on its way out: the next pass finds the name free
        context.intake.backfills.wake(record.key)
        return
    if run_from(obj).partition == ref:
        context.intake.run_seen(obj)
        return
    runs.blocked[ref.position] = context.clock() + timedelta(seconds=BLOCKED_S)
    message = f"FlowRun {key.name} exists and is not of this Backfill; its partition runs when it is gone"
    await _record(context, record, RecordEvent(EventReason.RUN_NAME_TAKEN, message, warning=True))


async def _refused(
    context: Context, record: BackfillRecord, runs: Runs, ref: PartitionRef, *, key: ObjectKey, error: Invalid
) -> None:
    """The same run would be refused again: its partition has failed."""
    message = f"run {key.name} is refused by the API server: {error.message}"
    await _record(context, record, RecordEvent(Reason.RUN_REFUSED, message, warning=True))
    uid = f"refused {key.name}"
    runs.ended[uid] = EndedRun(
        key, uid, ref.position, ref.number, phase=Phase.FAILED, reason=Reason.RUN_REFUSED, finished_at=context.clock()
    )
    context.intake.backfills.wake(record.key)


def _manifest(
    context: Context, of: BackfillSpec, ref: PartitionRef, *, key: ObjectKey, partition: Partition
) -> dict[str, Any]:
    spec: dict[str, Any] = {}
    if partition.parameters:
        spec["parameters"] = dict(partition.parameters)
    # No scheduledTime: it would put runs for days long past ahead of today's in every line.
    if of.priority is not None:
        spec["priority"] = of.priority
    deployment = context.intake.cache.deployments.get(ObjectKey(key.namespace, of.deployment_ref.name))
    return partition_run(
        ref,
        key=key,
        partition=partition.name,
        deployment=of.deployment_ref.name,
        flow=deployment.spec.flow_ref.name if deployment and deployment.spec else None,
        spec=spec,
    )


async def _record(context: Context, record: BackfillRecord, event: RecordEvent) -> None:
    subject = Subject(API_VERSION, BACKFILLS.kind, record.key, record.uid)
    await record_event(context.cluster, subject, event, context.clock())

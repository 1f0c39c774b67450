"""The reconcile of finished runs: those that were kept long enough are deleted, their pods with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

from headrace_operator.decide.backfill.retirement import retire_partition_runs
from headrace_operator.decide.backfill.rules import MAX_UNDELETED
from headrace_operator.decide.retention import FinishedRun, Keep, Retirement, retire
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.context import Context, seconds_until
from headrace_operator.handlers.several import several_at_once
from headrace_operator.kube.cluster import delete_this
from headrace_operator.kube.resources import FLOW_RUNS
from headrace_operator.observe.backfill import undeleted
from headrace_operator.observe.deployment import uncounted_runs
from headrace_operator.observe.history import Owner, owner_of

DELETED_AT_ONCE: Final = 8
"""Of one owner, as many as a Backfill creates at once: where the API server takes its time, runs would end faster than they are deleted one by one."""


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Delete what is beyond the counts or the time to live of one owner. Returns seconds until the next expiry."""
    owner = owner_of(key)
    history = context.intake.history
    now = context.clock()
    keep = replace(_keep(context, key), unrecorded=history.unrecorded, given_up=history.unrecorded.given_up)
    return await _delete(context, retire(history.of(owner), keep, now), now)


async def reconcile_backfill(context: Context, key: ObjectKey) -> float | None:
    """Delete the runs of one Backfill that its status tells of, but for the failed ones that it keeps."""
    record = context.intake.backfills.held.get(key)
    if record is None or record.deleting or record.spec is None:  # its runs go with it, or it is being mended
        return None
    history = context.intake.history
    now = context.clock()
    runs = history.of(Owner(key.namespace, None, key.name))
    deployment = context.intake.cache.deployments.get(ObjectKey(key.namespace, record.spec.deployment_ref.name))
    uncounted = uncounted_runs(deployment, history)
    unnoted = frozenset(run.uid for run in runs if not record.tells(run.partition))
    retirement = retire_partition_runs(
        runs,
        Keep(None, None, None, uncounted=uncounted | unnoted, unrecorded=history.unrecorded),
        keep_failed=record.spec.keep_failed,
        name_held_s=context.settings.lost_write_s,
        now=now,
    )
    return await _delete(context, retirement, now)


async def _delete(context: Context, retirement: Retirement, now: datetime) -> float | None:
    await several_at_once((partial(_retire, context, run) for run in retirement.delete), most=DELETED_AT_ONCE)
    return seconds_until(retirement.look_again_at, now)


async def _retire(context: Context, run: FinishedRun) -> None:
    # Taken for gone, a run that is there would be in no count, and counted again by who leads next.
    await delete_this(context.cluster, FLOW_RUNS, *run.key, uid=run.uid)
    context.intake.run_retired(run)
    if run.partition is not None:
        _let_go_on(context, ObjectKey(run.key.namespace, run.partition.backfill))


def _let_go_on(context: Context, backfill: ObjectKey) -> None:
    """Wakes a Backfill that just has no more undeleted runs than may be."""
    record = context.intake.backfills.held.get(backfill)
    if record is not None and undeleted(context.intake.history, record) == MAX_UNDELETED - 1:
        context.intake.backfills.wake(backfill)


def _keep(context: Context, key: ObjectKey) -> Keep:
    record = context.intake.cache.deployments.get(key)
    if record is None:  # none was named, or it is gone: only the runs that it made go with it by owner reference
        return Keep(succeeded=None, failed=None, ttl_s=context.settings.orphan_ttl_s)
    if record.spec is None:  # it is being mended: nothing is deleted
        return Keep(succeeded=None, failed=None, ttl_s=None)
    history = record.spec.history
    return Keep(
        succeeded=history.succeeded,
        failed=history.failed,
        ttl_s=history.ttl_seconds,
        scheduled_until=record.scheduled_until,
        uncounted=uncounted_runs(record, context.intake.history),
    )

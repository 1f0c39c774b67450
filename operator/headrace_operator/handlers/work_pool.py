"""The reconcile of WorkPools: status and metrics say who is in it, who waits, and what its nodes are like."""

from __future__ import annotations

from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.decide.work_pool import PoolSnapshot, pool_status
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import WORK_POOLS
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.nodes import nodes_of
from headrace_operator.observe.records import PoolRecord
from headrace_operator.observe.tallies import PoolTally


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Tell what has changed about one WorkPool; nothing is written if nothing did."""
    if not context.share.keeps_cluster:
        return None
    record = context.intake.cache.pools.get(key)
    if record is None:
        context.metrics.pools.gone(key.name)
        return None
    seen = _observe(context, record)
    context.metrics.pools.told(seen)
    status = pool_status(seen, context.clock()).model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = status_changes(record.status, status, resource_version=record.version)
    if patch is not None:
        stored = await context.cluster.patch(WORK_POOLS, "", key.name, patch, subresource="status")
        context.intake.pool_seen(stored)
    return None


def _observe(context: Context, record: PoolRecord) -> PoolSnapshot:
    name = record.key.name
    active, requested = context.board.active_in_pool(name)
    counted = PoolTally(active, context.board.waiting_for_pool(name), dict(requested))
    counted = counted.and_of(context.tallies.pool(name))
    return PoolSnapshot(
        name=name,
        generation=record.generation,
        spec=record.spec,
        problem=record.problem,
        conditions=record.conditions,
        active=counted.active,
        requested=counted.amounts,
        queued=counted.queued,
        nodes=nodes_of(record.spec.node_selector if record.spec else {}, context.intake.cache.nodes.values()),
    )

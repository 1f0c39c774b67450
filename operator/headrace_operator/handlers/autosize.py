"""The reconcile of learnt sizes: what a Flow's runs used goes into its status, a while after the first of them ended."""

from __future__ import annotations

from typing import Any

from headrace.api.flow import LearntSize
from headrace_operator.decide.autosize import learn
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import FLOWS
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.usage import lessons_of


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Learn from the runs of one Flow that ended since it was learnt last; nothing is written if none did."""
    intake = context.intake
    record = intake.cache.flows.get(key)
    if record is None or record.spec is None or record.spec.autosize is None:
        return None
    status: dict[str, Any] = record.obj.get("status") or {}
    known = LearntSize.model_validate(status["autosize"]) if "autosize" in status else None
    found = learn(known, lessons_of(record, intake.cache, intake.history.usages))
    if found.last_run_at is None or found == known:
        return None
    learnt = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = status_changes(status, {**status, "autosize": learnt}, resource_version=record.version)
    if patch is not None:
        stored = await context.cluster.patch(FLOWS, key.namespace, key.name, patch, subresource="status")
        intake.flow_seen(stored)
    return None

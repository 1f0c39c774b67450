"""The reconcile of learnt sizes: what a Flow's runs used goes into its status, a while after the first of them ended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from headrace.api.flow import LearntSize
from headrace_operator.decide.autosize import learn
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import FLOWS
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.records import FlowRecord
from headrace_operator.observe.usage import lessons_of

SETTLED_AFTER_S = 2.0
"""Instants in a status are whole seconds: another run may end in the same one, and must not be passed over."""


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Learn from the runs of one Flow that ended since it was learnt last; seconds until the next look, if some are left."""
    intake = context.intake
    record = intake.cache.flows.get(key)
    if record is None or record.spec is None or record.spec.autosize is None:
        return None
    settled = context.clock() - timedelta(seconds=SETTLED_AFTER_S)
    lessons = list(lessons_of(record, intake.cache, intake.history.usages))
    found = learn(record.learnt, (lesson for lesson in lessons if lesson.use.finished_at <= settled))
    if found.last_run_at is not None and found != record.learnt:
        await _write(context, record, found)
    is_left = any(lesson.use.finished_at > settled for lesson in lessons)
    return context.settings.autosize_delay_s if is_left else None


async def _write(context: Context, record: FlowRecord, found: LearntSize) -> None:
    status: dict[str, Any] = record.obj.get("status") or {}
    key = record.key
    learnt = found.model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = status_changes(status, {**status, "autosize": learnt}, resource_version=record.version)
    if patch is not None:
        stored = await context.cluster.patch(FLOWS, key.namespace, key.name, patch, subresource="status")
        context.intake.flow_seen(stored)

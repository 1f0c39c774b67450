"""The reconcile of Flows: each content gets a revision that outlives the next change."""

from __future__ import annotations

from typing import Any

from headrace.api.keys import FLOW_LABEL
from headrace.kubeapi.errors import AlreadyExists
from headrace_operator.decide.flow import flow_conditions, flow_problem, superfluous_revisions
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import CONFIG_MAPS, CONTROLLER_REVISIONS, FLOWS
from headrace_operator.manifests.patches import status_changes
from headrace_operator.manifests.revision import code_config_map, controller_revision, revision_name, revision_of
from headrace_operator.manifests.run_status import render_condition
from headrace_operator.observe.records import FlowRecord


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Store the Flow's revision, tell it in the status, wake the runs that wait for it."""
    record = context.intake.cache.flows.get(key)
    if record is None:
        return None
    problem = flow_problem(record.spec, record.problem)
    revision = record.revision
    if problem is None and record.spec is not None:
        revision = revision_of(record.obj["spec"])
        is_new = revision != record.revision
        if is_new:
            await _store(context, record.obj, revision)
        context.revisions.put(key, revision, record.spec)
        await _tell(context, record, revision, None)
        context.intake.wake_runs_of_flow(key)
        if is_new:
            await _prune(context, key, revision)
        return None
    await _tell(context, record, revision, problem)
    context.intake.wake_runs_of_flow(key)
    return None


async def _store(context: Context, flow: dict[str, Any], revision: str) -> None:
    """The ControllerRevision first: the ConfigMap is owned by it. Each may exist already, after a crash or a revert."""
    namespace, name = flow["metadata"]["namespace"], flow["metadata"]["name"]
    try:
        stored = await context.cluster.create(CONTROLLER_REVISIONS, namespace, controller_revision(flow, revision))
    except AlreadyExists:
        stored = await context.cluster.get(CONTROLLER_REVISIONS, namespace, revision_name(name, revision))
    code = code_config_map(stored, flow, revision)
    if code is None:
        return
    try:
        await context.cluster.create(CONFIG_MAPS, namespace, code)
    except AlreadyExists:
        return


async def _tell(context: Context, record: FlowRecord, revision: str | None, problem: str | None) -> None:
    conditions = flow_conditions(record.conditions, problem, generation=record.generation, now=context.clock())
    status: dict[str, Any] = {
        "observedGeneration": record.generation,
        "conditions": [render_condition(condition) for condition in conditions],
    }
    if revision is not None:
        status["revision"] = revision
    before = record.obj.get("status") or {}
    if "autosize" in before and (record.spec is None or record.spec.autosize is not None):
        status["autosize"] = before["autosize"]  # of handlers/autosize.py
    patch = status_changes(before, status, resource_version=record.version)
    if patch is not None:
        key = record.key
        context.intake.flow_seen(
            await context.cluster.patch(FLOWS, key.namespace, key.name, patch, subresource="status")
        )


async def _prune(context: Context, key: ObjectKey, latest: str) -> None:
    """A change of the Flow is when old revisions are counted: once a change, never on a timer."""
    stored = await context.cluster.list(CONTROLLER_REVISIONS, key.namespace, labels=f"{FLOW_LABEL}={key.name}")
    in_use = {latest, *context.intake.cache.revisions_in_use(key)}
    for item in superfluous_revisions(stored, in_use=in_use, limit=context.settings.revision_limit):
        metadata = item["metadata"]
        await context.cluster.delete(CONTROLLER_REVISIONS, key.namespace, metadata["name"], uid=metadata["uid"])

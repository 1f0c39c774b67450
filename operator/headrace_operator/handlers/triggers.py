"""
The reconcile of Deployments' triggers: an Automation for each.

    spec.triggers ──> Automations, made, changed and deleted here ──> their Ready ──> the Deployment's Triggering

Each write rests on what is there, by its name, its version or its UID: who dies after one of them leaves the others to the next one, which makes
no write twice.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

import structlog

from headrace.api.automation import AutomationSpec
from headrace.api.trigger import automation_name
from headrace.kubeapi.errors import AlreadyExists, Forbidden, Invalid
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.decide.triggers import KeptTrigger, TriggerPlan, plan_triggers
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import AUTOMATIONS
from headrace_operator.manifests.trigger import trigger_automation, trigger_changes
from headrace_operator.observe.records import DeploymentRecord

log = structlog.get_logger()

AGAIN_S: Final = 60.0
"""What the API server refused may pass when a quota, a policy or a right has changed, of which nobody tells."""


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring the Automations of one Deployment to what it says. Returns seconds until what was refused is tried again."""
    record = context.intake.cache.deployments.get(key)
    if record is None or record.deleting or record.spec is None:
        return None
    sight = context.intake.automations.triggers.sight(record)
    if sight is None:
        context.intake.automations.triggers.refused(key, {})
        return None
    plan = plan_triggers(key, record.uid, record.spec, sight)
    refused = await _written(context, record, plan)
    context.intake.automations.triggers.refused(key, refused)
    return AGAIN_S if refused else None


async def _written(context: Context, record: DeploymentRecord, plan: TriggerPlan) -> dict[str, str]:
    """By the trigger's name, why the API server took it not. Raises: Conflict: somebody was quicker. ApiError."""
    refused: dict[str, str] = {}
    for kept in plan.delete:
        await context.cluster.delete(AUTOMATIONS, *kept.key, uid=kept.uid)
        log.info("trigger_removed", automation=kept.key.name)
    for name, (kept, spec) in plan.change.items():
        problem = await _refusal(record, name, _change(context, record, name, kept=kept, spec=spec))
        refused |= {} if problem is None else {name: problem}
    for name, spec in plan.create.items():
        problem = await _refusal(record, name, _create(context, record, name, spec))
        refused |= {} if problem is None else {name: problem}
    return refused


async def _refusal(record: DeploymentRecord, trigger: str, write: Awaitable[None]) -> str | None:
    """Why the API server will not take it, None if it did."""
    try:
        await write
    except (Invalid, Forbidden) as error:
        log.warning("trigger_refused", trigger=trigger, error=error.message)
        automation = automation_name(record.key.name, trigger)
        return f"the API server refuses Automation {automation}: {error.message}"
    return None


async def _create(context: Context, record: DeploymentRecord, trigger: str, spec: AutomationSpec) -> None:
    manifest = trigger_automation(record.key, record.uid, trigger, spec)
    try:
        stored = await context.cluster.create(AUTOMATIONS, record.key.namespace, manifest)
    except AlreadyExists:  # made before a crash, or by somebody else: what is heard of it says which
        stored = await context.cluster.get(AUTOMATIONS, record.key.namespace, manifest["metadata"]["name"])
    else:
        log.info("trigger_set", automation=manifest["metadata"]["name"])
    context.intake.automations.seen(stored)


async def _change(
    context: Context, record: DeploymentRecord, trigger: str, *, kept: KeptTrigger, spec: AutomationSpec
) -> None:
    patch = trigger_changes(kept, record.key.name, trigger, spec)
    context.intake.automations.seen(await context.cluster.patch(AUTOMATIONS, *kept.key, patch))
    log.info("trigger_changed", automation=kept.key.name)

"""The reconcile of Deployments: the runs that are due are created, then the status says so."""

from __future__ import annotations

from headrace.api.conditions import ConditionType, EventReason, Reason
from headrace.api.keys import API_VERSION
from headrace.instants import stamp
from headrace.kubeapi.errors import AlreadyExists, ApiError, Forbidden, Invalid, NotFound
from headrace_operator.apply.events import record_event
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.deployment import (
    DeploymentDecision,
    DeploymentSnapshot,
    decide_deployment,
    with_refusals,
)
from headrace_operator.decide.schedule import PlannedRun, Refusal
from headrace_operator.decide.snapshot import DeploymentView, ObjectKey
from headrace_operator.handlers.context import Context, seconds_until
from headrace_operator.kube.resources import DEPLOYMENTS, FLOW_RUNS
from headrace_operator.manifests.event import Subject
from headrace_operator.manifests.flow_run import scheduled_run
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.deployment import observe_deployment


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring one Deployment one step on. Returns seconds until its next scheduled time, None if there is none."""
    seen = observe_deployment(
        context.intake.cache, context.intake.history, key, triggers=context.intake.automations.triggers
    )
    if seen is None:
        context.metrics.circuit(key, is_open=None)
        context.metrics.budgets.told(key, None, None)
        return None
    now = context.clock()
    decision = decide_deployment(seen, now)
    if decision.create and not await _is_current(context, seen):
        return 0.0
    refusals = [await _create(context, seen, run) for run in decision.create]
    for refusal in refusals:
        if isinstance(refusal, ApiError):
            raise refusal  # the status is not written: the times stay due
    decision = with_refusals(decision, [refusal for refusal in refusals if isinstance(refusal, Refusal)])
    # An Event that is written twice is one Event; one that comes after the status is lost if we die in between.
    await _record(context, seen, decision.events)
    await _write_status(context, seen, decision)
    circuit = decision.status.circuit
    context.metrics.circuit(
        key, is_open=None if circuit is None or circuit.state is None else circuit.retry_at is not None
    )
    _tell_budget(context, seen, decision)
    return seconds_until(decision.look_again_at, now)


def _tell_budget(context: Context, seen: DeploymentSnapshot, decision: DeploymentDecision) -> None:
    budget = seen.spec.budget if seen.spec else None
    conditions = decision.status.conditions
    is_exceeded = any(each.type == ConditionType.BUDGET_EXCEEDED and each.status == "True" for each in conditions)
    context.metrics.budgets.told(seen.key, budget, decision.status.spent, is_exceeded=is_exceeded)


async def _is_current(context: Context, seen: DeploymentSnapshot) -> bool:
    """
    Whether the Deployment is still as decided on, read afresh: it may have been suspended or deleted just now.

    One read for each scheduled time, and none otherwise. Raises: NotFound: it is gone. ApiError.
    """
    obj = await context.cluster.get(DEPLOYMENTS, seen.key.namespace, seen.key.name)
    is_same: bool = obj["metadata"]["uid"] == seen.uid and obj["metadata"].get("generation") == seen.generation
    if not is_same:
        context.intake.deployment_seen(obj)
    return is_same


async def _create(context: Context, seen: DeploymentSnapshot, run: PlannedRun) -> ApiError | Refusal | None:
    """What refuses the run: an error for now, a refusal for ever; None if nothing does. Raises: ApiError."""
    if seen.spec is None:
        return None
    manifest = scheduled_run(
        DeploymentView(seen.key, seen.uid, seen.spec),
        name=run.name,
        schedule=run.schedule,
        scheduled_time=run.scheduled_time,
        parameters=next((s.parameters for s in seen.spec.schedules if s.name == run.schedule), None),
    )
    try:
        context.intake.run_seen(await context.cluster.create(FLOW_RUNS, seen.key.namespace, manifest))
    except AlreadyExists:
        return await _taken(context, seen, run)
    except (Forbidden, Invalid) as error:
        return await _refused(context, seen, run, error)
    return None


async def _refused(
    context: Context, seen: DeploymentSnapshot, run: PlannedRun, error: Forbidden | Invalid
) -> ApiError | Refusal:
    """Tells it. Returns the error where the run may be taken later: a quota is raised, a policy forbids it no more."""
    if isinstance(error, Invalid) and error.is_final:
        message = f"run {run.name} is refused by the API server: {error.message}"
        await _record(context, seen, (RecordEvent(Reason.RUN_REFUSED, message, warning=True),))
        return Refusal(run, Reason.RUN_REFUSED)
    message = f"run {run.name} cannot be created for now: {error.message}"
    await _record(context, seen, (RecordEvent(EventReason.RUNS_NOT_CREATED, message, warning=True),))
    return error


async def _taken(context: Context, seen: DeploymentSnapshot, run: PlannedRun) -> Refusal | None:
    """A run of this name that we made before a crash is this time's run; that another one has the name is told."""
    try:
        obj = await context.cluster.get(FLOW_RUNS, seen.key.namespace, run.name)
    except NotFound:  # finished, retired or deleted since: the time had its run
        return None
    if (obj["spec"].get("deploymentRef") or {}).get("name") == seen.key.name:
        return None
    message = f"the time {stamp(run.scheduled_time)} gets no run: its name {run.name} is that of a FlowRun that is not of this Deployment"
    await _record(context, seen, (RecordEvent(EventReason.RUN_NAME_TAKEN, message, warning=True),))
    return Refusal(run, EventReason.RUN_NAME_TAKEN)


async def _write_status(context: Context, seen: DeploymentSnapshot, decision: DeploymentDecision) -> None:
    record = context.intake.cache.deployments.get(seen.key)
    if record is None or record.uid != seen.uid:
        return
    purse = context.intake.history.purses.of(seen.key)
    status = decision.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = status_changes(record.status, status, resource_version=record.version)
    if patch is not None:
        if purse is not None and decision.count is not None:
            purse.writing(decision.count)
        namespace, name = seen.key
        stored = await context.cluster.patch(DEPLOYMENTS, namespace, name, patch, subresource="status")
        context.intake.deployment_seen(stored)


async def _record(context: Context, seen: DeploymentSnapshot, events: tuple[RecordEvent, ...]) -> None:
    subject = Subject(API_VERSION, "Deployment", seen.key, seen.uid)
    for event in events:
        await record_event(context.cluster, subject, event, context.clock())

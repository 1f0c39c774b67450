"""
What Automations do in the API.

Each deed may be done twice, as the process may end before the status says that it was done: runs and Events have names that derive from
the firing, and the other deeds set what is set already.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.api import keys
from headrace.api.automation import DeploymentDeed
from headrace.kubeapi.errors import AlreadyExists, Invalid, NotFound
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import DEPLOYMENTS, FLOW_RUNS
from headrace_operator.manifests.automation_run import repeated_run, started_run


async def start_run(
    cluster: Cluster, automation: ObjectKey, start: Mapping[str, Any], *, name: str, flow: str | None
) -> str | None:
    """
    A run of a Deployment. Returns what went wrong for good, None for nothing.

    Args:
        name: The run's.
        flow: The Deployment's, for the label; None where it is not known.
    Raises: ApiError: it may go well later.
    """
    manifest = started_run(automation, name, start, flow=flow)
    return await _created(cluster, manifest)


async def repeat_run(cluster: Cluster, automation: ObjectKey, change: Mapping[str, Any], *, name: str) -> str | None:
    """
    Another go of a run. Returns and raises as start_run.

    Args:
        name: The new run's.
    """
    try:
        run = await cluster.get(FLOW_RUNS, automation.namespace, change["name"])
    except NotFound:
        return f"FlowRun {change['name']} is gone: it cannot be run again"
    problem = _not_again(run, change["uid"])
    return problem if problem is not None else await _created(cluster, repeated_run(automation, name, run, change))


def _not_again(run: Mapping[str, Any], uid: str) -> str | None:
    """Why the run, of which the event with this uid told, cannot be run once more; None if it can."""
    name = run["metadata"]["name"]
    if run["metadata"]["uid"] != uid:
        return f"FlowRun {name} was deleted, and another one has its name: it cannot be run again"
    if "task" in run["spec"]:
        parent = run["spec"]["task"]["parent"]["name"]
        return (
            f"FlowRun {name} is a task of run {parent}; run that again (headrace rerun {parent}), "
            f"and leave tasks out by a selector: {keys.PARENT_LABEL}, DoesNotExist"
        )
    return None


async def change_deployment(cluster: Cluster, namespace: str, change: Mapping[str, Any]) -> str | None:
    """Suspends or resumes a Deployment. Returns and raises as start_run."""
    suspend = change["deed"] == DeploymentDeed.SUSPEND
    try:
        await cluster.patch(DEPLOYMENTS, namespace, change["name"], {"spec": {"suspend": suspend}})
    except NotFound:
        return f'there is no Deployment "{change["name"]}" in namespace {namespace}; name one that is there'
    return None


async def _created(cluster: Cluster, manifest: Mapping[str, Any]) -> str | None:
    metadata = manifest["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    try:
        await cluster.create(FLOW_RUNS, namespace, manifest)
    except Invalid as error:
        if not error.is_final:
            raise
        return f"FlowRun {name} is refused by the API server: {error.message}"
    except AlreadyExists:
        return await _taken(cluster, namespace, name, metadata["labels"][keys.AUTOMATION_LABEL])
    return None


async def _taken(cluster: Cluster, namespace: str, name: str, automation: str) -> str | None:
    """A run of this name that was made for this firing is success; one of somebody else is told."""
    try:
        found = await cluster.get(FLOW_RUNS, namespace, name)
    except NotFound:  # made, ended and deleted since
        return None
    if (found["metadata"].get("labels") or {}).get(keys.AUTOMATION_LABEL) == automation:
        return None
    return f"FlowRun {name} exists and is not of this Automation; delete it"

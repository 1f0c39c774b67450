"""Valid objects by default; a test changes what its case is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.api import keys
from headrace.api.conditions import Phase
from headrace.api.deployment import DeploymentSpec
from headrace.api.flow import FlowSpec
from headrace.api.flowrun import RemoteTask
from headrace_operator.decide.snapshot import (
    Attempt,
    ConditionView,
    DeploymentView,
    ObjectKey,
    Place,
    Pod,
    ResolvedFlow,
    Run,
    RunStatus,
    Snapshot,
    Turn,
)
from headrace_operator.observe.parse import pod_from

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
NAMESPACE = "team-a"
RUN_UID = "run-uid"


def a_flow(**spec: Any) -> ResolvedFlow:
    """A Flow revision; `spec` as in a manifest."""
    return ResolvedFlow("etl", "rev1", FlowSpec.model_validate({"entrypoint": "etl:main", **spec}))


def a_deployment(**spec: Any) -> DeploymentView:
    """A Deployment of the flow; `spec` as in a manifest."""
    fields = {"flowRef": {"name": "etl"}, **spec}
    return DeploymentView(ObjectKey(NAMESPACE, "daily"), "dep-uid", DeploymentSpec.model_validate(fields))


def a_run(**changes: Any) -> Run:
    """A FlowRun that was created at NOW."""
    fields: dict[str, Any] = {
        "key": ObjectKey(NAMESPACE, "etl-1"),
        "uid": RUN_UID,
        "version": 7,
        "generation": 1,
        "created": NOW,
        "flow_ref": "etl",
        "revision_ref": None,
        "deployment_ref": None,
        "schedule": None,
        "parameters": None,
        "scheduled_time": None,
        "priority": None,
        "cancel": False,
        "suspend": False,
        "deleting": False,
        "status": RunStatus(),
    }
    return Run(**{**fields, **changes})


def a_task(**fields: Any) -> RemoteTask:
    """One task of the run etl-0; `fields` as in a FlowRun's spec.task."""
    default = {
        "name": "train",
        "parent": {"name": "etl-0", "uid": "parent-uid"},
        "function": "etl.py:train",
        "input": "file:///results/in",
        "output": "file:///results/out",
    }
    return RemoteTask.model_validate({**default, **fields})


def an_attempt(number: int = 1, **changes: Any) -> Attempt:
    """An attempt that runs."""
    return Attempt(**{"number": number, "pod": f"etl-1-{number}", "node": "n1", "started_at": NOW, **changes})


def a_pod_object(
    status: Mapping[str, Any] | None = None,
    *,
    attempt: int = 1,
    run: str = "etl-1",
    run_uid: str = RUN_UID,
    metadata: Mapping[str, Any] | None = None,
    node: str | None = "n1",
) -> dict[str, Any]:
    """A pod of a run as the API returns it, held by our finalizer."""
    return {
        "metadata": {
            "name": f"{run}-{attempt}",
            "namespace": NAMESPACE,
            "uid": f"pod-uid-{attempt}",
            "resourceVersion": "10",
            "creationTimestamp": NOW.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "labels": {
                keys.FLOW_RUN_LABEL: run,
                keys.ATTEMPT_LABEL: str(attempt),
                keys.REVISION_LABEL: "rev1",
            },
            "finalizers": [keys.POD_FINALIZER],
            "ownerReferences": [{"kind": "FlowRun", "name": run, "uid": run_uid}],
            **(metadata or {}),
        },
        "spec": {"nodeName": node, "containers": [{"name": "flow"}]} if node else {"containers": [{"name": "flow"}]},
        "status": dict(status or {"phase": "Pending"}),
    }


def a_pod(status: Mapping[str, Any] | None = None, **changes: Any) -> Pod:
    """The slim view of `a_pod_object`."""
    pod = pod_from(a_pod_object(status, **changes))
    assert pod is not None
    return pod


def running() -> dict[str, Any]:
    """The status of a pod whose container runs since NOW."""
    return {
        "phase": "Running",
        "containerStatuses": [{"name": "flow", "state": {"running": {"startedAt": stamp(NOW)}}}],
    }


def ended(exit_code: int = 0, *, message: str = "", reason: str = "", after_s: float = 60) -> dict[str, Any]:
    """The status of a pod whose container has ended."""
    terminated = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "message": message,
        "startedAt": stamp(NOW),
        "finishedAt": stamp(NOW + timedelta(seconds=after_s)),
    }
    return {
        "phase": "Succeeded" if exit_code == 0 else "Failed",
        "containerStatuses": [{"name": "flow", "state": {"terminated": terminated}}],
    }


def stamp(instant: datetime) -> str:
    """RFC 3339 to the second."""
    return instant.strftime("%Y-%m-%dT%H:%M:%SZ")


def a_snapshot(run: Run | None = None, **changes: Any) -> Snapshot:
    """A run that nothing stands in the way of, and whose turn it is."""
    fields: dict[str, Any] = {"run": run or a_run(), "flow": a_flow(), "place": Place(), "turn": Turn()}
    return Snapshot(**{**fields, **changes})


def a_condition(type_: str, *, reason: str, message: str, status: str = "True", at: datetime = NOW) -> ConditionView:
    """A run's condition that holds since NOW."""
    return ConditionView(type_, status, reason, message, at)


ACCEPTED = a_condition("Accepted", reason="Accepted", message="flow revision pinned, parameters valid")


def admitted(attempt: int = 1) -> ConditionView:
    """What a run with a pod says."""
    return a_condition("Admitted", reason="Admitted", message=f"pod etl-1-{attempt} was created")


def an_accepted_status(**changes: Any) -> RunStatus:
    """The status of `a_run` that was accepted at NOW."""
    fields: dict[str, Any] = {
        "observed_generation": 1,
        "conditions": (ACCEPTED,),
        "flow_revision": "rev1",
        "queued_at": NOW,
    }
    return RunStatus(**{**fields, **changes})


def a_running_status(attempt: int = 1, **changes: Any) -> RunStatus:
    """The status of `a_run` whose attempt runs since NOW on node n1."""
    fields: dict[str, Any] = {
        "phase": Phase.RUNNING,
        "reason": "Running",
        "message": f"attempt {attempt} runs in pod etl-1-{attempt} on node n1",
        "conditions": (ACCEPTED, admitted(attempt)),
        "attempts": (an_attempt(attempt),),
        "started_at": NOW,
    }
    return an_accepted_status(**{**fields, **changes})


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The status of a pod whose container waits on its node."""
    state = {"waiting": {"reason": reason, "message": message}}
    return {"phase": "Pending", "containerStatuses": [{"name": "flow", "state": state}]}


def unschedulable(message: str = "0/3 nodes are available: 3 Insufficient cpu.") -> dict[str, Any]:
    """The status of a pod that no node takes since NOW."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [{**condition, "lastTransitionTime": stamp(NOW)}]}


def deleted(at: datetime = NOW, grace_s: int = 30) -> dict[str, Any]:
    """The metadata of a pod whose deletion was asked for."""
    return {"deletionTimestamp": stamp(at + timedelta(seconds=grace_s)), "deletionGracePeriodSeconds": grace_s}


def report(state: str = "Succeeded", **fields: Any) -> str:
    """The termination message of an SDK flow."""
    return json.dumps({"version": 1, "state": state, **fields})

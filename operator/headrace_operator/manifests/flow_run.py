"""The FlowRun of one scheduled time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from headrace.api import keys
from headrace.api.owners import owner_reference
from headrace.instants import stamp
from headrace_operator.decide.snapshot import DeploymentView


def scheduled_run(
    deployment: DeploymentView,
    *,
    name: str,
    schedule: str,
    scheduled_time: datetime,
    parameters: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """
    A FlowRun owned by its Deployment, so that it goes when the Deployment goes.

    Args:
        name: Derived from deployment, schedule and time: creating it twice is a conflict.
        parameters: The schedule's own; the Deployment's and the Flow's are merged under them when it is accepted.
    """
    spec: dict[str, Any] = {
        "deploymentRef": {"name": deployment.key.name},
        "scheduledTime": stamp(scheduled_time),
    }
    if parameters:
        spec["parameters"] = dict(parameters)
    return {
        "apiVersion": keys.API_VERSION,
        "kind": "FlowRun",
        "metadata": {
            "name": name,
            "namespace": deployment.key.namespace,
            "labels": {
                keys.MANAGED_BY_LABEL: keys.MANAGED_BY,
                keys.FLOW_LABEL: deployment.spec.flow_ref.name,
                keys.DEPLOYMENT_LABEL: deployment.key.name,
                keys.SCHEDULE_LABEL: schedule,
            },
            "ownerReferences": [owner_reference(keys.DEPLOYMENTS.kind, deployment.key.name, deployment.uid)],
        },
        "spec": spec,
    }

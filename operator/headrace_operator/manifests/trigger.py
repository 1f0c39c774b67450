"""The Automation that keeps a Deployment's trigger. Its name derives from both: creating it twice is a conflict."""

from __future__ import annotations

from typing import Any

from headrace.api import keys
from headrace.api.automation import AutomationSpec
from headrace.api.owners import owner_reference
from headrace.api.trigger import automation_name
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.decide.triggers import KeptTrigger, labels_of
from headrace_operator.manifests.patches import JsonPatch


def trigger_automation(deployment: ObjectKey, uid: str, trigger: str, spec: AutomationSpec) -> dict[str, Any]:
    """The Automation to create; it goes when the Deployment goes."""
    return {
        "apiVersion": keys.API_VERSION,
        "kind": keys.AUTOMATIONS.kind,
        "metadata": {
            "name": automation_name(deployment.name, trigger),
            "namespace": deployment.namespace,
            "labels": labels_of(deployment.name, trigger),
            "ownerReferences": [owner_reference(keys.DEPLOYMENTS.kind, deployment.name, uid)],
        },
        "spec": as_stored(spec),
    }


def as_stored(spec: AutomationSpec) -> dict[str, Any]:
    """The spec as JSON types; what is absent is left out."""
    stored: dict[str, Any] = spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    return stored


def trigger_changes(kept: KeptTrigger, deployment: str, trigger: str, spec: AutomationSpec) -> JsonPatch:
    """
    The patch that makes a kept Automation say this; it is refused if somebody has changed it since.

    The spec is replaced as a whole, as its parameters may hold nulls, which a merge patch would drop. Labels that people put there stay.
    """
    return [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": str(kept.version)},
        {"op": "add", "path": "/metadata/labels", "value": {**kept.labels, **labels_of(deployment, trigger)}},
        {"op": "add", "path": "/spec", "value": as_stored(spec)},
    ]

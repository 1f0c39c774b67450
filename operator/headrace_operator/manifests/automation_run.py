"""The FlowRuns that Automations make. Their names derive from the firing: creating one twice is a conflict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.api import keys
from headrace_operator.decide.snapshot import ObjectKey

MAX_STEM: Final = 63 - 1 - 10
"""A run's name is a label of its pods; the firing's id follows."""
AGAIN: Final = ("flowRef", "deploymentRef", "parameters", "priority")
"""What of a run's spec holds for another go."""
KEPT_LABELS: Final = (keys.DEPLOYMENT_LABEL, keys.FLOW_LABEL, keys.CHAIN_LABEL)


def run_name(stem: str, firing: str) -> str:
    """The name of the firing's run."""
    return f"{stem[:MAX_STEM].rstrip('-.')}-{firing}"


def started_run(automation: ObjectKey, start: Mapping[str, Any], *, flow: str | None, firing: str) -> dict[str, Any]:
    """
    A FlowRun of a Deployment. It has no owner: what was started goes on when its Automation is deleted.

    Args:
        start: The action, as status.firings has it.
    """
    deployment, parameters = start["deployment"], start.get("parameters")
    labels = {keys.DEPLOYMENT_LABEL: deployment} | ({keys.FLOW_LABEL: flow} if flow else {})
    if "chain" in start:
        labels[keys.CHAIN_LABEL] = str(start["chain"])
    spec: dict[str, Any] = {"deploymentRef": {"name": deployment}}
    if parameters:
        spec["parameters"] = dict(parameters)
    return _manifest(automation, run_name(deployment, firing), labels, spec)


def repeated_run(automation: ObjectKey, run: Mapping[str, Any], firing: str) -> dict[str, Any]:
    """Another go of a FlowRun, as the API has it."""
    metadata = run["metadata"]
    told = metadata.get("labels") or {}
    labels = {name: told[name] for name in KEPT_LABELS if name in told}
    labels[keys.RERUN_OF_LABEL] = metadata["name"]
    spec = {name: run["spec"][name] for name in AGAIN if name in run["spec"]}
    return _manifest(automation, run_name(metadata["name"], firing), labels, spec)


def _manifest(automation: ObjectKey, name: str, labels: Mapping[str, str], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": keys.API_VERSION,
        "kind": keys.FLOWRUNS.kind,
        "metadata": {
            "name": name,
            "namespace": automation.namespace,
            "labels": {
                keys.MANAGED_BY_LABEL: keys.MANAGED_BY,
                keys.AUTOMATION_LABEL: automation.name,
                **labels,
            },
        },
        "spec": dict(spec),
    }

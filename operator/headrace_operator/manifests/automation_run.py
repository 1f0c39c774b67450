"""The FlowRuns that Automations make. Their names derive from the firing: creating one twice is a conflict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from headrace.api import keys
from headrace.api.automation import Firing, PlannedAction, RunDeed
from headrace.api.goes import CARRIED_FIELDS, OWN_LABELS
from headrace_operator.decide.snapshot import ObjectKey

MAX_STEM: Final = 63 - len("-0123456789-7")
"""A run's name is a label of its pods; the firing's id follows, and a number for a second run of the stem."""


def run_names(firing: Firing) -> dict[str, str]:
    """By action, the name of the run that it makes. Several of one Deployment are numbered, in the order of the actions."""
    names: dict[str, str] = {}
    taken: Counter[str] = Counter()
    for action in firing.actions or ():
        stem = _stem(action)
        if stem is None:
            continue
        number = f"-{taken[stem]}" if taken[stem] else ""
        names[action.name] = f"{stem}-{firing.id}{number}"
        taken[stem] += 1
    return names


def _stem(action: PlannedAction) -> str | None:
    """What the name of its run begins with, None where it makes none. Long names may have one stem in common."""
    match action.do:
        case {"start": {"deployment": name}} | {"run": {"deed": RunDeed.RETRY, "name": name}}:
            return str(name)[:MAX_STEM].rstrip("-.")
    return None


def started_run(automation: ObjectKey, name: str, start: Mapping[str, Any], *, flow: str | None) -> dict[str, Any]:
    """
    A FlowRun of a Deployment. It has no owner: what was started goes on when its Automation is deleted.

    Args:
        name: Its own, as run_names says.
        start: The action, as status.firings has it.
    """
    deployment, parameters = start["deployment"], start.get("parameters")
    labels = {keys.DEPLOYMENT_LABEL: deployment} | ({keys.FLOW_LABEL: flow} if flow else {}) | _chain(start)
    spec: dict[str, Any] = {"deploymentRef": {"name": deployment}}
    if parameters:
        spec["parameters"] = dict(parameters)
    return _manifest(automation, name, labels, spec)


def repeated_run(automation: ObjectKey, name: str, run: Mapping[str, Any], deed: Mapping[str, Any]) -> dict[str, Any]:
    """
    Another go of a FlowRun, as `headrace rerun` makes it.

    Args:
        name: Its own, as run_names says.
        run: The FlowRun, as the API has it.
        deed: The action, as status.firings has it.
    """
    metadata = run["metadata"]
    labels = {label: value for label, value in (metadata.get("labels") or {}).items() if label not in OWN_LABELS}
    labels |= {keys.RERUN_OF_LABEL: metadata["name"]} | _chain(deed)
    spec = {field: run["spec"][field] for field in CARRIED_FIELDS if field in run["spec"]}
    return _manifest(automation, name, labels, spec)


def _chain(do: Mapping[str, Any]) -> dict[str, str]:
    """The label that tells how many starts lead to the action's run; none where it is the first."""
    return {keys.CHAIN_LABEL: str(do["chain"])} if "chain" in do else {}


def _manifest(automation: ObjectKey, name: str, labels: Mapping[str, str], spec: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": keys.API_VERSION,
        "kind": keys.FLOWRUNS.kind,
        "metadata": {
            "name": name,
            "namespace": automation.namespace,
            "labels": {
                **labels,
                keys.MANAGED_BY_LABEL: keys.MANAGED_BY,
                keys.AUTOMATION_LABEL: automation.name,
            },
        },
        "spec": dict(spec),
    }

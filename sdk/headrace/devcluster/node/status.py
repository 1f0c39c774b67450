"""The status that a kubelet would report of a pod: pure, from the node's record to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from headrace.devcluster.node.states import KILLED, LOST, Container, PodRecord, Running, State, Terminated, Waiting

ADDRESS = "127.0.0.1"
"""Processes of one machine share its address: so do the pods and the nodes."""
OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
"""Conditions that a kubelet writes; others, such as DisruptionTarget, stay as they are."""
FINAL = ("Succeeded", "Failed")
NEVER_RAN = "The container could not be located when the pod was terminated"


def phase(record: PodRecord, restart_policy: str, *, over: bool) -> str:
    """
    Pending, Running, Succeeded or Failed, by the kubelet's rules.

    Args:
        over: Nothing will be started any more, whatever the restart policy.
    """
    if record.phase:
        return record.phase
    inits = [each for each in record.kind(init=True) if not each.sidecar]
    if any(each.ended and not each.succeeded and (over or restart_policy == "Never") for each in inits):
        return "Failed"
    main = record.kind(init=False)
    if not record.initialized:
        return "Failed" if over else "Pending"
    if over or all(each.ended for each in main):
        return _end_phase(main, restart_policy, over=over)
    # One that crashed and waits for its next start counts as running; one that never started does not.
    waits = any(isinstance(each.state, Waiting) and each.last is None for each in main)
    return "Pending" if waits else "Running"


def _end_phase(main: Sequence[Container], restart_policy: str, *, over: bool) -> str:
    if restart_policy == "Always" and not over:
        return "Running"
    if all(each.succeeded for each in main):
        return "Succeeded"
    return "Failed" if over or restart_policy == "Never" else "Running"


def finish(record: PodRecord, restart_policy: str, now: str) -> None:
    """Makes the record final: what never ran is reported as such, and the phase is the pod's last."""
    for each in record.containers:
        if record.initialized and not each.init and not each.ended:
            each.state = Terminated(KILLED, LOST, now, now, NEVER_RAN, each.container_id)
        each.ready = each.started = False
    record.phase = phase(record, restart_policy, over=True)


def pod_status(pod: Mapping[str, Any], record: PodRecord, now: str) -> dict[str, Any]:
    """
    The status to write: what a kubelet owns of it, whole.

    Args:
        now: The transition time of conditions that differ from the pod's present ones.
    """
    spec, over = pod["spec"], record.phase in FINAL
    current = phase(record, spec.get("restartPolicy", "Always"), over=over)
    if current in FINAL and not over:  # others may still run, sidecars for instance: `finish` has the last word
        current = "Running" if record.initialized else "Pending"
    status: dict[str, Any] = {
        "phase": current,
        "observedGeneration": pod["metadata"].get("generation"),
        "reason": record.reason or None,
        "message": record.message or None,
        "startTime": record.started_at,
        "hostIP": ADDRESS,
        "hostIPs": [{"ip": ADDRESS}],
        "podIP": ADDRESS,
        "podIPs": [{"ip": ADDRESS}],
        "conditions": conditions(pod, record, current, now),
        "containerStatuses": [container_status(each) for each in record.kind(init=False)],
    }
    inits = record.kind(init=True)
    if inits:
        status["initContainerStatuses"] = [container_status(each) for each in inits]
    return status


def conditions(pod: Mapping[str, Any], record: PodRecord, current: str, now: str) -> list[dict[str, Any]]:
    """The kubelet's conditions, with the time of their last change."""
    before = {each["type"]: each for each in pod.get("status", {}).get("conditions") or ()}
    facts = {
        "PodReadyToStartContainers": ("False", "", "") if current in FINAL else ("True", "", ""),
        "Initialized": _initialized(record, current),
        "Ready": _ready(record, current),
        "ContainersReady": _ready(record, current),
        "PodScheduled": ("True", "", ""),
    }
    written = []
    for kind in OURS:
        value, reason, message = facts[kind]
        same = before.get(kind, {}).get("status") == value
        written.append(
            {
                "type": kind,
                "status": value,
                "reason": reason or None,
                "message": message or None,
                "observedGeneration": pod["metadata"].get("generation"),
                "lastProbeTime": None,
                "lastTransitionTime": before[kind]["lastTransitionTime"] if same else now,
            }
        )
    return written


def _initialized(record: PodRecord, current: str) -> tuple[str, str, str]:
    missing = [each.name for each in record.kind(init=True) if not (each.started if each.sidecar else each.succeeded)]
    if current == "Succeeded":
        return "True", "PodCompleted", ""
    if record.initialized or not missing:
        return "True", "", ""
    return "False", "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(missing)}]"


def _ready(record: PodRecord, current: str) -> tuple[str, str, str]:
    if current == "Succeeded":
        return "False", "PodCompleted", ""
    if current == "Failed":
        return "False", "PodFailed", ""
    unready = [each.name for each in record.containers if (not each.init or each.sidecar) and not each.ready]
    if unready:
        return "False", "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"
    return "True", "", ""


def container_status(container: Container) -> dict[str, Any]:
    """One entry of containerStatuses."""
    return {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "containerID": container.container_id or None,
        "restartCount": container.restarts,
        "ready": container.ready,
        "started": container.started,
        "state": state(container.state),
        "lastState": state(container.last) if container.last else {},
    }


def state(value: State) -> dict[str, Any]:
    """A container's state as the API writes it; what is not known is left out."""
    if isinstance(value, Waiting):
        return {"waiting": _known(reason=value.reason, message=value.message)}
    if isinstance(value, Running):
        return {"running": {"startedAt": value.started_at}}
    return {
        "terminated": {
            "exitCode": value.exit_code,
            **_known(
                reason=value.reason,
                message=value.message,
                startedAt=value.started_at,
                finishedAt=value.finished_at,
                containerID=value.container_id,
            ),
        }
    }


def _known(**texts: str) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}

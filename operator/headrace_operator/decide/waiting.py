"""
Why a pod that exists does not run yet, or no longer answers.

Sentences stay the same as long as the cause does, so that nothing is written while nothing changes: what varies from
one look to the next (counts of attempts, times) is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from headrace.api.conditions import Reason
from headrace_operator.decide.pod_facts import Container, PodFacts, pod_facts
from headrace_operator.decide.report import one_line

SLOW_START_S = 120.0
"""A container that is being created for longer than this waits for something; large images take about that long."""

UNANSWERED_S = 60.0
"""A node that has not ended a pod so long after its grace period does not answer."""

IMAGE_REASONS = frozenset(
    {
        "ErrImageNeverPull",
        "ErrImagePull",
        "ErrRegistryUnavailable",
        "ImageInspectError",
        "ImagePullBackOff",
        "InvalidImageName",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    }
)
HOPELESS_IMAGE_REASONS = frozenset({"ErrImageNeverPull", "InvalidImageName"})
"""The kubelet tries again, and finds the same."""

CREATION_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
ORDINARY_REASONS = frozenset({"", "ContainerCreating", "PodInitializing"})

IMAGE_ADVICE = (
    ("not found", "the registry has no such image or tag; check spec.image"),
    ("manifest unknown", "the registry has no such image or tag; check spec.image"),
    ("no match for platform", "the image is not built for the node's architecture; build it for that one too"),
    ("unauthorized", "the registry asks for credentials; check spec.imagePullSecrets"),
    ("denied", "the registry denies access, or has no such image; check spec.image and spec.imagePullSecrets"),
    ("forbidden", "the registry denies access; check spec.imagePullSecrets"),
    ("no such host", "the registry's name cannot be resolved; check spec.image"),
    ("toomanyrequests", "the registry limits the rate of pulls; wait, or add spec.imagePullSecrets"),
    ("too many requests", "the registry limits the rate of pulls; wait, or add spec.imagePullSecrets"),
    ("timeout", "the registry does not answer; check the node's network"),
    ("connection refused", "the registry does not answer; check its address and the node's network"),
    ("x509", "the registry's certificate is not trusted by the node"),
)
"""What a registry's answer means, by a part of it; the first match holds."""

SCHEDULER_ADVICE = (
    ("Insufficient ", "lower spec.resources.requests, or add nodes that are large enough"),
    ("untolerated taint", "tolerate the taint in spec.podTemplate, or add nodes without it"),
    ("node affinity/selector", "change the node selector or affinity in spec.podTemplate, or label a node"),
    ("persistentvolumeclaim", "create the claim that spec.podTemplate names"),
    ("volume", "check that the pod's volumes can be used from one and the same node"),
    ("free ports", "do without hostPort"),
    ("Too many pods", "add nodes"),
    ("unschedulable", "uncordon a node: kubectl uncordon"),
)
"""What to do about the scheduler's words, by a part of them; every match is told."""

_MISSING = re.compile(
    r'(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found'
    r"|couldn't find key (?P<key>\S+) in (?P<key_kind>Secret|ConfigMap) (?P<key_name>\S+)"
)
_NODES = re.compile(
    r"^(?P<available>\d+/\d+) nodes are available: (?P<why>.*?)(?:\. preemption:.*|\. no new claims.*)?$"
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """
    Why a pod does not run.

    Args:
        since: When the wait began, as far as the pod tells.
        hopeless: Waiting longer changes nothing; somebody must act.
    """

    reason: Reason
    message: str
    since: datetime | None = None
    hopeless: bool = False


def diagnose_wait(pod: Mapping[str, Any], *, now: datetime) -> Waiting | None:
    """Why this pod does not run, or does not end; None when it runs, has ended, or is simply on its way."""
    facts = pod_facts(pod)
    if facts.finished or facts.terminated is not None:
        return None
    return next((found for rule in RULES if (found := rule(facts, now))), None)


def node_unreachable(pod: PodFacts, now: datetime) -> Waiting | None:
    """Asked to end and still there, or declared not ready by the node controller, which gives no reason."""
    if pod.node is None:
        return None
    overdue = pod.deadline is not None and now > pod.deadline + timedelta(seconds=UNANSWERED_S)
    ready = pod.conditions.get("Ready")
    unheard = ready is not None and ready.status == "False" and not ready.reason and _runs(pod)
    if not (overdue or unheard):
        return None
    message = (
        f"node {pod.node} does not answer, so nobody knows whether pod {pod.name} still runs; "
        f"mend the node, or if it is gone for good: kubectl delete node {pod.node}"
    )
    since = pod.deadline if overdue or ready is None else ready.since
    return Waiting(Reason.NODE_UNREACHABLE, message, since)


def _runs(pod: PodFacts) -> bool:
    return bool(pod.containers) and all(container.ready for container in pod.containers)


def gated(pod: PodFacts, _now: datetime) -> Waiting | None:
    """Something asked for gates: a quota queue, for example."""
    scheduled = pod.conditions.get("PodScheduled")
    if scheduled is None or scheduled.status == "True" or scheduled.reason != "SchedulingGated":
        return None
    message = f"a scheduling gate holds pod {pod.name} back; whoever set it must lift it (spec.schedulingGates)"
    return Waiting(Reason.SCHEDULING_GATED, message, scheduled.since)


def unschedulable(pod: PodFacts, _now: datetime) -> Waiting | None:
    """No node takes it. An autoscaler may still add one."""
    scheduled = pod.conditions.get("PodScheduled")
    if scheduled is None or scheduled.status == "True" or not scheduled.reason:
        return None
    advice = [advice for words, advice in SCHEDULER_ADVICE if words in scheduled.message]
    then = "; or ".join(dict.fromkeys(advice)) or f"see {pod.kubectl('describe pod')}"
    message = f"no node takes pod {pod.name}: {_scheduler_words(scheduled.message)}; {then}"
    return Waiting(Reason.UNSCHEDULABLE, message, scheduled.since)


def _scheduler_words(message: str) -> str:
    found = _NODES.match(one_line(message))
    if found is None:
        return one_line(message).rstrip(".")
    return f"{found['why'].rstrip('.')} ({found['available']} nodes available)"


def image_pull_failed(pod: PodFacts, _now: datetime) -> Waiting | None:
    """The kubelet goes on trying, with pauses of up to five minutes."""
    container = _waits_with(pod, IMAGE_REASONS)
    if container is None:
        return None
    image = _image(container)
    hopeless = container.waiting_reason in HOPELESS_IMAGE_REASONS
    message = f'image "{image}" cannot be pulled: {_image_advice(container)}; see {pod.kubectl("describe pod")}'
    return Waiting(Reason.IMAGE_PULL_FAILED, message, _since(pod), hopeless=hopeless)


def _image(container: Container) -> str:
    named = re.search(r'image "([^"]+)"', container.waiting_message)
    return container.image or (named[1] if named else "?")


def _image_advice(container: Container) -> str:
    if container.waiting_reason == "InvalidImageName":
        return "its name is no valid image reference; mend spec.image"
    if container.waiting_reason == "ErrImageNeverPull":
        return "it is not on the node and spec.imagePullPolicy is Never; load it there, or choose IfNotPresent"
    if container.waiting_reason == "SignatureValidationFailed":
        return "its signature is not accepted by the node's policy; sign it, or check spec.image"
    answer = container.waiting_message.lower()
    known = next((advice for words, advice in IMAGE_ADVICE if words in answer), None)
    return known or "check spec.image, spec.imagePullSecrets and the registry"


def container_not_created(pod: PodFacts, _now: datetime) -> Waiting | None:
    """Something that the container needs is missing, or its settings contradict the node's."""
    container = _waits_with(pod, CREATION_REASONS)
    if container is None:
        return None
    missing = _MISSING.search(container.waiting_message)
    if missing is not None:
        return Waiting(Reason.CONFIG_MISSING, _missing(pod, container, missing), _since(pod))
    told = one_line(container.waiting_message) or container.waiting_reason
    message = f'container "{container.name}" of {pod} cannot be created: {told}; mend the Flow\'s spec'
    return Waiting(Reason.CONTAINER_CREATION_FAILED, message, _since(pod))


def _missing(pod: PodFacts, container: Container, found: re.Match[str]) -> str:
    if found["key"]:
        name = found["key_name"].rpartition("/")[2]
        return (
            f'{found["key_kind"]} "{name}" in namespace {pod.namespace} has no key "{found["key"]}", which container '
            f'"{container.name}" needs; add the key, or change spec.env'
        )
    kind = {"secret": "Secret", "configmap": "ConfigMap"}[found["kind"]]
    return (
        f'{kind} "{found["name"]}" is not in namespace {pod.namespace}, and container "{container.name}" needs it; '
        "create it, or change spec.env or spec.envFrom"
    )


def slow_start(pod: PodFacts, now: datetime) -> Waiting | None:
    """Being created for long: what keeps it is told in Events alone, so that only guesses can be named."""
    creating = _waits_with(pod, ORDINARY_REASONS)
    since = _since(pod)
    initialising = any(container.running_since for container in pod.init)
    if creating is None or since is None or initialising or now <= since + timedelta(seconds=SLOW_START_S):
        return None
    needs = f"; it needs {', '.join(pod.mounted)} in namespace {pod.namespace}" if pod.mounted else ""
    message = (
        f"{pod} is still being prepared{needs}; its volumes or a large image keep it, see {pod.kubectl('describe pod')}"
    )
    return Waiting(Reason.VOLUME_WAIT, message, since)


def _waits_with(pod: PodFacts, reasons: frozenset[str]) -> Container | None:
    """The first container that waits for one of these reasons, init containers before others."""
    return next((container for container in (*pod.init, *pod.containers) if container.waiting_reason in reasons), None)


def _since(pod: PodFacts) -> datetime | None:
    scheduled = pod.conditions.get("PodScheduled")
    return scheduled.since if scheduled is not None and scheduled.since is not None else pod.created


RULES: tuple[Callable[[PodFacts, datetime], Waiting | None], ...] = (
    node_unreachable,
    gated,
    unschedulable,
    image_pull_failed,
    container_not_created,
    slow_start,
)

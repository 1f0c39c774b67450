"""A pod as a diagnosis looks at it: what the API returns, or a slim copy of it, with every part possibly missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from headrace.api.keys import FLOW_CONTAINER
from headrace_operator.decide.shapes import mapping, mappings


@dataclass(frozen=True, slots=True)
class Terminated:
    """How a container ended. `message` is its termination message, or the kubelet's word."""

    exit_code: int
    reason: str
    message: str
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Container:
    """One container's status. `limits` are quantities, such as "512Mi", where the kubelet tells them."""

    name: str
    image: str
    ready: bool
    waiting_reason: str | None
    waiting_message: str
    running_since: datetime | None
    terminated: Terminated | None
    limits: Mapping[str, Any]

    @property
    def started_at(self) -> datetime | None:
        """When its process started, running or not."""
        return self.terminated.started_at if self.terminated else self.running_since


@dataclass(frozen=True, slots=True)
class Condition:
    """A pod's condition; `since` is its last transition."""

    status: str
    reason: str
    message: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class PodFacts:
    """
    What a diagnosis rests on.

    Args:
        deadline: The deletion timestamp: when the grace period of a deletion is over.
        asked_to_end: When the deletion was asked for.
        spec: What few diagnoses ask for is read from there when they do.
    """

    name: str
    namespace: str
    node: str | None
    phase: str
    reason: str
    message: str
    created: datetime | None
    deadline: datetime | None
    asked_to_end: datetime | None
    active_deadline_s: int | None
    conditions: Mapping[str, Condition]
    flow: Container | None
    init: tuple[Container, ...]
    containers: tuple[Container, ...]
    spec: Mapping[str, Any]

    def __str__(self) -> str:
        return f"pod {self.name} on node {self.node}" if self.node else f"pod {self.name}"

    @property
    def finished(self) -> bool:
        """Whether its phase is one that it never leaves."""
        return self.phase in {"Succeeded", "Failed"}

    @property
    def terminated(self) -> Terminated | None:
        """How the flow's container ended, if it has."""
        return self.flow.terminated if self.flow else None

    @property
    def disruption(self) -> Condition | None:
        """Who or what in the cluster ended the pod, if anything did."""
        found = self.conditions.get("DisruptionTarget")
        return found if found is not None and found.status == "True" else None

    @property
    def mounted(self) -> tuple[str, ...]:
        """Secrets and ConfigMaps that it mounts and cannot do without, such as `Secret "db"`."""
        return tuple(_mounted(self.spec))

    @property
    def memory_limit(self) -> str | None:
        """Of the flow's container: a quantity, such as "512Mi"."""
        asked = (entry for entry in mappings(self.spec.get("containers")) if entry.get("name") == FLOW_CONTAINER)
        for limits in (self.flow.limits if self.flow else {}, *map(_limits, asked)):
            if limits.get("memory"):
                return str(limits["memory"])
        return None

    def kubectl(self, verb: str) -> str:
        """The command that tells more: `logs` or `describe pod`."""
        container = f" -c {FLOW_CONTAINER}" if verb == "logs" else ""
        return f"kubectl -n {self.namespace} {verb} {self.name}{container}"


def pod_facts(pod: Mapping[str, Any]) -> PodFacts:
    """The facts in a pod's mapping."""
    metadata, spec, status = (mapping(pod.get(part)) for part in ("metadata", "spec", "status"))
    containers = tuple(map(_container, mappings(status.get("containerStatuses"))))
    deadline = _instant(metadata.get("deletionTimestamp"))
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    return PodFacts(
        name=metadata.get("name") or "",
        namespace=metadata.get("namespace") or "default",
        node=spec.get("nodeName"),
        phase=status.get("phase") or "Pending",
        reason=status.get("reason") or "",
        message=status.get("message") or "",
        created=_instant(metadata.get("creationTimestamp")),
        deadline=deadline,
        asked_to_end=deadline - grace if deadline else None,
        active_deadline_s=spec.get("activeDeadlineSeconds"),
        conditions={str(entry.get("type")): _condition(entry) for entry in mappings(status.get("conditions"))},
        flow=next((container for container in containers if container.name == FLOW_CONTAINER), None),
        init=tuple(map(_container, mappings(status.get("initContainerStatuses")))),
        containers=containers,
        spec=spec,
    )


def taken_at(pod: Mapping[str, Any]) -> datetime | None:
    """When a node took the pod, and so kept room for it; None if none did."""
    return _instant(mapping(pod.get("status")).get("startTime"))


def _container(status: Mapping[str, Any]) -> Container:
    state = mapping(status.get("state"))
    waiting, running = mapping(state.get("waiting")), mapping(state.get("running"))
    ended = mapping(state.get("terminated"))
    return Container(
        name=str(status.get("name")),
        image=str(status.get("image") or ""),
        ready=status.get("ready") is True,
        waiting_reason=(waiting.get("reason") or "") if "waiting" in state else None,
        waiting_message=waiting.get("message") or "",
        running_since=_instant(running.get("startedAt")),
        terminated=_terminated(ended) if ended else None,
        limits=_limits(status),
    )


def _terminated(ended: Mapping[str, Any]) -> Terminated:
    return Terminated(
        exit_code=int(ended.get("exitCode") or 0),
        reason=ended.get("reason") or "",
        message=ended.get("message") or "",
        started_at=_instant(ended.get("startedAt")),
        finished_at=_instant(ended.get("finishedAt")),
    )


def _condition(entry: Mapping[str, Any]) -> Condition:
    return Condition(
        status=entry.get("status") or "Unknown",
        reason=entry.get("reason") or "",
        message=entry.get("message") or "",
        since=_instant(entry.get("lastTransitionTime")),
    )


def _limits(container: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(mapping(container.get("resources")).get("limits"))


def _mounted(spec: Mapping[str, Any]) -> Iterator[str]:
    for volume in mappings(spec.get("volumes")):
        projected = mappings(mapping(volume.get("projected")).get("sources"))
        for source in (volume, *projected):
            secret, config_map = mapping(source.get("secret")), mapping(source.get("configMap"))
            if secret and not secret.get("optional"):
                yield f'Secret "{secret.get("secretName") or secret.get("name")}"'
            if config_map and not config_map.get("optional"):
                yield f'ConfigMap "{config_map.get("name")}"'


def _instant(stamp: object) -> datetime | None:
    """RFC 3339 as aware UTC; None for nothing, and for the zero time that Go writes."""
    if not isinstance(stamp, str) or stamp.startswith("0001-"):
        return None
    return datetime.fromisoformat(stamp).astimezone(UTC)

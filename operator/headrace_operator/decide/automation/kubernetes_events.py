"""Which Events of Kubernetes an Automation waits for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace.api.automation import Firing
from headrace.api.automation_sources import OnKubernetesEvent
from headrace.api.keys import API_VERSION, AUTOMATIONS
from headrace_operator.decide.automation.occurrences import Occurrence, fingerprint

OBJECT_FIELDS: Final = ("apiVersion", "kind", "name", "namespace", "uid", "fieldPath")
GROUP: Final = API_VERSION.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Told:
    """
    An Event, as it was told last.

    Attributes:
        count: How often it has been told.
        mark: Is another one each time.
        at: When it was told, aware, and no later than it was seen.
        regarding: The object that it is about.
    """

    namespace: str
    uid: str
    type: str
    reason: str
    message: str
    source: str
    count: int
    mark: str
    at: datetime
    regarding: Mapping[str, str]


def told_from(obj: Mapping[str, Any], at: datetime) -> Told:
    """
    From an Event of core/v1, in either of the ways in which they are counted.

    Args:
        at: When it was told last.
    """
    series = obj.get("series") or {}
    count = series.get("count") or obj.get("count") or 1
    source = obj.get("reportingComponent") or (obj.get("source") or {}).get("component") or ""
    return Told(
        namespace=obj["metadata"]["namespace"],
        uid=obj["metadata"]["uid"],
        type=obj.get("type") or "",
        reason=obj.get("reason") or "",
        message=obj.get("message") or "",
        source=source,
        count=count,
        mark=f"{count}/{said_at(obj)}",
        at=at,
        regarding=obj.get("involvedObject") or {},
    )


def said_at(obj: Mapping[str, Any]) -> str:
    """When it says that it was told last, as it says it; when it was made, if it does not."""
    series = obj.get("series") or {}
    metadata = obj["metadata"]
    instants = (series.get("lastObservedTime"), obj.get("lastTimestamp"), obj.get("eventTime"))
    return next((each for each in instants if each), metadata.get("creationTimestamp") or "")


def event_occurrence(on: OnKubernetesEvent, told: Told, firings: Iterable[Firing]) -> Occurrence | None:
    """
    That it was told; None where it is not waited for, or is about an Automation or what this one brought about.

    Args:
        firings: Of the Automation: runs that it started, and their pods, carry the firings' ids in their names.
    """
    if not _is_meant(on, told) or _is_own(told, firings):
        return None
    regarding = told.regarding
    kind, name = regarding.get("kind", ""), regarding.get("name", "")
    known_by = regarding.get("uid") or f"{regarding.get('apiVersion', '')}/{kind}/{name}"
    event = {
        "type": "kubernetesEvent",
        "kubernetes": {
            "reason": told.reason,
            "type": told.type,
            "message": told.message,
            "count": told.count,
            "source": told.source,
            "object": {field: regarding[field] for field in OBJECT_FIELDS if regarding.get(field)},
        },
    }
    about = f"{kind} {name}: {told.reason}"
    group = fingerprint("object", known_by, told.reason)
    return Occurrence(fingerprint("kubernetesEvent", told.uid, told.mark), told.at, about, event, group)


def _is_meant(on: OnKubernetesEvent, told: Told) -> bool:
    wanted = (
        ((on.type.value,), told.type),
        (on.reasons, told.reason),
        (on.kinds, told.regarding.get("kind")),
        (None if on.api_version is None else (on.api_version,), told.regarding.get("apiVersion")),
        (on.names, told.regarding.get("name")),
    )
    return all(allowed is None or found in allowed for allowed, found in wanted)


def _is_own(told: Told, firings: Iterable[Firing]) -> bool:
    """Whether acting on it could go on for ever: two Automations would act on each other's Events, too."""
    regarding = told.regarding
    if regarding.get("kind") == AUTOMATIONS.kind and regarding.get("apiVersion", "").startswith(f"{GROUP}/"):
        return True
    name = f"{regarding.get('name', '')}-"
    return any(f"-{firing.id}-" in name for firing in firings)

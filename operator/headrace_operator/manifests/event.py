"""Kubernetes Events, named by what they say or what they come from: saying it twice is a conflict and not a second Event."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headrace.instants import stamp
from headrace_operator.decide.conditions import shortened
from headrace_operator.decide.snapshot import ObjectKey

COMPONENT = "headrace-operator"


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that an Event is about."""

    api_version: str
    kind: str
    key: ObjectKey
    uid: str


def event_manifest(
    subject: Subject, *, reason: str, message: str, warning: bool, now: datetime, cause: str | None = None
) -> dict[str, Any]:
    """
    A core/v1 Event.

    Args:
        cause: Its name derives from the subject and from this, where the same may be said of several things. None: from reason and message.
    """
    text = shortened(message)
    said = f"{reason}/{text}" if cause is None else cause
    digest = hashlib.sha256(f"{subject.uid}/{said}".encode()).hexdigest()[:16]
    at = stamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{subject.key.name}.{digest}", "namespace": subject.key.namespace},
        "involvedObject": {
            "apiVersion": subject.api_version,
            "kind": subject.kind,
            "namespace": subject.key.namespace,
            "name": subject.key.name,
            "uid": subject.uid,
        },
        "reason": reason,
        "message": text,
        "type": "Warning" if warning else "Normal",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": at,
        "lastTimestamp": at,
        "count": 1,
    }

"""Kubernetes Events: for people, rare, never in the way of the work."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

import structlog

from headrace.kubeapi.errors import AlreadyExists, ApiError
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import EVENTS
from headrace_operator.manifests.event import Subject, event_manifest

log = structlog.get_logger()


async def record_event(cluster: Cluster, subject: Subject, event: RecordEvent, now: datetime) -> None:
    """Write the Event; a failure is logged and nothing more, as the status tells the same."""
    try:
        await write_event(cluster, subject, event, now)
    except ApiError as error:
        log.warning("event_not_recorded", reason=event.reason, error=str(error))


async def write_event(
    cluster: Cluster, subject: Subject, event: RecordEvent, now: datetime, *, cause: str | None = None
) -> None:
    """Write the Event, once; `cause` is as event_manifest has it. Raises: ApiError."""
    manifest = event_manifest(
        subject, reason=event.reason, message=event.message, warning=event.warning, now=now, cause=cause
    )
    with suppress(AlreadyExists):
        await cluster.create(EVENTS, subject.key.namespace, manifest)

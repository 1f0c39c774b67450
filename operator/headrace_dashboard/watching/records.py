"""What is kept of each object: what lists show and filter by, and no more. A run is about a kilobyte."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from headrace.api import keys

MAX_MESSAGE: Final = 240
MAX_LABELS: Final = 32


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A FlowRun. Instants are texts as the API writes them; of one length, they compare as instants do."""

    uid: str
    namespace: str
    name: str
    version: int
    phase: str
    reason: str
    message: str
    flow: str
    deployment: str
    backfill: str
    rerun_of: str
    started_by: str
    """The run whose task or child this is."""
    is_task: bool
    created: str
    started: str
    finished: str
    attempts: int
    pool: str
    cost: str
    currency: str
    labels: tuple[tuple[str, str], ...]

    @property
    def of(self) -> str:
        """The Deployment, or the Flow of a run without one."""
        return self.deployment or self.flow


def run_record(obj: Mapping[str, Any]) -> RunRecord:
    """Raises: KeyError, TypeError, ValueError: it is no FlowRun."""
    metadata, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    labels = metadata.get("labels") or {}
    cost = status.get("cost") or {}
    flow = (spec.get("flowRef") or {}).get("name") or labels.get(keys.FLOW_LABEL) or ""
    return RunRecord(
        uid=metadata["uid"],
        namespace=sys.intern(metadata["namespace"]),
        name=metadata["name"],
        version=int(metadata["resourceVersion"]),
        phase=sys.intern(status.get("phase") or "Pending"),
        reason=sys.intern(str(status.get("reason") or "")),
        message=str(status.get("message") or "")[:MAX_MESSAGE],
        flow=sys.intern(str(flow)),
        deployment=sys.intern(str((spec.get("deploymentRef") or {}).get("name") or "")),
        backfill=sys.intern(str(labels.get(keys.BACKFILL_LABEL) or "")),
        rerun_of=str(labels.get(keys.RERUN_OF_LABEL) or ""),
        started_by=_parent(spec, metadata["namespace"]),
        is_task="task" in spec,
        created=metadata["creationTimestamp"],
        started=status.get("startedAt") or "",
        finished=status.get("finishedAt") or "",
        attempts=len(status.get("attempts") or ()),
        pool=sys.intern(str(status.get("pool") or "")),
        cost=str(cost.get("amount") or ""),
        currency=sys.intern(str(cost.get("currency") or "")),
        labels=_labels(labels),
    )


def newest_run(record: RunRecord) -> tuple[str, str, str]:
    """What runs are sorted by: creation, then namespace and name."""
    return (record.created, record.namespace, record.name)


@dataclass(frozen=True, slots=True)
class Kept:
    """An object of a kind of which there are few: all of it but managedFields."""

    uid: str
    namespace: str
    name: str
    version: int
    spec: Mapping[str, Any]
    status: Mapping[str, Any]
    created: str
    team: str


def kept(obj: Mapping[str, Any]) -> Kept:
    """Raises: KeyError, TypeError, ValueError: it is no object."""
    metadata = obj["metadata"]
    return Kept(
        uid=metadata["uid"],
        namespace=sys.intern(str(metadata.get("namespace") or "")),
        name=metadata["name"],
        version=int(metadata["resourceVersion"]),
        spec=obj["spec"],
        status=obj.get("status") or {},
        created=metadata["creationTimestamp"],
        team=str((metadata.get("labels") or {}).get(keys.TEAM_LABEL) or ""),
    )


def kept_flow(obj: Mapping[str, Any]) -> Kept:
    """A Flow without its code, which may be large."""
    source = obj["spec"].get("source") or {}
    spec = {**obj["spec"], "source": {name: {} for name in source}}
    spec.pop("podTemplate", None)
    return kept({**obj, "spec": spec})


def _parent(spec: Mapping[str, Any], namespace: str) -> str:
    """The run of the same namespace that started it; empty: none did."""
    if "task" in spec:
        return str(spec["task"]["parent"]["name"])
    started_by = spec.get("startedBy") or {}
    return str(started_by["name"]) if started_by.get("namespace") in {None, namespace} and started_by else ""


def _labels(labels: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((sys.intern(str(key)), str(value)) for key, value in sorted(labels.items())[:MAX_LABELS])

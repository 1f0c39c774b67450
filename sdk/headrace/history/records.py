"""A finished FlowRun as the record that is kept of it: one JSON object with a field a column of the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from headrace.api.audit import deeds_of
from headrace.api.conditions import Phase
from headrace.api.keys import BACKFILL_LABEL, FLOW_LABEL, PARTITION_LABEL, SCHEDULE_LABEL
from headrace.instants import milliseconds

GOOD_ENDS: Final = frozenset({Phase.SUCCEEDED, Phase.SKIPPED})
NUL: Final = "\x00"
"""No text of PostgreSQL can hold it."""
ESCAPED_NUL: Final = b"\\u0000"
LEN_SECONDS: Final = len("2026-03-04T12:00:00Z")
LEN_MICROSECONDS: Final = len("2026-03-04T12:00:00.000000Z")
FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)
BARE: Final = ("uid", "namespace", "name", "flow", "deployment", "phase", "reason", "created_at", "finished_at")
"""What is left of a record that the store refuses as a whole."""


@dataclass(frozen=True, slots=True)
class Record:
    """What the store keeps of one run."""

    uid: str
    namespace: str
    name: str
    is_good: bool
    """Whether it succeeded, or was skipped."""
    pod: str | None
    """Of its last attempt; None if it never had one."""
    document: bytes
    """A JSON object; its keys are columns."""

    def with_log_tail(self, text: str) -> Record:
        """The same, with the end of the last attempt's log."""
        tail = orjson.dumps(text.replace(NUL, "\ufffd"))
        return replace(self, document=self.document[:-1] + b',"log_tail":' + tail + b"}")

    def bare(self, why: str) -> Record:
        """Who it was and how it ended, and why there is no more."""
        whole = orjson.loads(self.document)
        kept = {name: whole.get(name) for name in BARE}
        return replace(self, document=orjson.dumps({**kept, "refused": why.replace(NUL, "\ufffd")}))


def record_of(obj: Mapping[str, Any], *, flow: str | None = None) -> Record:
    """
    The record of a finished FlowRun.

    Args:
        obj: The FlowRun as the API gives it.
        flow: Name of its Flow, where its Deployment names it.
    Raises: KeyError, TypeError, ValueError: it is no finished FlowRun.
    """
    metadata, status = obj["metadata"], obj["status"]
    document = {
        **_identity(obj, flow),
        **_ending(metadata, status),
        **_details(obj["spec"], status),
        "audit": [asdict(deed) for deed in deeds_of(obj)] or None,
    }
    attempts = status.get("attempts") or ()
    return Record(
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        is_good=status["phase"] in GOOD_ENDS,
        pod=attempts[-1].get("pod") if attempts else None,
        document=_encoded(document),
    )


def stamp(instant: datetime) -> str:
    """
    As stored where there is no type for instants: of one length, so that texts compare as instants do.

    One that UTC cannot tell, in the first hours of the year 1 or the last of 9999, is the nearest that it can.
    """
    try:
        return milliseconds(instant)
    except OverflowError:
        return milliseconds(FIRST if instant.year == 1 else LAST)


def _identity(obj: Mapping[str, Any], flow: str | None) -> dict[str, Any]:
    metadata, spec = obj["metadata"], obj["spec"]
    labels = metadata.get("labels") or {}
    return {
        "uid": metadata["uid"],
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "flow": (spec.get("flowRef") or {}).get("name") or flow or labels.get(FLOW_LABEL),
        "deployment": (spec.get("deploymentRef") or {}).get("name"),
        "schedule": labels.get(SCHEDULE_LABEL),
        "backfill": labels.get(BACKFILL_LABEL),
        "partition": labels.get(PARTITION_LABEL),
        "revision": obj["status"].get("flowRevision"),
        "labels": labels or None,
    }


def _ending(metadata: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    usage, cost = status.get("usage") or {}, status.get("cost") or {}
    started, finished = _instant(status.get("startedAt")), _instant(status.get("finishedAt"))
    return {
        "phase": status["phase"],
        "reason": status.get("reason"),
        "message": status.get("message"),
        "created_at": _stamp(metadata.get("creationTimestamp")),
        "queued_at": _stamp(status.get("queuedAt")),
        "started_at": _stamp(status.get("startedAt")),
        "finished_at": _stamp(status.get("finishedAt")) or _stamp(metadata["creationTimestamp"]),
        "duration_s": (finished - started).total_seconds() if started and finished else None,
        "attempt_count": len(status.get("attempts") or ()),
        "pool": status.get("pool"),
        "cpu_s": usage.get("cpuSeconds"),
        "max_memory_bytes": usage.get("maxMemoryBytes"),
        "cost_amount": cost.get("amount"),
        "cost_currency": cost.get("currency"),
    }


def _details(spec: Mapping[str, Any], status: Mapping[str, Any]) -> dict[str, Any]:
    effective = status.get("parameters")
    return {
        "scheduled_for": _stamp(spec.get("scheduledTime")),
        "parameters": spec.get("parameters") if effective is None else effective,
        "spec": {name: value for name, value in spec.items() if name != "parameters"},
        "attempts": status.get("attempts"),
        "tasks": status.get("tasks"),
        "result": status.get("result"),
        "artifacts": status.get("artifacts"),
        "lineage": status.get("lineage"),
        "pauses": status.get("answers"),
    }


def _encoded(document: dict[str, Any]) -> bytes:
    encoded = orjson.dumps(document)
    return encoded if ESCAPED_NUL not in encoded else orjson.dumps(_without_nul(document))


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace(NUL, "\ufffd")
    if isinstance(value, dict):
        return {_without_nul(key): _without_nul(each) for key, each in value.items()}
    return [_without_nul(each) for each in value] if isinstance(value, list) else value


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _stamp(text: str | None) -> str | None:
    """As `stamp`; what the API writes, with whole seconds or microseconds in UTC, needs no parsing."""
    if not text:
        return None
    if text[-1] == "Z" and len(text) in {LEN_SECONDS, LEN_MICROSECONDS}:
        return f"{text[:19]}.000Z" if len(text) == LEN_SECONDS else f"{text[:23]}Z"
    return stamp(datetime.fromisoformat(text))

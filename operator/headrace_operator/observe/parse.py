"""The API's objects to the slim views that deciding reads. Foreign input: a broken part becomes an absent one."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from sys import intern
from typing import Any

from pydantic import ValidationError

from headrace.api import keys
from headrace.api.budget import Spent
from headrace.api.conditions import Phase
from headrace.api.deployment import Circuit
from headrace.api.flow import LearntSize
from headrace.api.flowrun import RemoteTask, StartedBy
from headrace.api.money import Cost
from headrace_operator.decide.sizing import requests_of
from headrace_operator.decide.snapshot import Attempt, ConditionView, ObjectKey, PartitionRef, Pod, Run, RunStatus
from headrace_operator.observe.pauses import given_answers_from, past_pauses_from, pause_from

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST_YEAR = 9999
_POD_SPEC_KEPT = ("nodeName", "volumes", "schedulingGates", "activeDeadlineSeconds", "restartPolicy")
_POD_METADATA_KEPT = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def object_key(obj: Mapping[str, Any]) -> ObjectKey:
    """Namespace and name of an object."""
    metadata = obj["metadata"]
    return ObjectKey(_shared(metadata.get("namespace") or ""), metadata["name"])


def _shared(text: Any) -> Any:
    """The one copy of a text that many objects have: of a finished run, that is a third of the memory."""
    return intern(text) if type(text) is str else text


def version_of(obj: Mapping[str, Any]) -> int:
    """The resource version; comparable as a number (Kubernetes 1.35, KEP-5504)."""
    return int(obj["metadata"].get("resourceVersion") or 0)


def instant(value: Any) -> datetime | None:
    """An RFC 3339 text as an aware instant, None where it is absent or no such text, or some zone has no date for it."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    if not 1 < parsed.year < LAST_YEAR:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def run_from(obj: Mapping[str, Any]) -> Run:
    """The slim view of a FlowRun."""
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    flow_ref = spec.get("flowRef") or {}
    return Run(
        key=object_key(obj),
        uid=metadata["uid"],
        version=version_of(obj),
        generation=int(metadata.get("generation") or 0),
        created=instant(metadata.get("creationTimestamp")) or EPOCH,
        flow_ref=_shared(flow_ref.get("name")),
        revision_ref=flow_ref.get("revision"),
        deployment_ref=_shared((spec.get("deploymentRef") or {}).get("name")),
        schedule=_shared((metadata.get("labels") or {}).get(keys.SCHEDULE_LABEL)),
        parameters=spec.get("parameters"),
        scheduled_time=instant(spec.get("scheduledTime")),
        priority=spec.get("priority"),
        cancel=bool(spec.get("cancel")),
        suspend=bool(spec.get("suspend")),
        deleting=metadata.get("deletionTimestamp") is not None,
        status=status_from(obj.get("status") or {}),
        idempotency_key=spec.get("idempotencyKey"),
        task=_task(spec.get("task")),
        started_by=_started_by(spec.get("startedBy")),
        traceparent=_traceparent(metadata.get("annotations") or {}),
        labels=metadata.get("labels") or {},
        answers=given_answers_from(spec.get("answers")),
        partition=_partition(metadata),
    )


def _partition(metadata: Mapping[str, Any]) -> PartitionRef | None:
    """Of a run that a Backfill made; what people label by hand belongs to none."""
    labels = metadata.get("labels") or {}
    backfill = labels.get(keys.BACKFILL_LABEL)
    if backfill is None:
        return None
    position, number = labels.get(keys.POSITION_LABEL, ""), labels.get(keys.TRY_LABEL, "")
    owners = metadata.get("ownerReferences") or ()
    uid = next((owner["uid"] for owner in owners if owner.get("kind") == "Backfill"), None)
    if uid is None or not position.isdecimal() or not number.isdecimal():
        return None
    return PartitionRef(backfill, uid, int(position), int(number))


def _task(task: Any) -> RemoteTask | None:
    return None if task is None else RemoteTask.model_validate(task)


def _traceparent(annotations: Mapping[str, Any]) -> str | None:
    """What people write there may be anything."""
    found = annotations.get(keys.TRACEPARENT_ANNOTATION)
    return found if isinstance(found, str) and re.fullmatch(keys.TRACEPARENT_PATTERN, found) else None


def _started_by(found: Any) -> StartedBy | None:
    return None if found is None else StartedBy.model_validate(found)


def status_from(status: Mapping[str, Any]) -> RunStatus:
    """The status of a FlowRun."""
    phase = status.get("phase")
    return RunStatus(
        phase=Phase(phase) if phase else None,
        reason=_shared(status.get("reason")),
        message=status.get("message"),
        observed_generation=status.get("observedGeneration"),
        conditions=conditions_from(status),
        flow_revision=_shared(status.get("flowRevision")),
        parameters=status.get("parameters"),
        attempts=tuple(_attempt(attempt) for attempt in status.get("attempts") or ()),
        next_attempt_at=instant(status.get("nextAttemptAt")),
        tasks=status.get("tasks"),
        result=status.get("result"),
        artifacts=tuple(status.get("artifacts") or ()),
        usage=status.get("usage"),
        cost=_cost(status.get("cost")),
        lineage=status.get("lineage"),
        queued_at=instant(status.get("queuedAt")),
        started_at=instant(status.get("startedAt")),
        finished_at=instant(status.get("finishedAt")),
        pool=status.get("pool"),
        pause=pause_from(status.get("pause")),
        answers=past_pauses_from(status.get("answers")),
    )


def conditions_from(status: Mapping[str, Any]) -> tuple[ConditionView, ...]:
    """The conditions of any status."""
    return tuple(
        ConditionView(
            type=condition["type"],
            status=condition["status"],
            reason=condition.get("reason") or "",
            message=condition.get("message") or "",
            last_transition_time=instant(condition.get("lastTransitionTime")) or EPOCH,
            observed_generation=condition.get("observedGeneration"),
        )
        for condition in status.get("conditions") or ()
    )


def circuit_from(status: Mapping[str, Any]) -> Circuit | None:
    """What a Deployment's status remembers of its circuit; what cannot be read is begun anew."""
    try:
        return Circuit.model_validate(status["circuit"]) if "circuit" in status else None
    except ValidationError:
        return None


def spent_from(status: Mapping[str, Any]) -> Spent | None:
    """What a Deployment's status says of its budget; what cannot be read is counted anew."""
    try:
        return Spent.model_validate(status["spent"]) if "spent" in status else None
    except ValidationError:
        return None


def pod_from(obj: Mapping[str, Any], before: Pod | None = None) -> Pod | None:
    """
    The slim view of a pod that runs an attempt, None for any other pod.

    Args:
        before: What is held of it; what never changes is taken from there.
    """
    metadata, spec = obj["metadata"], obj.get("spec") or {}
    labels = metadata.get("labels") or {}
    run = labels.get(keys.FLOW_RUN_LABEL)
    attempt = labels.get(keys.ATTEMPT_LABEL)
    if not run or not attempt or not attempt.isdigit():
        return None
    owner = _owner(metadata)  # a label can be changed by whoever labels things: the run would wait for ever for its pod
    return Pod(
        key=object_key(obj),
        uid=metadata["uid"],
        version=version_of(obj),
        run=ObjectKey(metadata.get("namespace") or "", owner.get("name") or run),
        run_uid=owner.get("uid"),
        attempt=int(attempt),
        revision=labels.get(keys.REVISION_LABEL),
        flow=labels.get(keys.FLOW_LABEL),
        parameters=before.parameters if before and before.uid == metadata["uid"] else _parameters(spec),
        node=spec.get("nodeName"),
        deleting=metadata.get("deletionTimestamp") is not None,
        held=keys.POD_FINALIZER in (metadata.get("finalizers") or ()),
        raw={
            "metadata": {name: metadata[name] for name in _POD_METADATA_KEPT if name in metadata},
            "spec": {name: spec[name] for name in _POD_SPEC_KEPT if name in spec}
            | {"containers": [_limits_of(container) for container in spec.get("containers") or ()]},
            "status": obj.get("status") or {},
        },
        pool=labels.get(keys.POOL_LABEL),
        requests=requests_of(obj) if keys.POOL_LABEL in labels else (),  # counting takes 0.01 ms an event
    )


def _limits_of(container: Mapping[str, Any]) -> dict[str, Any]:
    """Of a container's spec, what the diagnosis of an OOM kill names."""
    return {"name": container.get("name"), "resources": {"limits": (container.get("resources") or {}).get("limits")}}


def _owner(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The reference to the run; an empty one where it has none."""
    owners = metadata.get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("kind") == "FlowRun"), {})


def _parameters(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the pod was started with, undoing the escape of `manifests/pod.py`."""
    for container in spec.get("containers") or ():
        for variable in container.get("env") or ():
            if container.get("name") == keys.FLOW_CONTAINER and variable.get("name") == keys.PARAMETERS_ENV:
                return _json_object(str(variable.get("value") or "").replace("$$", "$"))
    return None


def _json_object(text: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _cost(found: Any) -> Cost | None:
    try:
        return None if found is None else Cost.model_validate(found)
    except ValidationError:
        return None


def _attempt(attempt: Mapping[str, Any]) -> Attempt:
    return Attempt(
        number=attempt["number"],
        pod=attempt["pod"],
        node=attempt.get("node"),
        reason=attempt.get("reason"),
        message=attempt.get("message"),
        exit_code=attempt.get("exitCode"),
        started_at=instant(attempt.get("startedAt")),
        finished_at=instant(attempt.get("finishedAt")),
        pool=attempt.get("pool"),
        cost=_cost(attempt.get("cost")),
    )


def learnt_from(status: Mapping[str, Any]) -> LearntSize | None:
    """What a Flow's status says about its size; what cannot be read is learnt anew."""
    try:
        return LearntSize.model_validate(status["autosize"]) if "autosize" in status else None
    except ValidationError:
        return None

"""Objects of ours as they are held, and the Namespaces that they are in; runs and pods are in decide/snapshot.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from pydantic import ValidationError

from headrace.api import keys
from headrace.api.budget import Spent
from headrace.api.common import CustomResource
from headrace.api.concurrencylimit import ConcurrencyLimit, ConcurrencyLimitSpec
from headrace.api.conditions import ConditionType
from headrace.api.deployment import Circuit, Deployment, DeploymentSpec
from headrace.api.flow import Flow, FlowSpec, LearntSize
from headrace.api.keys import CIRCUIT_RESET_ANNOTATION
from headrace.api.workpool import WorkPool, WorkPoolSpec
from headrace_operator.decide.conditions import find_condition
from headrace_operator.decide.snapshot import ConditionView, ObjectKey
from headrace_operator.observe.parse import (
    EPOCH,
    circuit_from,
    conditions_from,
    instant,
    learnt_from,
    object_key,
    spent_from,
    version_of,
)


@dataclass(frozen=True, slots=True)
class FlowRecord:
    """
    A Flow. `spec` is None and `problem` says why where it cannot be used; `revision` is the one that its status
    tells, which exists as a ControllerRevision; `obj` is the object without managedFields.
    """

    key: ObjectKey
    uid: str
    version: int
    generation: int
    spec: FlowSpec | None
    problem: str | None
    revision: str | None
    ready_generation: int | None
    conditions: tuple[ConditionView, ...]
    obj: dict[str, Any]
    learnt: LearntSize | None = None

    @property
    def refusal(self) -> str | None:
        """Why no run can be started from it, as its condition Ready tells; None if runs can."""
        ready = find_condition(self.conditions, ConditionType.READY)
        return ready.message if ready is not None and ready.status == "False" else None


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    """
    A Deployment. `spec` is None and `problem` says why where it cannot be used; `status` is as in the API, `circuit`
    and `spent` parts of it; `circuit_reset` is the annotation that closes the circuit.
    """

    key: ObjectKey
    uid: str
    version: int
    generation: int
    created: datetime
    deleting: bool
    spec: DeploymentSpec | None
    problem: str | None
    conditions: tuple[ConditionView, ...]
    status: dict[str, Any]
    circuit: Circuit | None = None
    circuit_reset: str | None = None
    spent: Spent | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def scheduled_until(self) -> dict[str, datetime | None]:
        """The last time that is noted as decided, by the schedule's name; None for a schedule without one yet."""
        new: dict[str, datetime | None] = {schedule.name: None for schedule in self.spec.schedules} if self.spec else {}
        noted = self.status.get("schedules") or ()
        return new | {memory["name"]: instant(memory.get("lastScheduledTime")) for memory in noted}


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A ConcurrencyLimit. `spec` is None and `problem` says why where it cannot be used; `status` is as in the API."""

    key: ObjectKey
    uid: str
    version: int
    generation: int
    spec: ConcurrencyLimitSpec | None
    problem: str | None
    conditions: tuple[ConditionView, ...]
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class PoolRecord:
    """A WorkPool. `spec` is None and `problem` says why where it cannot be used; `status` is as in the API."""

    key: ObjectKey
    uid: str
    version: int
    generation: int
    labels: Mapping[str, str]
    spec: WorkPoolSpec | None
    problem: str | None
    conditions: tuple[ConditionView, ...]
    status: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NamespaceRecord:
    """
    A Namespace, and what its annotations say about the runs in it.

    Args:
        quota: How many of its runs may be active at once. None: any number.
        weight: How much it gets of what is scarce, beside others. Above 0.
    """

    key: ObjectKey
    uid: str
    version: int
    labels: Mapping[str, str]
    quota: int | None
    weight: float


class Versioned(Protocol):
    """An object as it was held."""

    @property
    def uid(self) -> str: ...
    @property
    def generation(self) -> int: ...


class _Read(Versioned, Protocol):
    """An object whose spec was read."""

    @property
    def spec(self) -> Any: ...
    @property
    def problem(self) -> str | None: ...


def flow_record(obj: dict[str, Any], before: FlowRecord | None = None) -> FlowRecord:
    """A Flow as it is held; one that breaks its model is held with its problem."""
    obj["metadata"].pop("managedFields", None)
    status = obj.get("status") or {}
    spec, problem = _spec_of(Flow, obj, before)
    return FlowRecord(
        key=object_key(obj),
        uid=obj["metadata"]["uid"],
        version=version_of(obj),
        generation=int(obj["metadata"].get("generation") or 0),
        spec=spec,
        problem=problem,
        revision=status.get("revision"),
        ready_generation=status.get("observedGeneration"),
        conditions=conditions_from(status),
        learnt=learnt_from(status),
        obj=obj,
    )


def deployment_record(obj: dict[str, Any], before: DeploymentRecord | None = None) -> DeploymentRecord:
    """A Deployment as it is held; one that breaks its model is held with its problem."""
    metadata = obj["metadata"]
    status = obj.get("status") or {}
    spec, problem = _spec_of(Deployment, obj, before)
    return DeploymentRecord(
        key=object_key(obj),
        uid=metadata["uid"],
        version=version_of(obj),
        generation=int(metadata.get("generation") or 0),
        created=instant(metadata.get("creationTimestamp")) or EPOCH,
        deleting=metadata.get("deletionTimestamp") is not None,
        spec=spec,
        problem=problem,
        conditions=conditions_from(status),
        status=status,
        circuit=circuit_from(status),
        circuit_reset=(metadata.get("annotations") or {}).get(CIRCUIT_RESET_ANNOTATION),
        spent=spent_from(status),
        labels=metadata.get("labels") or {},
    )


def limit_record(obj: dict[str, Any], before: LimitRecord | None = None) -> LimitRecord:
    """A ConcurrencyLimit as it is held; one that breaks its model is held with its problem."""
    status = obj.get("status") or {}
    spec, problem = _spec_of(ConcurrencyLimit, obj, before)
    return LimitRecord(
        key=object_key(obj),
        uid=obj["metadata"]["uid"],
        version=version_of(obj),
        generation=int(obj["metadata"].get("generation") or 0),
        spec=spec,
        problem=problem,
        conditions=conditions_from(status),
        status=status,
    )


def pool_record(obj: dict[str, Any], before: PoolRecord | None = None) -> PoolRecord:
    """A WorkPool as it is held; one that breaks its model is held with its problem."""
    status = obj.get("status") or {}
    spec, problem = _spec_of(WorkPool, obj, before)
    return PoolRecord(
        key=object_key(obj),
        uid=obj["metadata"]["uid"],
        version=version_of(obj),
        generation=int(obj["metadata"].get("generation") or 0),
        labels=obj["metadata"].get("labels") or {},
        spec=spec,
        problem=problem,
        conditions=conditions_from(status),
        status=status,
    )


def namespace_record(obj: dict[str, Any]) -> NamespaceRecord:
    """A Namespace as it is held; an annotation that is no number counts as absent."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    quota = _number(annotations.get(keys.QUOTA_ANNOTATION))
    weight = _number(annotations.get(keys.WEIGHT_ANNOTATION))
    return NamespaceRecord(
        key=object_key(obj),
        uid=metadata["uid"],
        version=version_of(obj),
        labels=metadata.get("labels") or {},
        quota=None if quota is None else int(quota),
        weight=weight or 1.0,
    )


def _spec_of(model: type[CustomResource], obj: dict[str, Any], before: _Read | None) -> tuple[Any, str | None]:
    """
    The spec of an object, or None and why it cannot be used.

    Args:
        before: The object as it was held. A spec is not read again after each write of the status, and stays the same
            object: what is worked out from it once is found by that.
    """
    if before is not None and has_spec_of(before, obj):
        return before.spec, before.problem
    try:
        read: Any = model.model_validate({**obj, "status": None})
    except ValidationError as error:
        return None, tell(error)
    return read.spec, None


def has_spec_of(before: Versioned, obj: Mapping[str, Any]) -> bool:
    """Whether the object's spec is the one that was read before: only its status or its metadata can be others."""
    metadata = obj["metadata"]
    return (before.uid, before.generation) == (metadata["uid"], metadata.get("generation"))


def _number(text: str | None) -> float | None:
    """Of an annotation that people write: from 0 to a million; anything else says nothing."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0 <= value <= 1e6 else None


def tell(error: ValidationError) -> str:
    """A model's complaint as a sentence: field, what is wrong, what was found."""
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{field}: {first['msg']}, found {first['input']!r:.80}{more}; mend the manifest and apply it again"

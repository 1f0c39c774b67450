"""
The one door by which objects come in: from the streams, and from the answers to our own writes.

Whatever comes in is put into the cache, and the keys whose decision may rest on it are woken.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from pydantic import ValidationError

from headrace.api.deployment import Deployment, OnConflict
from headrace.api.flow import Flow
from headrace.api.keys import CIRCUIT_RESET_ANNOTATION
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.resources import DEPLOYMENTS, FLOW_RUNS, FLOWS, PODS, Resource
from headrace_operator.observe.cache import Cache, DeploymentRecord, FlowRecord
from headrace_operator.observe.history import History, Owner
from headrace_operator.observe.ledger import Ledger
from headrace_operator.observe.parse import (
    EPOCH,
    circuit_from,
    conditions_from,
    instant,
    object_key,
    pod_from,
    run_from,
    version_of,
)
from headrace_operator.observe.records import tell


class Kind(StrEnum):
    """What is reconciled. RETENTION is the finished runs of one owner."""

    FLOW = "Flow"
    DEPLOYMENT = "Deployment"
    FLOW_RUN = "FlowRun"
    RETENTION = "Retention"


class WorkKey(NamedTuple):
    """What a worker takes from the queue."""

    kind: Kind
    key: ObjectKey


class Held(Protocol):
    """What is held of an object of any kind."""

    @property
    def key(self) -> ObjectKey: ...
    @property
    def uid(self) -> str: ...
    @property
    def version(self) -> int: ...


class Door(NamedTuple):
    """How objects of one kind come in and go; `held` is what the cache has of them."""

    seen: Callable[[dict[str, Any]], None]
    gone: Callable[[ObjectKey, str], None]
    held: Mapping[ObjectKey, Held]


class Waker(Protocol):
    """Has a key looked at, now or later; an earlier instant wins."""

    def add(self, key: WorkKey, after_s: float = 0.0) -> None: ...


class Intake:
    """
    Feeds the cache and wakes what depends on it.

    Args:
        status_delay_s: By how much a Deployment's look at its own counts is put off, to gather several changes.
    """

    def __init__(self, cache: Cache, history: History, waker: Waker, *, status_delay_s: float) -> None:
        self.cache = cache
        self.history = history
        self._waker = waker
        self._status_delay_s = status_delay_s
        self.doors: Mapping[Resource, Door] = {
            FLOWS: Door(self.flow_seen, self.flow_gone, cache.flows),
            DEPLOYMENTS: Door(self.deployment_seen, self.deployment_gone, cache.deployments),
            FLOW_RUNS: Door(self.run_seen, self.run_gone, cache.runs),
            PODS: Door(self.pod_seen, self.pod_gone, cache.pods),
        }

    def flow_seen(self, obj: dict[str, Any]) -> None:
        """A Flow is there, or has changed."""
        record = flow_record(obj)
        if self.cache.put_flow(record):
            self._waker.add(WorkKey(Kind.FLOW, record.key))
            self._wake_deployments_of_flow(record.key)

    def flow_gone(self, key: ObjectKey, uid: str) -> None:
        """A Flow was deleted."""
        if self.cache.drop_flow(key, uid):
            self.wake_runs_of_flow(key)
            self._wake_deployments_of_flow(key)

    def deployment_seen(self, obj: dict[str, Any]) -> None:
        """A Deployment is there, or has changed: its limit, its policy or its flow may be others."""
        record = deployment_record(obj)
        old = self.cache.deployments.get(record.key)
        if not self.cache.put_deployment(record):
            return
        self._waker.add(WorkKey(Kind.DEPLOYMENT, record.key))
        is_other = old is None or (old.uid, old.generation) != (record.uid, record.generation)
        if is_other:
            self.cache.reindex_deployment(record.key)
            self._wake_runs(self.cache.ledger(record.key).all())
        if is_other or (old is not None and old.scheduled_until != record.scheduled_until):
            self._waker.add(WorkKey(Kind.RETENTION, record.key))  # a run whose time was not noted yet may go now

    def deployment_gone(self, key: ObjectKey, uid: str) -> None:
        """A Deployment was deleted; its runs go with it by owner reference, those made by hand say that they wait."""
        if self.cache.drop_deployment(key, uid):
            self._wake_runs(self.cache.ledger(key).all())

    def run_seen(self, obj: Mapping[str, Any]) -> None:
        """A FlowRun is there, or has changed."""
        run = run_from(obj)
        owner = self.history.put(run)
        if owner is not None:
            self._waker.add(WorkKey(Kind.RETENTION, ObjectKey(owner.namespace, owner.deployment or "")))
        if self.cache.put_run(run):
            self._waker.add(WorkKey(Kind.FLOW_RUN, run.key))
            self._wake_deployment(run.key.namespace, run.deployment_ref)

    def run_gone(self, key: ObjectKey, uid: str) -> None:
        """A FlowRun was deleted, or has finished: the stream holds unfinished ones only."""
        held = self.cache.runs.get(key)
        if held is not None and held.finished and self.cache.holds_pods(key):
            return  # its end was our own write, and its pods are about to be let go
        if self.cache.drop_run(key, uid) and held is not None:
            self._wake_deployment(key.namespace, held.deployment_ref)
        if self.cache.holds_pods(key):
            self._waker.add(WorkKey(Kind.FLOW_RUN, key))

    def pod_seen(self, obj: Mapping[str, Any]) -> None:
        """A pod of a run is there, or has changed."""
        pod = pod_from(obj)
        if pod is not None and self.cache.put_pod(pod):
            self._waker.add(WorkKey(Kind.FLOW_RUN, pod.run))

    def pod_gone(self, key: ObjectKey, uid: str) -> None:
        """A pod was deleted."""
        pod = self.cache.drop_pod(key, uid)
        if pod is not None:
            self._waker.add(WorkKey(Kind.FLOW_RUN, pod.run))

    def wake_runs_of_flow(self, flow: ObjectKey) -> None:
        """The Flow has a new revision, or is gone."""
        self._wake_runs(list(self.cache.runs_of_flow(flow)))

    def wake_everything(self) -> None:
        """All that is held, once: at the start."""
        for flow in self.cache.flows:
            self._waker.add(WorkKey(Kind.FLOW, flow))
        for deployment in self.cache.deployments:
            self._waker.add(WorkKey(Kind.DEPLOYMENT, deployment))
        self._wake_runs([*self.cache.runs, *{pod.run for pod in self.cache.pods.values()}])

    def wake_history(self) -> None:
        """Every owner of finished runs."""
        for owner in self.history.owners():
            self._waker.add(WorkKey(Kind.RETENTION, ObjectKey(owner.namespace, owner.deployment or "")))
            if owner.deployment:
                self._waker.add(WorkKey(Kind.DEPLOYMENT, ObjectKey(owner.namespace, owner.deployment)))

    def _wake_deployments_of_flow(self, flow: ObjectKey) -> None:
        for key, record in self.cache.deployments.items():
            if key.namespace == flow.namespace and record.spec and record.spec.flow_ref.name == flow.name:
                self._waker.add(WorkKey(Kind.DEPLOYMENT, key))

    def _wake_runs(self, runs: list[ObjectKey]) -> None:
        for key in runs:
            self._waker.add(WorkKey(Kind.FLOW_RUN, key))

    def _wake_deployment(self, namespace: str, name: str | None) -> None:
        """Runs of a deployment came, went or moved: those whose turn it may be, and its own counts."""
        if name is None:
            return
        key = ObjectKey(namespace, name)
        self._waker.add(WorkKey(Kind.DEPLOYMENT, key), self._status_delay_s)
        record = self.cache.deployments.get(key)
        if record is None or record.spec is None or record.spec.concurrency is None:
            return
        ledger = self.cache.ledger(key)
        self._wake_runs(_affected(ledger, record.spec.concurrency.limit, record.spec.concurrency.on_conflict))


def _affected(ledger: Ledger, limit: int, on_conflict: OnConflict) -> list[ObjectKey]:
    if on_conflict is OnConflict.REPLACE:
        return ledger.all() if ledger.waiting_count else []
    return ledger.first_waiting(max(0, limit - ledger.active_count))


def owner_of(key: ObjectKey) -> Owner:
    """The owner that a RETENTION key names: an empty name is that of runs without a Deployment."""
    return Owner(key.namespace, key.name or None)


def flow_record(obj: dict[str, Any]) -> FlowRecord:
    """A Flow as it is held; one that breaks its model is held with its problem."""
    obj["metadata"].pop("managedFields", None)
    status = obj.get("status") or {}
    spec, problem = None, None
    try:
        spec = Flow.model_validate(obj).spec
    except ValidationError as error:
        problem = tell(error)
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
        obj=obj,
    )


def deployment_record(obj: dict[str, Any]) -> DeploymentRecord:
    """A Deployment as it is held; one that breaks its model is held with its problem."""
    metadata = obj["metadata"]
    status = obj.get("status") or {}
    spec, problem = None, None
    try:
        spec = Deployment.model_validate({**obj, "status": None}).spec
    except ValidationError as error:
        problem = tell(error)
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
    )

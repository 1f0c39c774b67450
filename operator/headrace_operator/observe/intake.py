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
from headrace_operator.decide.circuit import FAILURES
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey, Run
from headrace_operator.kube.resources import DEPLOYMENTS, FLOW_RUNS, FLOWS, PODS, Resource
from headrace_operator.observe.cache import Cache, DeploymentRecord, FlowRecord
from headrace_operator.observe.claims import Claims
from headrace_operator.observe.deployment import runs_allowed
from headrace_operator.observe.history import History, Owner
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

ANSWER_DELAY_S = 1.0
"""The stream often tells of our own write before its answer comes: until then its absence is not asked about."""


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
        self.claims = Claims()
        self.unresolved: dict[ObjectKey, str] = {}
        """Runs that left the stream, by uid: deleted, or finished by a write whose answer was not heard."""
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
        is_counted = old is not None and old.circuit != record.circuit
        if is_counted:
            self._wake_waiting(record)
        if is_other or is_counted or (old is not None and old.scheduled_until != record.scheduled_until):
            self._waker.add(WorkKey(Kind.RETENTION, record.key))  # a run that was not noted yet may go now

    def deployment_gone(self, key: ObjectKey, uid: str) -> None:
        """A Deployment was deleted; its runs go with it by owner reference, those made by hand say that they wait."""
        if self.cache.drop_deployment(key, uid):
            self._wake_runs(self.cache.ledger(key).all())

    def run_seen(self, obj: Mapping[str, Any]) -> None:
        """A FlowRun is there, or has changed."""
        run = run_from(obj)
        left = self.unresolved.pop(run.key, None)
        if left not in {None, run.uid}:  # another run has the name: that one is gone
            self.claims.drop(left)
        self.claims.put(run)
        owner = self.history.put(run)
        if owner is not None:
            self._wake_owner(owner, run)
        if self.cache.put_run(run):
            self._waker.add(WorkKey(Kind.FLOW_RUN, run.key))
            self._wake_deployment(run.key.namespace, run.deployment_ref)

    def run_gone(self, key: ObjectKey, uid: str) -> None:
        """A FlowRun was deleted, or has finished: the stream holds unfinished ones only."""
        held = self.cache.runs.get(key)
        if held is not None and held.finished and self.cache.holds_pods(key):
            return  # its end was our own write, and its pods are about to be let go
        is_news = self.cache.drop_run(key, uid) and held is not None
        if is_news and held is not None:
            self._wake_deployment(key.namespace, held.deployment_ref)
        if is_news and not self.history.has_finished(key, uid):
            self.unresolved[key] = uid
        if self.cache.holds_pods(key):
            self._waker.add(WorkKey(Kind.FLOW_RUN, key))
        elif is_news and key in self.unresolved:
            self._waker.add(WorkKey(Kind.FLOW_RUN, key), ANSWER_DELAY_S)

    def run_deleted(self, key: ObjectKey, uid: str) -> None:
        """A run that had left the stream, or had finished, is confirmed to be gone."""
        self.claims.drop(uid)
        if self.unresolved.get(key) == uid:
            del self.unresolved[key]

    def run_retired(self, run: FinishedRun) -> None:
        """A finished run was deleted."""
        self.history.drop(run)
        self.claims.drop(run.uid)

    def finished_run_listed(self, run: Run) -> None:
        """A run that had finished before the start."""
        self.claims.put(run)
        self.history.put(run)

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

    @property
    def history_is_complete(self) -> bool:
        """Whether the runs that finished before the start are known."""
        return self.history.is_complete

    def history_listed(self) -> None:
        """The runs that finished before the start are known: wake what waits for that."""
        self.history.is_complete = True
        self._wake_runs([key for key, run in self.cache.runs.items() if run.idempotency_key is not None])
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

    def _wake_owner(self, owner: Owner, run: Run) -> None:
        """A run of the owner has ended: what is kept of it, and, where that may turn a circuit, the count at once."""
        key = ObjectKey(owner.namespace, owner.deployment or "")
        self._waker.add(WorkKey(Kind.RETENTION, key))
        record = self.cache.deployments.get(key)
        if record is None or record.spec is None or record.spec.circuit_breaker is None:
            return
        is_closed = record.circuit is None or record.circuit.retry_at is None
        if run.status.phase in FAILURES or not is_closed:
            self._waker.add(WorkKey(Kind.DEPLOYMENT, key))

    def _wake_deployment(self, namespace: str, name: str | None) -> None:
        """Runs of a deployment came, went or moved: those whose turn it may be, and its own counts."""
        if name is None:
            return
        key = ObjectKey(namespace, name)
        self._waker.add(WorkKey(Kind.DEPLOYMENT, key), self._status_delay_s)
        record = self.cache.deployments.get(key)
        if record is not None and runs_allowed(record, self.history) is not None:
            self._wake_waiting(record)

    def _wake_waiting(self, record: DeploymentRecord) -> None:
        """Those whose turn it may be; where none may start, the first one, which tells what it waits for."""
        ledger = self.cache.ledger(record.key)
        concurrency = record.spec.concurrency if record.spec else None
        if concurrency is not None and concurrency.on_conflict is OnConflict.REPLACE:
            self._wake_runs(ledger.all() if ledger.waiting_count else [])
            return
        limit = runs_allowed(record, self.history)
        free = ledger.waiting_count if limit is None else max(0, limit - ledger.active_count)
        is_closed = record.circuit is None or record.circuit.retry_at is None
        self._wake_runs(ledger.first_waiting(free if is_closed else max(1, free)))


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

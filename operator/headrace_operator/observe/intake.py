"""
The one door by which objects come in: from the streams, and from the answers to our own writes.

Whatever comes in is put into the cache, and the keys whose decision may rest on it are woken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from headrace.api.conditions import FAILURES
from headrace.api.deployment import OnConflict
from headrace_operator.decide.pod_news import starts_quietly
from headrace_operator.decide.queueing.slots import run_holder
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.settle import is_live
from headrace_operator.decide.snapshot import ObjectKey, Pod, Run
from headrace_operator.kube.resources import (
    AUTOMATIONS,
    BACKFILLS,
    CONCURRENCY_LIMITS,
    DEPLOYMENTS,
    FLOW_RUNS,
    FLOWS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    WORK_POOLS,
    Resource,
)
from headrace_operator.observe.automations import Automations, circuit_view
from headrace_operator.observe.backfills import Backfills
from headrace_operator.observe.budget import keep_purse
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.claims import Claims
from headrace_operator.observe.departures import Departure
from headrace_operator.observe.doors import Door, is_echo
from headrace_operator.observe.gate import Gate
from headrace_operator.observe.history import History, Owner, owner_of_run
from headrace_operator.observe.nodes import node_record
from headrace_operator.observe.parse import object_key, pod_from, run_from
from headrace_operator.observe.records import (
    deployment_record,
    flow_record,
    limit_record,
    namespace_record,
    pool_record,
)
from headrace_operator.observe.task_runs import TaskRuns
from headrace_operator.observe.usage import sized_flow
from headrace_operator.observe.workkeys import Kind, Waker, WorkKey

ANSWER_DELAY_S = 1.0
"""The stream often tells of our own write before its answer comes: until then its absence is not asked about."""


class Intake:
    """
    Feeds the cache and wakes what depends on it.

    Args:
        status_delay_s: By how much looks at counts are put off, to gather several changes into one status.
        autosize_delay_s: The same for what a Flow learns from its runs.
        monotonic: Seconds that never go back: since when a slot is unchanged.
    """

    def __init__(
        self,
        cache: Cache,
        history: History,
        waker: Waker,
        *,
        status_delay_s: float,
        autosize_delay_s: float,
        monotonic: Callable[[], float],
    ) -> None:
        self.cache = cache
        self.history = history
        self.gate = Gate(cache, history, waker, status_delay_s=status_delay_s, monotonic=monotonic)
        self.slots_changed = self.gate.slots_changed
        self._monotonic = monotonic
        self.claims = Claims()
        self.backfills = Backfills(waker)
        self.automations = Automations(cache, waker)
        self.tasks = TaskRuns()
        self._waker = waker
        self._status_delay_s = status_delay_s
        self._autosize_delay_s = autosize_delay_s
        self.doors: Mapping[Resource, Door] = {
            FLOWS: Door(self.flow_seen, self.flow_gone, cache.flows),
            DEPLOYMENTS: Door(self.deployment_seen, self.deployment_gone, cache.deployments),
            BACKFILLS: Door(self.backfills.seen, self.backfills.gone, self.backfills.held),
            AUTOMATIONS: Door(self.automations.seen, self.automations.gone, self.automations.held),
            FLOW_RUNS: Door(self.run_seen, self.run_gone, cache.runs),
            PODS: Door(self.pod_seen, self.pod_gone, cache.pods),
            CONCURRENCY_LIMITS: Door(self.limit_seen, self.limit_gone, cache.limits),
            LEASES: Door(self.slot_seen, self.slot_gone, self.gate.slots.held),
            WORK_POOLS: Door(self.pool_seen, self.pool_gone, cache.pools),
            NODES: Door(self.node_seen, self.node_gone, cache.nodes),
            NAMESPACES: Door(self.namespace_seen, self.namespace_gone, cache.namespaces),
        }

    def flow_seen(self, obj: dict[str, Any]) -> None:
        """A Flow is there, or has changed."""
        record = flow_record(obj, self.cache.flows.get(object_key(obj)))
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
        old = self.cache.deployments.get(object_key(obj))
        record = deployment_record(obj, old)
        if not self.cache.put_deployment(record):
            return
        self._waker.add(WorkKey(Kind.DEPLOYMENT, record.key))
        circuit = circuit_view(record.key, record.uid, record.conditions)
        if circuit is not None:
            self.automations.circuit_seen(circuit)
        told = (record.uid, record.generation, record.labels)
        is_other = old is None or (old.uid, old.generation, old.labels) != told
        keep_purse(record, self.cache, self.history)
        self.gate.deployment_changed(record.key)
        if is_other:
            self.automations.triggers.deployment_seen(record)
            self.cache.reindex_deployment(record.key)
            self._wake_many(self.cache.ledger(record.key).all())
        is_counted = old is not None and (old.circuit, old.spent) != (record.circuit, record.spent)
        if is_other or is_counted or (old is not None and old.scheduled_until != record.scheduled_until):
            self._waker.add(WorkKey(Kind.RETENTION, record.key))  # a run that was not noted yet may go now
            self.backfills.wake_of_deployment(record.key)

    def deployment_gone(self, key: ObjectKey, uid: str) -> None:
        """A Deployment was deleted. Runs that it made go with it by owner reference; of the others those that go on say that they wait."""
        if self.cache.drop_deployment(key, uid):
            self._waker.add(WorkKey(Kind.RETENTION, key))  # those that finished are nobody's now
            self.automations.triggers.deployment_gone(key)
            self.history.purses.close(key)
            self.gate.deployment_changed(key)
            self._wake_many(self.cache.ledger(key).all())
            self.backfills.wake_of_deployment(key)

    def run_seen(self, obj: Mapping[str, Any]) -> None:
        """A FlowRun is there, or has changed."""
        self._take_run(obj, wakes_itself=True)

    def run_written(self, obj: Mapping[str, Any], *, is_settled: bool) -> None:
        """
        The answer to our own write.

        Args:
            is_settled: Deciding on the run with this status comes to nothing, so that it need not be looked at again for it.
        """
        if not self._left_since(obj):
            self._take_run(obj, wakes_itself=not is_settled)

    def _left_since(self, obj: Mapping[str, Any]) -> bool:
        """Whether the stream told of the run's end or deletion before the answer to an earlier write came, which says nothing of it."""
        left = self.history.departures.uid(object_key(obj))
        return left is not None and left == obj["metadata"]["uid"] and not run_from(obj).finished

    def _take_run(self, obj: Mapping[str, Any], *, wakes_itself: bool) -> None:
        """
        First what its end counts for, then the cache, then those who look at both.

        What the cache held until now tells whether it was under way; and a circuit or budget that its end closes must be known before its slot is free.
        """
        if is_echo(self.cache.runs, obj):
            return
        run = run_from(obj)
        self._count_end(run, obj)
        is_news = self.cache.put_run(run)
        if is_news or run.finished:
            self._tell_of_run(run, is_news=is_news)
        if is_news:
            self._run_changed(run.key, run.uid)
            if wakes_itself:
                self._waker.add(WorkKey(Kind.FLOW_RUN, run.key))
            self._wake_runs(self.tasks.changed(run))
            self._wake_deployment(run.key.namespace, run.deployment_ref)

    def _count_end(self, run: Run, obj: Mapping[str, Any]) -> None:
        """Its own, and before it that of one of the same name, which is gone: histories know runs by their names."""
        left = self.history.departures.settle(run.key)
        if left is not None and left.uid != run.uid:
            self._count_deletion(run.key, left.uid, left.deployment)
        self.claims.put(run)
        owner = self.history.put(run, obj, was_under_way=left is not None or self.cache.holds(run))
        if owner is not None:
            self._wake_owner(owner, run)
        if left is not None and left.deployment is not None:  # it waited to know what became of that run
            self.gate.deployment_changed(left.deployment)

    def _count_deletion(self, key: ObjectKey, uid: str, deployment: ObjectKey | None) -> None:
        self.claims.drop(uid)
        self.history.forget(key, uid)
        self.history.purses.deleted(key, uid, deployment)
        self.backfills.run_deleted(key, uid)

    def _tell_of_run(self, run: Run, *, is_news: bool) -> None:
        """Those who count runs themselves, also of the end of a run that the cache never held, to which it is no news."""
        if is_news and not run.finished and self.history.purses.under_way(run):
            self.gate.deployment_changed(ObjectKey(run.key.namespace, run.deployment_ref or ""))
        if run.partition is not None:
            self.backfills.run_seen(run)
        self.automations.run_seen(run)

    def run_gone(self, key: ObjectKey, uid: str) -> None:
        """A FlowRun was deleted, or has finished: the stream holds unfinished ones only."""
        held = self.cache.runs.get(key)
        if held is not None and held.finished and self.cache.holds_pods(key):
            return  # its end was our own write, and its pods are about to be let go
        if held is not None and held.uid == uid and not self.history.has_finished(key, uid):
            self._departed(held)
        is_news = self.cache.drop_run(key, uid) and held is not None
        self.automations.run_gone(key)
        if is_news and held is not None:
            self._run_changed(key, uid)
            self._wake_runs(self.tasks.gone(key))
            self._wake_deployment(key.namespace, held.deployment_ref)
        if self.cache.holds_pods(key):
            self._waker.add(WorkKey(Kind.FLOW_RUN, key))
        elif is_news and self.history.departures.uid(key) == uid:
            self._waker.add(WorkKey(Kind.FLOW_RUN, key), ANSWER_DELAY_S)

    def _departed(self, run: Run) -> None:
        """It ended or was deleted: until that is known it may be the failure that opens its Deployment's circuit."""
        deployment = ObjectKey(run.key.namespace, run.deployment_ref) if run.deployment_ref else None
        self.history.departures.add(run.key, Departure(run.uid, deployment))
        if deployment is not None:
            self.gate.deployment_changed(deployment)

    def run_deleted(self, key: ObjectKey, uid: str) -> None:
        """A run that had left the stream, or had finished, is confirmed to be gone."""
        left = self.history.departures.settle(key) if self.history.departures.uid(key) == uid else None
        deployment = left.deployment if left is not None else None
        self._count_deletion(key, uid, deployment)
        if deployment is not None:
            self.gate.deployment_changed(deployment)

    def run_retired(self, run: FinishedRun) -> None:
        """A finished run was deleted."""
        self.history.drop(run)
        self.claims.drop(run.uid)

    def finished_run_listed(self, run: Run, obj: Mapping[str, Any] | None = None, *, is_recorded: bool = False) -> None:
        """A run that had finished before the start; `obj` is the whole of it, for its record if that is not made yet."""
        self.claims.put(run)
        self.backfills.run_seen(run)
        self.automations.run_listed(run)
        was_under_way = self.cache.holds(run) or self.history.departures.uid(run.key) == run.uid
        self.history.put(run, obj, is_recorded=is_recorded, was_under_way=was_under_way)

    def runs_recorded(self, runs: Iterable[FinishedRun]) -> None:
        """The history store has their records: they may be deleted."""
        for owner in {owner_of_run(run) for run in runs}:
            self._waker.add(owner.retention)
            backfill = self.backfills.held.get(ObjectKey(owner.namespace, owner.backfill or ""))
            if backfill is not None and backfill.status.finished_at is not None:  # it may wait for that to be deleted
                self.backfills.wake(backfill.key)

    def pod_seen(self, obj: Mapping[str, Any]) -> None:
        """A pod of a run is there, or has changed."""
        pod = self._pod_of(obj)
        if pod is None:
            return
        is_expected = self.cache.expects(pod)
        if self._take_pod(pod) and not is_expected:
            self._waker.add(WorkKey(Kind.FLOW_RUN, pod.run))

    def pod_written(self, obj: Mapping[str, Any]) -> None:
        """The answer to our own write: a pod that just begins, or is let go after its run's end, needs no look."""
        pod = self._pod_of(obj)
        if pod is None or not self._take_pod(pod):
            return
        is_let_go = not pod.held and pod.run not in self.cache.runs
        if not (is_let_go or starts_quietly(pod)):
            self._waker.add(WorkKey(Kind.FLOW_RUN, pod.run))

    def _pod_of(self, obj: Mapping[str, Any]) -> Pod | None:
        """The pod, if it is one of ours, and not an echo."""
        if is_echo(self.cache.pods, obj):
            return None
        return pod_from(obj, self.cache.pods.get(object_key(obj)))

    def _take_pod(self, pod: Pod) -> bool:
        """Whether this was news."""
        if not self.cache.put_pod(pod):
            return False
        self.gate.run_changed(pod.run)
        if not is_live(pod):
            self._wake_limits_of_pod(pod)
        return True

    def pod_gone(self, key: ObjectKey, uid: str) -> None:
        """A pod was deleted."""
        pod = self.cache.drop_pod(key, uid)
        if pod is not None:
            self.gate.run_changed(pod.run)
            self._wake_limits_of_pod(pod)
            self._may_be_deleted(pod.run, pod.run_uid)
            self._waker.add(WorkKey(Kind.FLOW_RUN, pod.run))

    def _may_be_deleted(self, run: ObjectKey, uid: str | None) -> None:
        """Finished runs are not watched, and one that somebody deletes takes its pods with it: when the last goes, it is asked for."""
        if uid is not None and self.history.has_finished(run, uid) and not self.cache.pods_of(run):
            self.history.departures.add(run, Departure(uid, None))

    def limit_seen(self, obj: dict[str, Any]) -> None:
        """A ConcurrencyLimit is there, or has changed."""
        old = self.cache.limits.get(object_key(obj))
        record = limit_record(obj, old)
        if not self.cache.put_limit(record):
            return
        self.automations.limit_seen(old, record)
        if old is None or (old.uid, old.generation) != (record.uid, record.generation):
            self.gate.limit_changed(record.key.name, record)
            self._waker.add(WorkKey(Kind.LIMIT, record.key))

    def limit_gone(self, key: ObjectKey, uid: str) -> None:
        """A ConcurrencyLimit was deleted."""
        if self.cache.drop_limit(key, uid):
            self.gate.limit_changed(key.name, None)
            self._waker.add(WorkKey(Kind.LIMIT, key))

    def slot_seen(self, obj: dict[str, Any]) -> None:
        """A slot's Lease is there, or has changed: somebody took it, renewed it or gave it back."""
        self.gate.slots.seen(obj, self._monotonic())
        self.gate.slots_told(None)

    def slot_gone(self, key: ObjectKey, uid: str) -> None:
        """A slot's Lease was deleted."""
        self.gate.slots.gone(key, uid)
        self.gate.slots_told(None)

    def pool_seen(self, obj: dict[str, Any]) -> None:
        """A WorkPool is there, or has changed. A status alone wakes nobody: operators of two namespaces would answer each other for ever."""
        old = self.cache.pools.get(object_key(obj))
        record = pool_record(obj, old)
        if not self.cache.put_pool(record):
            return
        self.gate.pool_changed(record.key.name, record)
        if old is None or (old.uid, old.generation) != (record.uid, record.generation):
            self._waker.add(WorkKey(Kind.POOL, record.key))

    def pool_gone(self, key: ObjectKey, uid: str) -> None:
        """A WorkPool was deleted; runs in it go on."""
        if self.cache.drop_pool(key, uid):
            self.gate.pool_changed(key.name, None)
            self._waker.add(WorkKey(Kind.POOL, key))  # its metrics go with it

    def node_seen(self, obj: dict[str, Any]) -> None:
        """A node is there, or has changed: what pools count of it may be something else."""
        record = node_record(obj)
        old = self.cache.nodes.get(record.key)
        if self.cache.put_node(record) and not record.counts_as(old):
            self._wake_pools()

    def node_gone(self, key: ObjectKey, uid: str) -> None:
        """A node was deleted; its pool may have become smaller."""
        if self.cache.drop_node(key, uid):
            self._wake_pools()

    def namespace_seen(self, obj: dict[str, Any]) -> None:
        """A Namespace is there, or has changed: its quota, its weight, or what pools choose it by."""
        record = namespace_record(obj)
        old = self.cache.namespaces.get(record.key)
        if not self.cache.put_namespace(record):
            return
        self.gate.namespace_changed(record.key.name)
        if old is None or old.labels != record.labels:
            self.gate.wake_waiting()

    def namespace_gone(self, key: ObjectKey, uid: str) -> None:
        """A Namespace was deleted."""
        if self.cache.drop_namespace(key, uid):
            self.gate.namespace_changed(key.name)

    def wake_runs_of_flow(self, flow: ObjectKey) -> None:
        """The Flow has a new revision, or is gone."""
        self._wake_many(self.cache.runs_of_flow(flow))

    def wake_everything(self) -> None:
        """All that is held, once: at the start."""
        for flow in self.cache.flows:
            self._waker.add(WorkKey(Kind.FLOW, flow))
        for deployment in self.cache.deployments:
            self._waker.add(WorkKey(Kind.DEPLOYMENT, deployment))
        self.backfills.wake_all()
        self.automations.wake_all()
        for limit in {*self.cache.limits, *(ObjectKey("", name) for name in self.gate.slots.limits())}:
            self._waker.add(WorkKey(Kind.LIMIT, limit))
        self._wake_pools()
        self._look_at_runs()
        for run in {pod.run for pod in self.cache.pods.values()} - self.cache.runs.keys():
            self._waker.add_behind(WorkKey(Kind.FLOW_RUN, run), gives_way=True)

    def history_listed(self) -> None:
        """The runs that finished before the start are known: wake what waits for that."""
        self.history.is_complete = True
        self.backfills.wake_all()
        for flow, record in self.cache.flows.items():
            if record.spec is not None and record.spec.autosize is not None:
                self._waker.add(WorkKey(Kind.AUTOSIZE, flow))
        self._wake_many([key for key, run in self.cache.runs.items() if run.idempotency_key is not None])
        for key, deployment in self.cache.deployments.items():
            if deployment.spec is not None and (deployment.spec.circuit_breaker or deployment.spec.budget):
                self.gate.deployment_changed(key)
                self._waker.add(WorkKey(Kind.DEPLOYMENT, key))
        for owner in self.history.owners():
            self._waker.add(owner.retention)
            if owner.deployment:
                self._waker.add(WorkKey(Kind.DEPLOYMENT, ObjectKey(owner.namespace, owner.deployment)))

    def _look_at_runs(self) -> None:
        """
        Those that wait, as they stand in line: nobody is given a place before all of them have asked. Those under way in turn with these and with
        what comes in now, though lists told of them first: a new run must not wait until thousands were looked at, and the outcomes of a night written.
        """
        waiting, under_way = self.cache.in_line()
        self.gate.hear_first(waiting)
        for key in under_way:
            self._waker.add_behind(WorkKey(Kind.FLOW_RUN, key), gives_way=True)
        self._wake_runs(waiting)

    def _run_changed(self, key: ObjectKey, uid: str) -> None:
        """Its places may be free now; slots that it still holds though it is gone are given back by their limits."""
        run = self.cache.runs.get(key)
        self.gate.run_changed(key)
        if run is None or run.finished:
            for slot in self.gate.slots.held_by(run_holder(key, uid)):
                self._waker.add(WorkKey(Kind.LIMIT, ObjectKey("", slot.limit)), self._status_delay_s)

    def _wake_limits_of_pod(self, pod: Pod) -> None:
        """A pod has ended: slots that its tasks did not give back are free."""
        for limit in self.gate.slots.limits_held_in_pod(*pod.key, pod.uid):
            self._waker.add(WorkKey(Kind.LIMIT, ObjectKey("", limit)))

    def _wake_pools(self) -> None:
        for pool in self.cache.pools:
            self._waker.add(WorkKey(Kind.POOL, pool), self._status_delay_s)

    def _wake_deployments_of_flow(self, flow: ObjectKey) -> None:
        for key, record in self.cache.deployments.items():
            if key.namespace == flow.namespace and record.spec and record.spec.flow_ref.name == flow.name:
                self._waker.add(WorkKey(Kind.DEPLOYMENT, key))

    def _wake_runs(self, runs: list[ObjectKey]) -> None:
        for key in runs:
            self._waker.add(WorkKey(Kind.FLOW_RUN, key))

    def _wake_many(self, runs: Iterable[ObjectKey]) -> None:
        """Perhaps thousands, for what is no news of their own: those under way, which it seldom concerns, in turn with what comes in."""
        for key in list(runs):
            run = self.cache.runs.get(key)
            if run is not None and self.cache.is_admitted(run):
                self._waker.add_behind(WorkKey(Kind.FLOW_RUN, key))
            else:
                self._waker.add(WorkKey(Kind.FLOW_RUN, key))

    def _wake_owner(self, owner: Owner, run: Run) -> None:
        """A run of the owner has ended: what is kept of it, and, where that may turn a circuit, the count at once."""
        # A Backfill's run keeps its name for a while, and they end by the thousand: several are looked at at once.
        gathering_s = 0.0 if owner.backfill is None else self._status_delay_s
        self._waker.add(owner.retention, max(gathering_s, self.history.look_after_s(owner)))
        flow = sized_flow(run, self.cache)
        if flow is not None:
            self._waker.add(WorkKey(Kind.AUTOSIZE, flow), self._autosize_delay_s)
        key = ObjectKey(run.key.namespace, run.deployment_ref or "")
        record = self.cache.deployments.get(key)
        if record is None or record.spec is None or not (record.spec.circuit_breaker or record.spec.budget):
            return
        self.gate.deployment_changed(key)  # before the slot is free: what may open the circuit holds the door
        is_closed = record.circuit is None or record.circuit.retry_at is None
        if record.spec.circuit_breaker is not None and (run.status.phase in FAILURES or not is_closed):
            self._waker.add(WorkKey(Kind.DEPLOYMENT, key))

    def _wake_deployment(self, namespace: str, name: str | None) -> None:
        """Runs of a deployment came, went or moved: its own counts, and runs that newer ones take the place of."""
        if name is None:
            return
        key = ObjectKey(namespace, name)
        self._waker.add(WorkKey(Kind.DEPLOYMENT, key), self._status_delay_s)
        record = self.cache.deployments.get(key)
        concurrency = record.spec.concurrency if record and record.spec else None
        if concurrency is None or concurrency.on_conflict is not OnConflict.REPLACE:
            return
        ledger = self.cache.ledger(key)
        if ledger.waiting_count:
            self._wake_runs(ledger.all())

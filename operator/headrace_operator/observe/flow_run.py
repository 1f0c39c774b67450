"""
One FlowRun's snapshot.

What the cache does not hold is read first, one object at a time; then, without waiting in between, everything is
taken from the cache at once, so that the snapshot is of one instant.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from headrace.api.conditions import Reason
from headrace.api.flow import LearntSize
from headrace.api.flowrun import ParentRef
from headrace.kubeapi.errors import NotFound
from headrace_operator.decide.entitlements import override_problem
from headrace_operator.decide.patience import patience
from headrace_operator.decide.snapshot import DeploymentView, ObjectKey, Pod, ResolvedFlow, Run, Snapshot, Unresolved
from headrace_operator.kube.cluster import Reader
from headrace_operator.kube.resources import FLOW_RUNS, PODS
from headrace_operator.manifests.pod import pod_name
from headrace_operator.observe.budget import attempts_payable, budget_waits
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.claims import Claimant
from headrace_operator.observe.deployment import brakes_allow
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.revisions import Revisions
from headrace_operator.observe.task_runs import is_ending
from headrace_operator.observe.usage import sized_flow


@dataclass(frozen=True, slots=True)
class Orphans:
    """Pods whose run is confirmed to be gone, or to have finished."""

    run: ObjectKey
    pods: tuple[Pod, ...]


class RunObserver:
    """
    Builds snapshots of FlowRuns.

    Args:
        start_deadline_s, slots_namespace: As a Snapshot has them.
    """

    def __init__(
        self,
        reader: Reader,
        intake: Intake,
        revisions: Revisions,
        *,
        start_deadline_s: float,
        slots_namespace: str = "",
    ) -> None:
        self._reader = reader
        self._intake = intake
        self._revisions = revisions
        self._start_deadline_s = start_deadline_s
        self._slots_namespace = slots_namespace

    @property
    def _cache(self) -> Cache:
        return self._intake.cache

    async def observe(self, key: ObjectKey) -> Snapshot | Orphans | None:
        """
        The snapshot of a run; its left-over pods where the run is over; None where there is nothing to decide yet.

        Raises: ApiError.
        """
        run = self._cache.runs.get(key)
        if run is None:
            return await self._without_run(key)
        flow = await self._resolve(run)
        await self._look_for_launched(key)
        lost = await self._is_lost(run)
        first = await self._first(run)
        parent_is_over = run.parent is not None and await self._is_over(run.key.namespace, run.parent)
        current = self._cache.runs.get(key)
        if flow is None or current is None or current.uid != run.uid:
            return None
        gate = self._intake.gate
        seen = Snapshot(
            run=current,
            flow=flow,
            withheld=self._withheld(current, flow),
            deployment=self._deployment_view(current),
            pods=self._cache.pods_of(key),
            admitted=self._cache.is_admitted(current),
            lost=lost and current.status.attempts == run.status.attempts,
            place=self._cache.place(current),
            start_deadline_s=self._start_deadline_s,
            slots_namespace=self._slots_namespace,
            parent_is_over=parent_is_over,
            is_foreign=self._is_foreign(current, flow),
            turn=self._cache.turn_of(key),
            outranked=gate.is_outranked(key),
            learnt=self._learnt(current),
            first=first,
            key_is_settled=current.idempotency_key is None or self._intake.history.is_complete,
            patience=patience(starting=len(self._cache.starting), waiting=gate.waiting),
        )
        if not any(pod.pool for pod in seen.pods):
            return seen
        return replace(seen, placement=gate.placement(seen), price=gate.price(seen))

    async def _look_for_launched(self, key: ObjectKey) -> None:
        """A launch that is still open when its run is looked at again had no answer: whether there is a pod is asked."""
        launch = self._cache.launch_of(key)
        if launch is None:
            return
        with suppress(NotFound):
            self._intake.pod_seen(await self._reader.get(PODS, key.namespace, pod_name(key.name, launch.attempt)))

    async def _is_over(self, namespace: str, parent: ParentRef) -> bool:
        """Whether a run has ended, is gone, or was told to end; what the cache lacks is asked for before it is believed."""
        key = ObjectKey(namespace, parent.name)
        held = self._cache.runs.get(key)
        if held is not None and held.uid == parent.uid:
            return is_ending(held)
        if self._intake.history.has_finished(key, parent.uid):
            return True
        try:
            obj = await self._reader.get(FLOW_RUNS, key.namespace, key.name)
        except NotFound:
            return True
        found = run_from(obj)
        if found.uid == parent.uid and not found.finished:
            self._intake.run_seen(obj)
        return found.uid != parent.uid or is_ending(found)

    async def _without_run(self, key: ObjectKey) -> Orphans | None:
        """Absence from the stream is no proof: a run may have finished, or not have been heard of yet."""
        pods = self._cache.pods_of(key)
        left = self._intake.history.departures.uid(key)
        if not pods and left is None:
            return None
        if left is None and all(self._intake.history.has_finished(key, pod.run_uid) for pod in pods):
            return Orphans(key, pods)  # our own last write is the proof: the stream told of it before its answer came
        try:
            obj = await self._reader.get(FLOW_RUNS, key.namespace, key.name)
        except NotFound:
            if left is not None:
                self._intake.run_deleted(key, left)
            return Orphans(key, self._cache.pods_of(key))
        run = run_from(obj)
        if run.finished:
            self._intake.run_seen(obj)
            return Orphans(key, tuple(pod for pod in self._cache.pods_of(key) if pod.run_uid == run.uid or pod.held))
        self._intake.run_seen(obj)
        return None

    async def _first(self, run: Run) -> ObjectKey | None:
        """Another run that has this run's idempotency key; one that is not at work is asked for before it is believed."""
        if run.idempotency_key is None or not self._intake.history.is_complete or self._begun(run):
            return None
        while True:
            holder = self._intake.claims.holder(run, self._has_begun)
            if holder is None or holder.uid == run.uid:
                return None
            if self._at_work(holder) is not None or await self._exists(holder):
                return holder.run
            self._intake.run_deleted(holder.run, holder.uid)

    def _has_begun(self, claimant: Claimant) -> bool:
        run = self._at_work(claimant)
        return run is not None and self._begun(run)

    def _begun(self, run: Run) -> bool:
        return bool(run.status.attempts) or self._cache.is_admitted(run)

    def _at_work(self, claimant: Claimant) -> Run | None:
        run = self._cache.runs.get(claimant.run)
        return run if run is not None and run.uid == claimant.uid else None

    async def _exists(self, claimant: Claimant) -> bool:
        try:
            obj = await self._reader.get(FLOW_RUNS, claimant.run.namespace, claimant.run.name)
        except NotFound:
            return False
        is_same: bool = obj["metadata"]["uid"] == claimant.uid
        return is_same

    async def _is_lost(self, run: Run) -> bool:
        """Whether the pod of the unfinished attempt is gone; what the cache lacks is asked for before it is believed."""
        last = run.status.attempts[-1] if run.status.attempts else None
        if last is None or last.finished_at is not None:
            return False
        key = ObjectKey(run.key.namespace, last.pod)
        if key not in self._cache.pods:
            try:
                self._intake.pod_seen(await self._reader.get(PODS, key.namespace, key.name))
            except NotFound:
                return True
        held = self._cache.pods.get(key)
        return held is not None and held.run_uid != run.uid  # another object has the name: ours is gone

    async def _resolve(self, run: Run) -> ResolvedFlow | Unresolved | None:
        named = self._flow_of(run)
        if isinstance(named, Unresolved):
            return named
        flow, revision = named
        pinned = run.status.flow_revision or self._revision_of_pods(run) or revision
        if pinned is not None:
            found = await self._revisions.get(flow, pinned)
            return found or Unresolved(
                Reason.REVISION_NOT_FOUND,
                f'Flow {flow.name} has no revision "{pinned}"; kubectl get controllerrevisions '
                f"-n {flow.namespace} -l headrace.dev/flow={flow.name} lists those that are kept",
            )
        return await self._latest(flow)

    async def _latest(self, flow: ObjectKey) -> ResolvedFlow | Unresolved | None:
        record = self._cache.flows.get(flow)
        if record is None:
            return Unresolved(
                Reason.FLOW_NOT_FOUND,
                f'there is no Flow "{flow.name}" in namespace {flow.namespace}; apply it, and this run goes on by itself',
            )
        if record.ready_generation != record.generation:
            return None  # its own reconcile is on the way, and wakes the runs that wait for it
        if record.refusal is not None or record.revision is None:
            return Unresolved(Reason.INVALID_SPEC, f"Flow {flow.name}: {record.refusal or record.problem}")
        return await self._revisions.get(flow, record.revision)

    def _flow_of(self, run: Run) -> tuple[ObjectKey, str | None] | Unresolved:
        """The Flow that a run names, and the revision that it or its Deployment pins."""
        namespace = run.key.namespace
        if run.flow_ref is not None:
            return ObjectKey(namespace, run.flow_ref), run.revision_ref
        record = self._cache.deployments.get(ObjectKey(namespace, run.deployment_ref or ""))
        if record is None:
            return Unresolved(
                Reason.DEPLOYMENT_NOT_FOUND,
                f'there is no Deployment "{run.deployment_ref}" (deployments.headrace.dev) in namespace {namespace}; '
                "apply it, and this run goes on by itself",
            )
        if record.spec is None:
            return Unresolved(Reason.INVALID_SPEC, f"Deployment {record.key.name}: {record.problem}")
        return ObjectKey(namespace, record.spec.flow_ref.name), record.spec.flow_ref.revision

    def _withheld(self, run: Run, flow: ResolvedFlow | Unresolved) -> Unresolved | None:
        """A revision keeps what its Flow had the right to use; who changes its pods was asked for what the Flow names now."""
        deployment = self._cache.deployments.get(ObjectKey(run.key.namespace, run.deployment_ref or ""))
        if isinstance(flow, Unresolved) or deployment is None or deployment.spec is None:
            return None
        present = self._cache.flows.get(ObjectKey(run.key.namespace, flow.name))
        problem = override_problem(deployment.key, deployment.spec, flow, present.spec if present else None)
        return None if problem is None else Unresolved(Reason.INVALID_SPEC, problem)

    def _revision_of_pods(self, run: Run) -> str | None:
        """The operator may have died between a pod's creation and the first status: the pod tells what was pinned."""
        return next((pod.revision for pod in self._own_pods(run)), None)

    def _own_pods(self, run: Run) -> Iterator[Pod]:
        return (pod for pod in self._cache.pods_of(run.key) if pod.run_uid == run.uid)

    def _is_foreign(self, run: Run, flow: ResolvedFlow | Unresolved) -> bool:
        """
        Whether a task asks for other code than its parent runs, and so for what another Flow may do. Revisions are short hashes: another
        Flow can be given one of the same.
        """
        if run.task is None or isinstance(flow, Unresolved):
            return False
        parent = next(self._cache.parents_of(run), None)  # one that is held no more is over, and its tasks with it
        if parent is None:
            return False
        revision = parent.status.flow_revision or self._revision_of_pods(parent)
        return (flow.name, flow.revision) != (self._flow_name(parent), revision)

    def _flow_name(self, run: Run) -> str | None:
        """The Flow that a run is of, None if nothing tells. Its pods do though its Deployment has gone, or names another."""
        told = next((pod.flow for pod in self._own_pods(run) if pod.flow), None)
        named = self._flow_of(run)
        return told or (None if isinstance(named, Unresolved) else named[0].name)

    def _learnt(self, run: Run) -> LearntSize | None:
        flow = sized_flow(run, self._cache)
        return None if flow is None else self._cache.flows[flow].learnt

    def _deployment_view(self, run: Run) -> DeploymentView | None:
        if run.deployment_ref is None:
            return None
        record = self._cache.deployments.get(ObjectKey(run.key.namespace, run.deployment_ref))
        if record is None or record.spec is None:
            return None
        history = self._intake.history
        view = DeploymentView(record.key, record.uid, record.spec, record.circuit, brakes_allow(record, history))
        if record.spec.budget is None:
            return view
        return replace(view, payable=attempts_payable(record, history), budget_wait=budget_waits(record, history))

"""
What the API held when it was last heard of: unfinished runs, their pods, Flows, Deployments, and indices over them.

Three rules keep it true:
    newer wins       an object replaces a held one only if its resource version is higher, so answers to our own
                     writes may be put in at once and a late event changes nothing
    gone is gone     the uid of a deleted object is remembered for a while, so that the answer to our last write
                     does not raise it from the dead
    charged at once  a run that is about to be launched counts as active from the decision on, not from its pod on
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headrace_operator.decide.pod_news import goes_without_saying, starts, starts_quietly
from headrace_operator.decide.run_status import is_back_in_line
from headrace_operator.decide.sharding import EVERYTHING, Share
from headrace_operator.decide.snapshot import ObjectKey, Place, Pod, Run, Turn
from headrace_operator.observe.gone import Gone
from headrace_operator.observe.ledger import Ledger, Standing
from headrace_operator.observe.nodes import NodeRecord
from headrace_operator.observe.records import DeploymentRecord, FlowRecord, LimitRecord, NamespaceRecord, PoolRecord
from headrace_operator.observe.slots import Slots

Record = FlowRecord | DeploymentRecord | Run | Pod | LimitRecord | PoolRecord | NamespaceRecord | NodeRecord


@dataclass(frozen=True, slots=True)
class Launch:
    """A pod that is about to be created; whether it was is not known yet."""

    attempt: int
    turn: Turn


class Cache:
    """
    Belongs to one event loop; nothing here waits, so what is read together is true together.

    Args:
        share: Whose objects are put in.
        slots: What is known of the Leases of limits, by all engines of the process; None: this one is alone.
    """

    def __init__(self, share: Share = EVERYTHING, slots: Slots | None = None) -> None:
        self.share = share
        self.slots = Slots() if slots is None else slots
        self.flows: dict[ObjectKey, FlowRecord] = {}
        self.deployments: dict[ObjectKey, DeploymentRecord] = {}
        self.runs: dict[ObjectKey, Run] = {}
        self.pods: dict[ObjectKey, Pod] = {}
        self.limits: dict[ObjectKey, LimitRecord] = {}
        self.pools: dict[ObjectKey, PoolRecord] = {}
        self.namespaces: dict[ObjectKey, NamespaceRecord] = {}
        self.nodes: dict[ObjectKey, NodeRecord] = {}
        self.starting: set[ObjectKey] = set()
        """Pods that do not run yet."""
        self._pods_of: dict[ObjectKey, dict[ObjectKey, Pod]] = {}
        self._ledgers: dict[ObjectKey, Ledger] = {}
        self._launching: dict[ObjectKey, Launch] = {}
        self._gone = Gone()

    def put_flow(self, record: FlowRecord) -> bool:
        """Hold it, if it is news; whether it is."""
        return self._put(self.flows, record)

    def put_deployment(self, record: DeploymentRecord) -> bool:
        """Hold it, if it is news; whether it is."""
        return self._put(self.deployments, record)

    def put_limit(self, record: LimitRecord) -> bool:
        """Hold it, if it is news; whether it is."""
        return self._put(self.limits, record)

    def put_pool(self, record: PoolRecord) -> bool:
        """Hold it, if it is news; whether it is."""
        return self._put(self.pools, record)

    def put_namespace(self, record: NamespaceRecord) -> bool:
        """Hold it, if it is news; whether it is."""
        return self._put(self.namespaces, record)

    def put_node(self, record: NodeRecord) -> bool:
        """Hold it, if it is news; whether it is."""
        return self._put(self.nodes, record)

    def put_run(self, run: Run) -> bool:
        """Hold it, if it is news; a finished run is dropped instead. Whether it was news."""
        if run.finished and not self.holds_pods(run.key):
            return self.drop_run(run.key, run.uid)
        old = self.runs.get(run.key)
        news = self._put(self.runs, run)
        if news and old is not None and old.uid != run.uid:  # deleted and made anew, its end unseen
            self._forget_run(old)
        if news:
            self._reindex(run.key)
        return news

    def put_pod(self, pod: Pod) -> bool:
        """Hold it, if it is news; whether it is."""
        old = self.pods.get(pod.key)
        if not self._put(self.pods, pod):
            return False
        if old is not None and old.run != pod.run:  # somebody changed its label
            self._forget_pod(old)
        self._pods_of.setdefault(pod.run, {})[pod.key] = pod
        if starts(pod):
            self.starting.add(pod.key)
        else:
            self.starting.discard(pod.key)
        launch = self._launching.get(pod.run)
        if (
            launch is not None and pod.attempt >= launch.attempt
        ):  # an earlier attempt's pod may be heard of until the end
            del self._launching[pod.run]
        self._settle_run(pod.run)
        return True

    def drop_flow(self, key: ObjectKey, uid: str) -> bool:
        """Forget it; whether it was held."""
        return self._drop(self.flows, key, uid) is not None

    def drop_deployment(self, key: ObjectKey, uid: str) -> bool:
        """Forget it; whether it was held."""
        return self._drop(self.deployments, key, uid) is not None

    def drop_limit(self, key: ObjectKey, uid: str) -> bool:
        """Forget it; whether it was held."""
        return self._drop(self.limits, key, uid) is not None

    def drop_pool(self, key: ObjectKey, uid: str) -> bool:
        """Forget it; whether it was held."""
        return self._drop(self.pools, key, uid) is not None

    def drop_namespace(self, key: ObjectKey, uid: str) -> bool:
        """Forget it; whether it was held."""
        return self._drop(self.namespaces, key, uid) is not None

    def drop_node(self, key: ObjectKey, uid: str) -> bool:
        """Forget it; whether it was held."""
        return self._drop(self.nodes, key, uid) is not None

    def drop_run(self, key: ObjectKey, uid: str) -> bool:
        """Forget it, its place in its deployment too; whether it was held."""
        run = self._drop(self.runs, key, uid)
        if run is None:
            return False
        self._forget_run(run)
        return True

    def drop_pod(self, key: ObjectKey, uid: str) -> Pod | None:
        """Forget it; what was held."""
        pod: Pod | None = self._drop(self.pods, key, uid)
        if pod is not None:
            self._forget_pod(pod)
        return pod

    def pods_of(self, run: ObjectKey) -> tuple[Pod, ...]:
        """The pods that carry the run's name, by attempt; one of a deleted run of the same name may be among them."""
        return tuple(sorted(self._pods_of.get(run, {}).values(), key=lambda pod: pod.attempt))

    def holds(self, run: Run) -> bool:
        """Whether this very run is known as one that has not ended, or has and lets go of its pods."""
        held = self.runs.get(run.key)
        return held is not None and held.uid == run.uid

    def holds_pods(self, run: ObjectKey) -> bool:
        """Whether a pod of the run waits for its outcome to be written."""
        return any(pod.held for pod in self.pods_of(run))

    def expects(self, pod: Pod) -> bool:
        """Whether nothing is to be decided for it: the stream may tell of a launch before its answer comes."""
        before = self.pods.get(pod.key)
        if before is None:
            return pod.run in self._launching and starts_quietly(pod)
        return goes_without_saying(self.runs.get(pod.run), before, pod)

    def charge(self, run: ObjectKey, attempt: int, turn: Turn) -> None:
        """Count the run as active: the pod of this attempt is about to be created, with what it was given for that."""
        self._launching[run] = Launch(attempt, turn)
        self._reindex(run)

    def launch_of(self, run: ObjectKey) -> Launch | None:
        """The launch of a run; None once its pod is known, or if it is not being launched."""
        return self._launching.get(run)

    def turn_of(self, run: ObjectKey) -> Turn | None:
        """What a run that is being launched was given; None once its pod is known, or if it is not being launched."""
        launch = self._launching.get(run)
        return None if launch is None else launch.turn

    def discharge(self, run: ObjectKey) -> None:
        """Its pod was refused: it waits again."""
        self._launching.pop(run, None)
        self._reindex(run)

    def is_admitted(self, run: Run) -> bool:
        """Whether it holds its places: from its launch to its end, retries included, unless outranked or paused."""
        if run.key in self._launching:
            return True
        if is_back_in_line(run.status):
            return self.holds_pods(run.key)
        return bool(run.status.attempts) or run.key in self._pods_of

    def ledger(self, deployment: ObjectKey) -> Ledger:
        """The deployment's runs; empty where it has none."""
        return self._ledgers.get(deployment) or Ledger()

    def place(self, run: Run) -> Place:
        """Where the run stands in its deployment."""
        if run.deployment_ref is None:
            return Place()
        return self.ledger(ObjectKey(run.key.namespace, run.deployment_ref)).place(run.key)

    def in_line(self) -> tuple[list[ObjectKey], list[ObjectKey]]:
        """All runs, those that are to be first before others: those that wait, and those under way."""
        waiting, under_way = list[ObjectKey](), list[ObjectKey]()
        for run in sorted(self.runs.values(), key=lambda run: (-self.priority_of(run), run.due, run.key)):
            (under_way if self.is_admitted(run) else waiting).append(run.key)
        return waiting, under_way

    def runs_of_flow(self, flow: ObjectKey) -> Iterator[ObjectKey]:
        """Unfinished runs that name the flow, themselves or through their deployment."""
        for key, run in self.runs.items():
            if key.namespace == flow.namespace and self._flow_name(run) == flow.name:
                yield key

    def revisions_in_use(self, flow: ObjectKey) -> set[str]:
        """Revisions of the flow that unfinished runs or Deployments name."""
        of_runs = {
            self.runs[key].status.flow_revision or self.runs[key].revision_ref for key in self.runs_of_flow(flow)
        }
        of_pods = {pod.revision for key in self.runs_of_flow(flow) for pod in self.pods_of(key)}
        pinned = {
            record.spec.flow_ref.revision
            for record in self.deployments.values()
            if record.spec and record.key.namespace == flow.namespace and record.spec.flow_ref.name == flow.name
        }
        return {revision for revision in of_runs | of_pods | pinned if revision is not None}

    def priority_of(self, run: Run) -> int:
        """The run's own priority, else its deployment's; a task of a run has that of its parent."""
        if run.priority is not None:
            return run.priority
        if run.task is not None:
            return next((self.priority_of(parent) for parent in self.parents_of(run)), 0)
        deployment = self._deployment_of(run)
        return deployment.spec.priority if deployment and deployment.spec else 0

    def parents_of(self, run: Run) -> Iterator[Run]:
        """Of a remote task: the run that waits for it, then whoever waits for that one, as far as they are held."""
        while run.task is not None:
            parent = self.runs.get(ObjectKey(run.key.namespace, run.task.parent.name))
            if parent is None or parent.uid != run.task.parent.uid:
                return
            yield parent
            run = parent

    def reindex_deployment(self, deployment: ObjectKey) -> None:
        """Its priority may have changed: sort its runs anew."""
        for key in self.ledger(deployment).all():
            self._reindex(key)

    def _forget_run(self, run: Run) -> None:
        self._launching.pop(run.key, None)
        if run.deployment_ref is not None:
            self._leave_ledger(ObjectKey(run.key.namespace, run.deployment_ref), run.key)

    def _forget_pod(self, pod: Pod) -> None:
        self.starting.discard(pod.key)
        siblings = self._pods_of.get(pod.run, {})
        siblings.pop(pod.key, None)
        if not siblings:
            self._pods_of.pop(pod.run, None)
        self._settle_run(pod.run)

    def _settle_run(self, key: ObjectKey) -> None:
        """A finished run is held only while its pods hold their finalizers: letting go of them then needs no read."""
        run = self.runs.get(key)
        if run is not None and run.finished and not self.holds_pods(key):
            self.drop_run(key, run.uid)
        else:
            self._reindex(key)

    def labels_of(self, run: Run) -> dict[str, str]:
        """The run's labels, with those of its Deployment and of its Flow that it does not set itself."""
        flow = self.flows.get(ObjectKey(run.key.namespace, self._flow_name(run) or ""))
        deployment = self._deployment_of(run)
        of_flow = flow.obj["metadata"].get("labels") or {} if flow else {}
        return {**of_flow, **(deployment.labels if deployment else {}), **run.labels}

    def _flow_name(self, run: Run) -> str | None:
        if run.flow_ref is not None:
            return run.flow_ref
        deployment = self._deployment_of(run)
        return deployment.spec.flow_ref.name if deployment and deployment.spec else None

    def _deployment_of(self, run: Run) -> DeploymentRecord | None:
        if run.deployment_ref is None:
            return None
        return self.deployments.get(ObjectKey(run.key.namespace, run.deployment_ref))

    def _put(self, held: dict[ObjectKey, Any], record: Record) -> bool:
        if record.uid in self._gone:
            return False
        old = held.get(record.key)
        if old is not None and old.version >= record.version:
            return False
        held[record.key] = record
        return True

    def _drop(self, held: dict[ObjectKey, Any], key: ObjectKey, uid: str) -> Any:
        self._gone.add(uid)
        old = held.get(key)
        return held.pop(key) if old is not None and old.uid == uid else None

    def _reindex(self, key: ObjectKey) -> None:
        run = self.runs.get(key)
        if run is None or run.deployment_ref is None:
            return
        deployment = ObjectKey(key.namespace, run.deployment_ref)
        ledger = self._ledgers.setdefault(deployment, Ledger())
        if run.finished:
            self._leave_ledger(deployment, key)
        else:
            ledger.put(key, self._standing(run), priority=self.priority_of(run), due=run.due)

    def _standing(self, run: Run) -> Standing:
        if self.is_admitted(run):
            return Standing.ACTIVE
        is_out = run.suspend or run.cancel or run.deleting or run.status.pause is not None
        return Standing.OUT if is_out else Standing.WAITING

    def _leave_ledger(self, deployment: ObjectKey, run: ObjectKey) -> None:
        ledger = self._ledgers.get(deployment)
        if ledger is not None:
            ledger.remove(run)
            if not len(ledger):
                del self._ledgers[deployment]

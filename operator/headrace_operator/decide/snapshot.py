"""
What a decision rests on: frozen, slim views of runs, pods, flows and deployments.

Only what deciding needs is held, so that ten thousand queued runs cost little. `observe/` builds these from the
API's objects; `manifests/run_status.py` turns a changed RunStatus back into a patch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from headrace.api.conditions import Phase, Reason
from headrace.api.deployment import Circuit, ConcurrencySpec, DeploymentSpec
from headrace.api.flow import FlowSpec, LearntSize
from headrace.api.flowrun import AnswerDecision, OnParentEnd, OverDecision, ParentRef, PauseKind, RemoteTask, StartedBy
from headrace.api.money import Cost
from headrace_operator.decide.patience import Patience
from headrace_operator.decide.quantities import Amounts


class ObjectKey(NamedTuple):
    """Names one namespaced object of a kind that the context tells."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ConditionView:
    """One `metav1.Condition`; `observed_generation` is the spec that it speaks of."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: datetime
    observed_generation: int | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One pod of a run. `reason` and what follows are set once it has ended."""

    number: int
    pod: str
    node: str | None = None
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    pool: str | None = None
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class PauseView:
    """What a paused run waits for; the fields are those of status.pause."""

    kind: PauseKind
    name: str
    since: datetime
    message: str | None = None
    schema: Mapping[str, Any] | None = None
    until: datetime | None = None
    problem: str | None = None
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class PastPauseView:
    """A pause that is over, and how; the fields are those of status.answers."""

    name: str
    decision: OverDecision
    since: datetime
    at: datetime
    input: Mapping[str, Any] | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class GivenAnswer:
    """What a person wrote into spec.answers, whether it counts or not."""

    name: str
    decision: AnswerDecision
    input: Mapping[str, Any] | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The status of a FlowRun, as read or as to be written. Absent parts are None or empty."""

    phase: Phase | None = None
    reason: str | None = None
    message: str | None = None
    observed_generation: int | None = None
    conditions: tuple[ConditionView, ...] = ()
    flow_revision: str | None = None
    parameters: Mapping[str, Any] | None = None
    attempts: tuple[Attempt, ...] = ()
    next_attempt_at: datetime | None = None
    tasks: Mapping[str, int] | None = None
    result: Mapping[str, Any] | None = None
    artifacts: tuple[Mapping[str, str], ...] = ()
    usage: Mapping[str, float] | None = None
    cost: Cost | None = None
    lineage: Mapping[str, Any] | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    pool: str | None = None
    pause: PauseView | None = None
    answers: tuple[PastPauseView, ...] = ()


class PartitionRef(NamedTuple):
    """
    Of which partition a FlowRun is a try.

    Args:
        uid: The Backfill's; another one of its name is another Backfill.
        position: In the order in which the Backfill runs its partitions, from 0.
        number: Of the try, from 1; it grows with each, whatever it is made for.
    """

    backfill: str
    uid: str
    position: int
    number: int


@dataclass(frozen=True, slots=True)
class Run:
    """A FlowRun. `version` orders what was seen of it; `created` is aware UTC."""

    key: ObjectKey
    uid: str
    version: int
    generation: int
    created: datetime
    flow_ref: str | None
    revision_ref: str | None
    deployment_ref: str | None
    schedule: str | None
    parameters: Mapping[str, Any] | None
    scheduled_time: datetime | None
    priority: int | None
    cancel: bool
    suspend: bool
    deleting: bool
    status: RunStatus
    idempotency_key: str | None = None
    task: RemoteTask | None = None
    started_by: StartedBy | None = None
    traceparent: str | None = None
    """The span that it is to hang below, as W3C writes it."""
    labels: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[GivenAnswer, ...] = ()
    partition: PartitionRef | None = None

    @property
    def finished(self) -> bool:
        """Whether it reached a phase that it never leaves."""
        return self.status.phase is not None and self.status.phase.finished

    @property
    def parent(self) -> ParentRef | None:
        """The run in the same namespace whose end ends this one; None: it goes on by itself."""
        if self.task is not None:
            return self.task.parent
        starter = self.started_by
        if starter is None or starter.on_end is OnParentEnd.LEAVE:
            return None
        return ParentRef(name=starter.name, uid=starter.uid)

    @property
    def due(self) -> datetime:
        """The instant it was meant for: its scheduled time, else its creation."""
        return self.scheduled_time or self.created


@dataclass(frozen=True, slots=True)
class Pod:
    """
    One pod of a run. `raw` holds metadata, status and the parts of the spec that a diagnosis reads.

    Args:
        pool: The WorkPool that it was placed in.
        requests: What the scheduler sets aside for it; none are counted of a pod in no WorkPool.
    """

    key: ObjectKey
    uid: str
    version: int
    run: ObjectKey
    run_uid: str | None
    attempt: int
    revision: str | None
    parameters: Mapping[str, Any] | None
    node: str | None
    deleting: bool
    held: bool  # carries our finalizer: its outcome is not yet written
    raw: Mapping[str, Any]
    pool: str | None = None
    requests: Amounts = ()
    flow: str | None = None


@dataclass(frozen=True, slots=True)
class ResolvedFlow:
    """The Flow revision that a run executes."""

    name: str
    revision: str
    spec: FlowSpec


@dataclass(frozen=True, slots=True)
class Unresolved:
    """Why a run has no Flow revision yet, in a sentence that says what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """What a run waits for. The message stays the same as long as the cause does, and says what to do."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Turn:
    """
    What a run was given to start with.

    Args:
        pool: The WorkPool of its pod; None where no pools are in use.
        limits: Slots to hold by Lease before the pod is made, by limit, sorted.
        rates: Limits in whose rate the start is noted.
        requests: What the pod asks for, as far as its pool counts it.
    """

    pool: str | None = None
    limits: tuple[tuple[str, int], ...] = ()
    rates: tuple[str, ...] = ()
    requests: Amounts = ()


@dataclass(frozen=True, slots=True)
class Place:
    """
    A run's place among the runs of its deployment.

    Args:
        active: Runs that hold a slot now, this one not counted.
        ahead: Waiting runs that go before this one.
        newer: Runs, active or waiting, that are due later than this one: what Replace looks at.
    """

    active: int = 0
    ahead: int = 0
    newer: int = 0


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """
    The Deployment that a run belongs to.

    Args:
        circuit: Of its status.
        allowed: How many of its runs may be active as far as its circuit breaker and its budget go. None: any number.
        payable: How many of them may go on to a further attempt as far as its budget goes. None: any number.
        budget_wait: What is said of runs for which its budget has no room.
    """

    key: ObjectKey
    uid: str
    spec: DeploymentSpec
    circuit: Circuit | None = None
    allowed: int | None = None
    payable: int | None = None
    budget_wait: Blocked | None = None

    @property
    def concurrency(self) -> ConcurrencySpec | None:
        """Its limit, None where it has none."""
        return self.spec.concurrency


@dataclass(frozen=True, slots=True)
class Placement:
    """
    Where the run's pod is, and where else it could be.

    Args:
        timeout_s: After this long without a node it is taken back, if there is another pool.
        others: Pools that fit and that the run has not tried since it last ran, best first.
    """

    pool: str
    timeout_s: float
    others: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HourlyPrice:
    """What one pod costs for an hour in its WorkPool."""

    per_hour: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    All that one FlowRun's decision rests on, read at one time.

    Args:
        admitted: It holds its deployment's slot: it has, or had, a pod.
        lost: The pod of the unfinished attempt is confirmed to be gone.
        pods: Its pods that still exist, by attempt.
        start_deadline_s: After this long a pod that cannot start (image, Secret, ConfigMap) is given up.
        placement: Of its current pod; None where that is in no WorkPool.
        price: Of its current pod, in its WorkPool as it is now; None where that has no price.
        first: Another run that has its idempotency key.
        key_is_settled: Whether it is known who has the key: the runs that finished before the start were read.
        turn: What it was given to start with, or what it waits for; None: it has not asked.
        outranked: A run of higher priority was promised its place.
        learnt: What earlier runs of its Flow used.
        parent_is_over: The run that called it, and whose end ends it, has ended, is gone, or was told to end.
        is_foreign: It is a task that asks for other code than the run that is said to have called it.
        withheld: Why no further pod may be made of its Flow's revision as its Deployment changes it. A pod that is there goes on.
        slots_namespace: Where the Leases of ConcurrencyLimits are. Empty: pods are not told.
        patience: How long a wait that is nothing unusual is not told.
    """

    run: Run
    flow: ResolvedFlow | Unresolved
    deployment: DeploymentView | None = None
    pods: tuple[Pod, ...] = ()
    admitted: bool = False
    lost: bool = False
    place: Place = field(default_factory=Place)
    start_deadline_s: float = 600.0
    placement: Placement | None = None
    price: HourlyPrice | None = None
    first: ObjectKey | None = None
    key_is_settled: bool = True
    turn: Turn | Blocked | None = None
    outranked: bool = False
    learnt: LearntSize | None = None
    parent_is_over: bool = False
    is_foreign: bool = False
    withheld: Unresolved | None = None
    slots_namespace: str = ""
    patience: Patience = field(default_factory=Patience)


def own_pods(seen: Snapshot) -> tuple[Pod, ...]:
    """Without those of a deleted run of the same name."""
    return tuple(pod for pod in seen.pods if pod.run_uid == seen.run.uid)


def current_pod(seen: Snapshot) -> Pod | None:
    """The pod of the latest attempt, unless its end is in the status already."""
    ended = {attempt.number for attempt in seen.run.status.attempts if attempt.finished_at is not None}
    open_ones = (pod for pod in own_pods(seen) if pod.attempt not in ended)
    return max(open_ones, key=lambda pod: pod.attempt, default=None)

"""
Phases, condition types and reasons: the words in which a status speaks.

Each carries its meaning, from which docs/api.md is made; a new reason needs no more than a line here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field

from headrace.api.common import Instant, Message, StatusModel


class Word(StrEnum):
    """A string with a meaning: members are `NAME = "Value", "what it says"`."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        word = str.__new__(cls, value)
        word._value_ = value
        word.meaning = meaning
        return word


class Phase(Word):
    """Where a run is in its life."""

    PENDING = "Pending", "Accepted or about to be; no attempt has started. The reason says what it waits for."
    RUNNING = "Running", "An attempt's pod runs."
    RETRYING = "Retrying", "An attempt has ended, the next one starts at status.nextAttemptAt."
    PAUSED = "Paused", "The flow waits for an answer or a time, or spec.suspend holds back the next attempt."
    SUCCEEDED = "Succeeded", "The flow returned."
    FAILED = "Failed", "The flow raised, its command failed, or it was refused before it started."
    CRASHED = "Crashed", "The infrastructure ended it, and its infrastructure retries are used up."
    CANCELLED = "Cancelled", "It was cancelled, or a newer run took its place."
    SKIPPED = "Skipped", "It never started, as the deployment skips runs that find no free slot."

    @property
    def finished(self) -> bool:
        """Whether a run never leaves this phase."""
        return self in FINISHED

    @property
    def active(self) -> bool:
        """Whether a run's work has begun and is not finished."""
        return self in ACTIVE


FINISHED = frozenset({Phase.SUCCEEDED, Phase.FAILED, Phase.CRASHED, Phase.CANCELLED, Phase.SKIPPED})
"""Phases that a run never leaves."""
FAILURES = frozenset({Phase.FAILED, Phase.CRASHED})
"""Phases of a run that ended badly, and that nobody ended."""
ACTIVE = frozenset({Phase.RUNNING, Phase.RETRYING})
"""Phases in which a run's work has begun and is not finished."""


class ConditionType(Word):
    """What a condition speaks of."""

    READY = (
        "Ready",
        (
            "Flow and Deployment: runs can be started from it. WorkPool: its nodes can take pods. "
            "ConcurrencyLimit: no more slots are held than there are. Backfill: its runs can be created. "
            "Automation: its expressions are understood, its Secrets are there, and what it asks answers."
        ),
    )
    SCHEDULING = "Scheduling", "Deployment: its schedules start runs."
    TRIGGERING = "Triggering", "Deployment: its triggers start runs."
    ACCEPTED = "Accepted", "FlowRun: the flow revision is pinned and the parameters are valid."
    CIRCUIT_OPEN = (
        "CircuitOpen",
        "Deployment: it failed too often in a row, and starts no runs until it has cooled down.",
    )
    BUDGET_EXCEEDED = (
        "BudgetExceeded",
        "Deployment: its budget is spent until the next period; with action Stop it starts no runs until then.",
    )
    ADMITTED = "Admitted", "FlowRun: it holds all that it needs to run; False says what it waits for."
    COMPLETED = "Completed", "FlowRun: it has reached its last phase. Backfill: it has ended."


class Reason(Word):
    """Why a condition or a phase is as it is."""

    # The API and its references
    READY = "Ready", "Everything that it names is there; runs can be started."
    ACCEPTED = "Accepted", "The flow revision is pinned and the parameters are valid."
    FLOW_NOT_FOUND = "FlowNotFound", "No Flow of that name is in the namespace."
    DEPLOYMENT_NOT_FOUND = "DeploymentNotFound", "No Deployment of that name is in the namespace."
    SECRET_NOT_READABLE = "SecretNotReadable", "A Secret that it names, or its key, is not there or may not be read."
    QUERY_FAILED = "QueryFailed", "The query of an Automation's metric has no answer that can be used."
    EVENTS_NOT_READABLE = "EventsNotReadable", "The operator may not watch the Events of the Automation's namespace."
    REVISION_NOT_FOUND = "RevisionNotFound", "The Flow has no such revision any more."
    INVALID_SPEC = "InvalidSpec", "The object breaks a rule that the API server cannot check."
    INVALID_SCHEDULE = "InvalidSchedule", "A schedule cannot be understood or never fires; the others go on."
    INVALID_PARAMETERS = "InvalidParameters", "The parameters break the Flow's schema."
    FOREIGN_TASK = "ForeignTask", "The task asks for other code than the run that is said to have called it."

    # Scheduling
    SCHEDULED = "Scheduled", "The schedules start runs."
    NO_SCHEDULES = "NoSchedules", "There is no schedule; runs are started by hand."

    # Triggers
    LISTENING = "Listening", "The triggers start runs."
    TRIGGER_NAME_TAKEN = "TriggerNameTaken", "An Automation has the name of a trigger's, and is not the Deployment's."
    TRIGGER_REFUSED = "TriggerRefused", "The API server takes no Automation for a trigger."

    # Waiting
    WAITING_FOR_SLOT = "WaitingForSlot", "Every slot of the deployment's concurrency limit is taken."
    WAITING_FOR_LIMIT = (
        "WaitingForLimit",
        "Too few slots of a ConcurrencyLimit are free, or runs ahead of it wait for them.",
    )
    WAITING_FOR_RATE = "WaitingForRate", "A ConcurrencyLimit allows no further start for a moment."
    WAITING_FOR_POOL = "WaitingForPool", "Every WorkPool that fits is full."
    WAITING_FOR_QUOTA = "WaitingForQuota", "The namespace has as many active runs as its annotation allows."
    WAITING_FOR_BUDGET = "WaitingForBudget", "What is left of a budget does not pay for the run."
    LIMIT_NOT_FOUND = "LimitNotFound", "No ConcurrencyLimit of that name is there."
    LIMIT_TOO_SMALL = "LimitTooSmall", "The run needs more slots than the ConcurrencyLimit has."
    POOL_NOT_FOUND = "PoolNotFound", "No WorkPool of the names or labels that the run allows is there."
    NO_POOL_FITS = "NoPoolFits", "The run is too large for each WorkPool that it may use."
    ADMITTED = "Admitted", "The run holds a slot, or needs none."
    SUSPENDED = "Suspended", "spec.suspend is true."
    POD_PENDING = "PodPending", "The pod exists and does not run yet."
    UNSCHEDULABLE = "Unschedulable", "No node takes the pod: its resources, selectors or taints."
    IMAGE_PULL_FAILED = "ImagePullFailed", "The node cannot pull the image: its name, its registry or its credentials."
    CONFIG_MISSING = "ConfigMissing", "A Secret, a ConfigMap or a key that the container needs is not there."
    CONTAINER_CREATION_FAILED = "ContainerCreationFailed", "The node cannot make the container from its settings."
    POD_CREATION_FAILED = "PodCreationFailed", "The API server refused the pod: quota, policy or podTemplate."
    SCHEDULING_GATED = "SchedulingGated", "A scheduling gate holds the pod back from the scheduler."
    VOLUME_WAIT = "VolumeWait", "The node still prepares volumes or loads the image, for longer than usual."
    NODE_UNREACHABLE = "NodeUnreachable", "The node does not answer; whether the pod still runs is unknown."

    # Circuit breaker
    CIRCUIT_OPEN = (
        "CircuitOpen",
        "The deployment failed too often in a row; it starts no runs until it has cooled down.",
    )
    CIRCUIT_HALF_OPEN = "CircuitHalfOpen", "The deployment has cooled down; one run tries whether it works again."
    CIRCUIT_CLOSED = "CircuitClosed", "The deployment starts runs."

    # Budgets
    WITHIN_BUDGET = "WithinBudget", "Less than spec.budget.alertAtPercent of the budget is spent."
    BUDGET_NEARLY_SPENT = "BudgetNearlySpent", "The part of the budget is spent from which on it is told."
    BUDGET_EXCEEDED = "BudgetExceeded", "The budget is spent, or a further run would cost more than what is left of it."

    # WorkPools and ConcurrencyLimits
    NODES_READY = "NodesReady", "Nodes of the pool are ready."
    NO_NODES = "NoNodes", "The pool has no node now; an autoscaler may add some."
    NODES_NOT_READY = "NodesNotReady", "The pool has nodes, and none is ready."
    RESIZING = "Resizing", "More slots are held than the limit has now; they go as their holders end."

    # Backfills
    WINDOW_CLOSED = "WindowClosed", "The Backfill starts runs in its window only, and that is closed."
    HISTORY_FULL = "HistoryFull", "Too many finished runs wait for the history store; a Backfill starts none meanwhile."
    TOO_MANY_FAILURES = "TooManyFailures", "More partitions failed than spec.maxFailures allows."
    PARTITIONS_FAILED = "PartitionsFailed", "Every partition is over, and some of them failed or were cancelled."
    INVALID_STATUS = "InvalidStatus", "The status does not say which partitions are over."
    RUN_DELETED = "RunDeleted", "A run of the Backfill was deleted before its end; its partition counts as cancelled."
    RUN_REFUSED = (
        "RunRefused",
        "The API server refused a run for good: its partition of the Backfill has failed, its time of the Deployment has no run.",
    )

    # Under way
    RUNNING = "Running", "The attempt's pod runs."
    RETRY_SCHEDULED = "RetryScheduled", "The next attempt is due at status.nextAttemptAt."

    # Pauses
    PAUSED = "Paused", "The attempt ended as its flow paused; the run holds nothing while it waits."
    RUN_PAUSED = "RunPaused", "The run began to wait for an answer or a time."
    AWAITING_APPROVAL = "AwaitingApproval", "The flow waits for a person's answer (status.pause)."
    INVALID_ANSWER = "InvalidAnswer", "The answer that was given cannot be taken; the run waits for another one."
    SLEEPING = "Sleeping", "The flow sleeps until status.pause.until."
    RUN_RESUMED = "RunResumed", "The pause is over; the next attempt starts when its turn comes."
    REJECTED = "Rejected", "A person said no, and the flow did not go on without the approval."
    APPROVAL_TIMED_OUT = "ApprovalTimedOut", "Nobody answered in time, and the flow did not go on without it."
    TOO_MANY_PAUSES = "TooManyPauses", "The flow paused more often than a run can."

    # Ends that the flow brought about
    SUCCEEDED = "Succeeded", "The flow returned, or the command exited with 0."
    FLOW_FAILED = "FlowFailed", "The flow raised an exception."
    RETRY_REQUESTED = "RetryRequested", "The flow asked for another attempt."
    EXIT_CODE = "ExitCode", "The container exited with a code other than 0."
    CANNOT_START = "CannotStart", "The flow could not be started; trying again would not help."
    INIT_FAILED = "InitFailed", "An init container failed, so the flow's container never started."
    IMPORT_ERROR = "ImportError", "The flow's code could not be imported."
    TIMED_OUT = "TimedOut", "The attempt took longer than timeoutSeconds."

    # Ends that the infrastructure brought about
    OOM_KILLED = "OOMKilled", "The container used more memory than its limit."
    EVICTED = "Evicted", "The node or an operator of the cluster evicted the pod."
    PREEMPTED = "Preempted", "A pod of higher priority took its place."
    NODE_LOST = "NodeLost", "The node stopped answering or was removed."
    NODE_SHUTDOWN = "NodeShutdown", "The node was shut down, as spot nodes are."
    POD_DELETED = "PodDeleted", "Somebody deleted the pod."
    POD_LOST = "PodLost", "The pod is gone and nothing says how it ended."
    POD_REJECTED = "PodRejected", "The node refused the pod after it was bound."

    POOL_UNAVAILABLE = (
        "PoolUnavailable",
        "The pool had no node for the pod in time; the next attempt goes to another pool.",
    )
    OUTRANKED = "Outranked", "A run of higher priority needed its place; it waits for its turn again."

    # Ends that people or rules brought about
    DUPLICATE = "Duplicate", "An earlier run has the same idempotencyKey."
    CANCELLED = "Cancelled", "The run was cancelled and its pod has ended."
    CANCEL_REQUESTED = "CancelRequested", "spec.cancel is true; the pod is being ended."
    REPLACED = "Replaced", "A newer run of the deployment took its place."
    SKIPPED_BY_CONCURRENCY = "SkippedByConcurrency", "No slot was free, and the deployment skips such runs."


class EventReason(Word):
    """What an Event tells that no status has for its reason."""

    MISSED_SCHEDULE = "MissedSchedule", "Deployment: times of a schedule passed without a run."
    TRIGGER_BLOCKED = "TriggerBlocked", "Deployment: one of its triggers starts no runs."
    RUNS_NOT_CREATED = (
        "RunsNotCreated",
        "Deployment, Backfill: the API server forbids its runs for now; they are tried again.",
    )
    RUN_NAME_TAKEN = "RunNameTaken", "Deployment, Backfill: a FlowRun of somebody else has the name of one that is due."
    STARTED = "Started", "Backfill: its first runs are created."
    RESUMED = "Resumed", "Backfill: it creates runs again."
    RERUN_STARTED = "RerunStarted", "Backfill: partitions that failed are run once more."
    AUTOMATION_FAILED = "AutomationFailed", "Automation: something that it was to do went wrong."


class Condition(StatusModel):
    """A `metav1.Condition`."""

    type: str = Field(min_length=1, max_length=64, description="What the condition speaks of.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that it speaks of. Absent: unknown."
    )
    last_transition_time: Instant = Field(description="When its status last changed.")
    reason: str = Field(min_length=1, max_length=128, description="Why, in one CamelCase word.")
    message: Message = Field(default="", description="Why, in a sentence that says what to do.")

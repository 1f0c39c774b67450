"""FlowRun: one execution of a Flow."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from headrace.api.common import (
    ATOMIC,
    MAX_INT32,
    ONE_WRITER,
    ApiModel,
    Column,
    Count,
    CustomResource,
    FlowRef,
    Instant,
    JsonObject,
    JsonValue,
    LocalObjectRef,
    Message,
    ObjectName,
    PoolChoice,
    ReasonText,
    Resources,
    Rule,
    StatusModel,
    checked_by,
    keyed_by,
)
from headrace.api.conditions import Condition, Phase
from headrace.api.flow import MAX_TIMEOUT_S
from headrace.api.keys import FLOWRUNS, Resource
from headrace.api.money import Cost

MAX_NAME = 63
"""Pods carry their run's name as a label value."""
MAX_URL = 2048
MAX_DATASETS = 16
"""Datasets that a status names, of those that were read and of those that were written."""
MAX_DATASET = 512
"""Characters of the URI of one."""
MAX_ARTIFACTS = 32
"""The newest are kept: a run's status stays small."""
MAX_ATTEMPTS = 256
"""More than both retry policies and all pauses allow together."""
MAX_PAUSES = 50
"""Of one run: each is an attempt more."""
MAX_COMMENT = 256
PAUSE_NAME = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"
PauseName = Annotated[str, Field(min_length=1, max_length=63, pattern=PAUSE_NAME)]


def unchanged(field: str) -> Rule:
    """The rule that `field` is neither set, changed nor removed after creation."""
    return Rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field}: cannot be changed after creation; create a new FlowRun",
    )


class ParentRef(ApiModel):
    """The run that a task belongs to."""

    name: ObjectName = Field(description="Name of the FlowRun, in the same namespace.")
    uid: str = Field(min_length=1, max_length=64, description="UID of the FlowRun.")


class RemoteTask(ApiModel):
    """One task of another run, in a pod of its own."""

    name: str = Field(min_length=1, max_length=253, description="Name of the task, as its decorator gives it.")
    parent: ParentRef = Field(description="The run that called the task. Its end ends the task.")
    function: str = Field(
        min_length=1, max_length=512, description='The task\'s function, "module:qualified.name" or "file.py:name".'
    )
    input: str = Field(min_length=1, max_length=2048, description="URL of its arguments.")
    output: str = Field(
        min_length=1, max_length=2048, description="URL that its result or its exception is written to."
    )
    resources: Resources | None = Field(
        default=None, description="Requests and limits of its pod, in place of the Flow's. Absent: the Flow's."
    )
    pools: PoolChoice | None = Field(default=None, description="WorkPools that it may use. Absent: the Flow's.")
    timeout_seconds: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)] | None = Field(
        default=None, description="Seconds that one attempt may take. Absent: no bound."
    )


class AnswerDecision(StrEnum):
    """What a person says to a pause."""

    APPROVE = "Approve"
    REJECT = "Reject"


class Answer(ApiModel):
    """What a person answers to a pause of the run."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule("!has(self.input) || self.decision == 'Approve'", "input: allowed only with the decision Approve")
        )
    )

    name: PauseName = Field(description="Name of the pause, as status.pause.name tells it.")
    decision: AnswerDecision = Field(description="Approve: the run goes on. Reject: its flow is told so.")
    input: JsonObject | None = Field(
        default=None,
        description="What the flow asks for, by status.pause.schema; at most 1,024 bytes of JSON. Absent: nothing.",
    )
    comment: Annotated[str, Field(max_length=MAX_COMMENT)] | None = Field(
        default=None, description="Why, for people; a flow that is told no gets it too. Absent: nothing is said."
    )


class OnParentEnd(StrEnum):
    """What becomes of a run when the run that started it ends."""

    CANCEL = "Cancel"
    LEAVE = "Leave"


class StartedBy(ApiModel):
    """The run whose flow started this one."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "!has(self.namespace) || self.onEnd == 'Leave'",
                "onEnd: Cancel is allowed only where the run that started this one is in the same namespace",
            )
        )
    )

    namespace: ObjectName | None = Field(default=None, description="Namespace of that FlowRun. Absent: the same.")
    name: ObjectName = Field(description="Name of that FlowRun.")
    uid: str = Field(min_length=1, max_length=64, description="UID of that FlowRun.")
    root: ObjectName = Field(
        description="Name of the FlowRun at the top: that one, or the one that started it, and so on."
    )
    on_end: OnParentEnd = Field(
        default=OnParentEnd.LEAVE, description="Cancel: its end ends this run. Leave: this run goes on."
    )


class FlowRunSpec(ApiModel):
    """What to execute. Only priority, cancel, suspend and answers may change."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "has(self.flowRef) != has(self.deploymentRef)",
                "flowRef: set exactly one of flowRef and deploymentRef",
            ),
            Rule("!has(self.task) || has(self.flowRef)", "task: allowed only with flowRef"),
            *map(
                unchanged,
                ("flowRef", "deploymentRef", "parameters", "scheduledTime", "idempotencyKey", "task", "startedBy"),
            ),
        )
    )

    flow_ref: FlowRef | None = Field(
        default=None,
        description="The Flow to run, outside any Deployment's rules. Absent: deploymentRef. Immutable.",
    )
    deployment_ref: LocalObjectRef | None = Field(
        default=None,
        description="The Deployment to run, under its rules. Absent: flowRef. Immutable.",
    )
    parameters: JsonObject | None = Field(
        default=None,
        description="Parameters by name; they win over the Deployment's and the Flow's. Absent: none. Immutable.",
    )
    scheduled_time: Instant | None = Field(
        default=None,
        description="The time that the run is for, RFC 3339. Absent: it is for no certain time. Immutable.",
    )
    idempotency_key: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None,
        description="Names the cause of the run: a later run with the same key, of the same Deployment or Flow, ends as "
        "Skipped, as long as the first one is kept. Absent: every run counts. Immutable.",
    )
    task: RemoteTask | None = Field(
        default=None,
        description="The one task of another run to execute, in place of the flow. Absent: the flow. Immutable.",
    )
    started_by: StartedBy | None = Field(
        default=None, description="The run whose flow started this one. Absent: none did. Immutable."
    )
    priority: int | None = Field(
        default=None,
        ge=-MAX_INT32 - 1,
        le=MAX_INT32,
        description="Waiting runs of higher priority start first. Absent: the Deployment's.",
        json_schema_extra={"format": "int32"},
    )
    cancel: bool = Field(
        default=False,
        description="true ends the run: its pod gets SIGTERM and, after its grace period, SIGKILL. "
        "It cannot be taken back.",
        json_schema_extra=checked_by(Rule("self || !oldSelf", "cancel: cannot be taken back; create a new FlowRun")),
    )
    suspend: bool = Field(
        default=False,
        description="true holds back the next attempt until it is false again; a running attempt goes on.",
    )
    answers: tuple[Answer, ...] | None = Field(
        default=None,
        max_length=MAX_PAUSES,
        description="Answers to the run's pauses. One that was refused may be mended; one that counts stays as it is. "
        "Absent: none yet.",
        json_schema_extra=keyed_by("name"),
    )


class Attempt(StatusModel):
    """One pod of a run."""

    number: int = Field(ge=1, description="Which attempt it is, from 1.")
    pod: str = Field(max_length=253, description="Name of the pod.")
    node: str | None = Field(default=None, max_length=253, description="The node that it ran on. Absent: none yet.")
    pool: str | None = Field(default=None, max_length=63, description="The WorkPool of the pod. Absent: none was used.")
    reason: ReasonText | None = Field(default=None, description="How it ended. Absent: it has not ended.")
    message: Message | None = Field(default=None, description="How it ended, in a sentence that says what to do.")
    exit_code: int | None = Field(default=None, description="Exit code of the flow's container. Absent: none known.")
    started_at: Instant | None = Field(default=None, description="When its container started. Absent: it never did.")
    finished_at: Instant | None = Field(default=None, description="When it ended. Absent: it has not ended.")
    cost: Cost | None = Field(
        default=None,
        description="What its pod's requests cost from when a node took it to its end, at the price of its WorkPool "
        "then. Absent: it has not ended, or the price is unknown.",
    )


class TaskCounts(StatusModel):
    """How the tasks of the last attempt ended."""

    total: Count = Field(default=0, description="Tasks that were called.")
    succeeded: Count = Field(default=0, description="Tasks that returned.")
    failed: Count = Field(default=0, description="Tasks that raised after their last retry.")
    cached: Count = Field(default=0, description="Tasks whose result was already there.")
    retried: Count = Field(default=0, description="Tasks that needed more than one try.")
    subflows: Count = Field(default=0, description="Flows that were called inside the flow.")


class RunResult(StatusModel):
    """What the flow returned: one of its fields."""

    model_config = ConfigDict(json_schema_extra={"maxProperties": 1})

    value: JsonValue = Field(default=None, description="The value, at most 1,024 bytes of JSON.")
    url: Annotated[str, Field(max_length=MAX_URL)] | None = Field(
        default=None, description="Where a larger value is stored, below the Flow's spec.results.url."
    )
    omitted: Literal[True] | None = Field(
        default=None, description="true: the value is larger, and was not stored. Set spec.results.url of the Flow."
    )


DatasetUri = Annotated[str, Field(min_length=1, max_length=MAX_DATASET)]


class Lineage(StatusModel):
    """Datasets that a run has touched, as URIs, in the order in which it did."""

    inputs: tuple[DatasetUri, ...] = Field(
        default_factory=tuple,
        max_length=MAX_DATASETS,
        description="Those that were read.",
        json_schema_extra=ATOMIC,
    )
    outputs: tuple[DatasetUri, ...] = Field(
        default_factory=tuple,
        max_length=MAX_DATASETS,
        description="Those that were written, by tasks that have succeeded.",
        json_schema_extra=ATOMIC,
    )
    more: Count | None = Field(default=None, description="How many there are beside these, at least. Absent: none.")


class Artifact(StatusModel):
    """What the flow left for people to look at."""

    name: str = Field(min_length=1, max_length=63, description="Its key.")
    kind: str = Field(max_length=32, description="markdown, table, link, image or progress.")
    url: Annotated[str, Field(max_length=MAX_URL)] | None = Field(
        default=None, description="Where it is. Absent: in the pod's log."
    )
    description: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="What it is, in the flow's words. Absent: it does not say."
    )


class Usage(StatusModel):
    """What the last attempt used."""

    cpu_seconds: float | None = Field(default=None, ge=0, description="CPU time of its processes, in seconds.")
    max_memory_bytes: int | None = Field(default=None, ge=0, description="Most memory that it held, in bytes.")


class PauseKind(StrEnum):
    """What a pause waits for."""

    APPROVAL = "Approval"
    SLEEP = "Sleep"


class Pause(StatusModel):
    """What a paused run waits for."""

    kind: PauseKind = Field(description="Approval: a person's answer in spec.answers. Sleep: the time `until`.")
    name: str = Field(max_length=63, description="Name of the pause, which its answer carries.")
    message: str | None = Field(default=None, max_length=1024, description="What the flow asks, for people.")
    schema_: JsonObject | None = Field(
        alias="schema", default=None, description="JSON Schema of the answer's input. Absent: it takes none."
    )
    since: Instant = Field(description="When the attempt that paused ended.")
    until: Instant | None = Field(
        default=None, description="When a sleep is over, or an approval is waited for no longer. Absent: never."
    )
    problem: Message | None = Field(
        default=None, description="Why the answer that was given was refused. Absent: none was."
    )
    refused: str | None = Field(
        default=None, max_length=64, description="Fingerprint of the answer that was refused. Absent: none was."
    )


class OverDecision(StrEnum):
    """How a pause came to its end."""

    APPROVE = "Approve"
    REJECT = "Reject"
    TIMED_OUT = "TimedOut"
    ELAPSED = "Elapsed"


class PastPause(StatusModel):
    """A pause that is over; further attempts are told of it, and do not pause there again."""

    name: str = Field(max_length=63, description="Name of the pause.")
    decision: OverDecision = Field(
        description="Approve and Reject: what a person said. TimedOut: nobody did in time. Elapsed: a sleep is over."
    )
    input: JsonObject | None = Field(default=None, description="What the person gave. Absent: nothing.")
    comment: str | None = Field(default=None, max_length=MAX_COMMENT, description="Why, in the person's words.")
    since: Instant = Field(description="When the run began to wait.")
    at: Instant = Field(description="When the pause was over.")


class FlowRunStatus(StatusModel):
    """What the operator says about the run."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status speaks of."
    )
    phase: Phase | None = Field(default=None, description="Where the run is in its life. Absent: not yet looked at.")
    reason: ReasonText | None = Field(default=None, description="Why it is in this phase, in one CamelCase word.")
    message: Message | None = Field(default=None, description="Why, in a sentence that says what to do.")
    conditions: tuple[Condition, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Accepted: revision and parameters are settled. Admitted: it holds a slot, or what it waits for. "
        "Completed: it has reached its last phase.",
        json_schema_extra=keyed_by("type"),
    )
    flow_revision: str | None = Field(
        default=None, max_length=63, description="The Flow's revision that every attempt executes."
    )
    parameters: JsonObject | None = Field(
        default=None,
        description="The effective parameters: the Flow's defaults, the Deployment's and the run's, merged.",
    )
    pool: str | None = Field(
        default=None, max_length=63, description="The WorkPool of the latest attempt. Absent: none was used."
    )
    attempts: tuple[Attempt, ...] = Field(
        default_factory=tuple,
        max_length=MAX_ATTEMPTS,
        description="The pods of the run, oldest first.",
        json_schema_extra=keyed_by("number"),
    )
    next_attempt_at: Instant | None = Field(
        default=None, description="When the next attempt is due. Absent: none is waited for."
    )
    pause: Pause | None = Field(default=None, description="What the flow paused for. Absent: it does not wait.")
    answers: tuple[PastPause, ...] = Field(
        default_factory=tuple,
        max_length=MAX_PAUSES,
        description="The run's pauses that are over, oldest first, and how.",
        json_schema_extra=keyed_by("name"),
    )
    tasks: TaskCounts | None = Field(
        default=None, description="How the tasks of the last attempt ended. Absent: not reported."
    )
    result: RunResult | None = Field(
        default=None, description="What the flow returned. Absent: nothing, or not reported."
    )
    artifacts: tuple[Artifact, ...] = Field(
        default_factory=tuple,
        max_length=MAX_ARTIFACTS,
        description="What the flow left for people to look at, the latest last.",
        json_schema_extra=keyed_by("name"),
    )
    usage: Usage | None = Field(default=None, description="What the last attempt used. Absent: not reported.")
    cost: Cost | None = Field(
        default=None,
        description="What the attempts that ended have cost together. Absent: no price is known, or they are in several "
        "currencies.",
    )
    lineage: Lineage | None = Field(
        default=None, description="What its tasks have read and written, in all attempts. Absent: they do not say."
    )
    queued_at: Instant | None = Field(default=None, description="When the run was accepted.")
    started_at: Instant | None = Field(default=None, description="When its first attempt started.")
    finished_at: Instant | None = Field(default=None, description="When it reached its last phase.")


class FlowRun(CustomResource):
    """One execution of a Flow, by itself or under a Deployment's rules."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name: at most {MAX_NAME} characters, as pods carry it as a label",
            ),
            Rule(
                "!has(oldSelf.status) || !has(oldSelf.status.answers) || oldSelf.status.answers.all(over, "
                "(has(self.spec.answers) ? self.spec.answers.filter(a, a.name == over.name) : []) == "
                "(has(oldSelf.spec.answers) ? oldSelf.spec.answers.filter(a, a.name == over.name) : []))",
                "spec.answers: the answer to a pause that is over (status.answers) cannot be changed",
            ),
        )
    )
    resource: ClassVar[Resource] = FLOWRUNS
    selectable: ClassVar[tuple[str, ...]] = (".status.phase",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Of", "string", ".spec['deploymentRef','flowRef'].name", "The Deployment, or the Flow without one."),
        Column("Phase", "string", ".status.phase", "Where the run is in its life."),
        Column("Reason", "string", ".status.reason", "Why it is in this phase."),
        Column("Attempt", "integer", ".status.attempts[-1:].number", "The latest attempt, from 1."),
        Column("Started", "date", ".status.startedAt", "Time since its first attempt started."),
        Column("Finished", "date", ".status.finishedAt", "Time since it reached its last phase."),
        Column("Scheduled", "string", ".spec.scheduledTime", "The time that the run is for.", 1),
        Column("Revision", "string", ".status.flowRevision", "The Flow's revision.", 1),
        Column("Pool", "string", ".status.pool", "The WorkPool of the latest attempt.", 1),
        Column("Node", "string", ".status.attempts[-1:].node", "The node of the latest attempt.", 1),
        Column("Cost", "string", ".status.cost.amount", "What its attempts have cost.", 1),
        Column("Message", "string", ".status.message", "Why, in a sentence.", 1),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    )

    kind: Literal["FlowRun"] = "FlowRun"
    spec: FlowRunSpec = Field(description="What to execute. Only priority, cancel, suspend and answers may change.")
    status: FlowRunStatus | None = Field(
        default=None, description="What the operator says about the run.", json_schema_extra=ONE_WRITER
    )

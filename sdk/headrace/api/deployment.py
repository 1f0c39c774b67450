"""Deployment: when a Flow runs, with what, under which rules."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from headrace.api.budget import PeriodBudget, Spent
from headrace.api.common import (
    ATOMIC,
    DNS_LABEL,
    MAX_INT32,
    WEEK_S,
    ApiModel,
    Column,
    Count,
    CustomResource,
    EnvVar,
    FlowRef,
    InfrastructureRetryPolicy,
    Instant,
    JsonObject,
    LimitRef,
    Message,
    PoolChoice,
    Preemption,
    ReasonText,
    Resources,
    RetryPolicy,
    Rule,
    StatusModel,
    checked_by,
    keyed_by,
)
from headrace.api.conditions import Condition, Phase
from headrace.api.cronshape import CRON_RULES
from headrace.api.flow import MAX_TIMEOUT_S
from headrace.api.keys import DEPLOYMENTS, Resource
from headrace.api.timezone import TIME_ZONE_RULES
from headrace.api.trigger import MAX_TRIGGERS, Trigger

MAX_NAME = 40
MAX_SCHEDULE_NAME = 20
MAX_BOTH_NAMES = 47
"""Runs are named `<deployment>-<schedule>-<yyyymmddhhmmss>`, and a run's name ends at 63 characters."""
MAX_SCHEDULES = 64
MAX_ACTIVE_LISTED = 100
"""Runs that status.active names; status.activeCount counts them all."""

ScheduleName = Annotated[str, Field(min_length=1, max_length=MAX_SCHEDULE_NAME, pattern=DNS_LABEL)]


class Schedule(ApiModel):
    """Times at which runs start."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "[has(self.cron), has(self.intervalSeconds), has(self.rrule)].exists_one(given, given)",
                "cron: set exactly one of cron, intervalSeconds and rrule",
            ),
            Rule(
                "!has(self.anchor) || !has(self.cron)",
                "anchor: allowed only with intervalSeconds or rrule",
            ),
        )
    )

    name: ScheduleName = Field(
        description="Name of the schedule; the names of its runs contain it. Lower-case letters, digits and '-'."
    )
    cron: Annotated[str, Field(max_length=256)] | None = Field(
        default=None,
        description="Five fields (minute, hour, day of month, month, day of week) on the wall clock of timeZone, or "
        "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually.",
        json_schema_extra=checked_by(*CRON_RULES),
    )
    interval_seconds: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        default=None,
        description="Seconds from one time to the next, whatever clocks do.",
    )
    rrule: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None,
        description='A recurrence rule of RFC 5545 on the wall clock of timeZone, such as "FREQ=MONTHLY;BYDAY=-1FR".',
        json_schema_extra=checked_by(
            Rule(
                "self.matches(r'(^|[:;])FREQ=[A-Z]+')",
                'rrule: must contain FREQ=, such as "FREQ=MONTHLY;BYDAY=-1FR"',
            )
        ),
    )
    anchor: Instant | None = Field(
        default=None,
        description="A time that the schedule counts from, RFC 3339; only with intervalSeconds or rrule. "
        "Absent: 1970-01-01T00:00:00Z for intervalSeconds, 2000-01-01T00:00:00 in timeZone for rrule.",
    )
    time_zone: Annotated[str, Field(max_length=64)] = Field(
        default="Etc/UTC",
        description="IANA name of the time zone whose wall clock cron and rrule go by, such as Europe/London.",
        json_schema_extra=checked_by(*TIME_ZONE_RULES),
    )
    parameters: JsonObject | None = Field(
        default=None,
        description="Parameters of this schedule's runs, by name; they win over spec.parameters. Absent: none.",
    )
    suspend: bool = Field(default=False, description="true starts no runs from this schedule; the others go on.")
    jitter_seconds: int = Field(
        default=0,
        ge=0,
        le=WEEK_S,
        description="Runs start up to this many seconds late, each by its own fixed amount, to spread load.",
    )


class CatchUpPolicy(StrEnum):
    """What to do about times that were missed."""

    NONE = "None"
    LATEST = "Latest"
    ALL = "All"


class CatchUp(ApiModel):
    """What happens to times that passed while no run could be started."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule("!has(self.maxRuns) || self.policy == 'All'", "maxRuns: allowed only with policy All"),
        )
    )

    policy: CatchUpPolicy = Field(
        default=CatchUpPolicy.LATEST,
        description="None: missed times are passed over. Latest: the latest of them gets its run. "
        "All: each of them gets its run.",
    )
    max_runs: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        default=None,
        description="How many missed times get their run at most, the latest first; only with policy All. "
        "Absent: all of them.",
    )
    starting_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        default=None,
        description="A time missed by more than this many seconds gets no run. Absent: it is never too late.",
    )


class OnConflict(StrEnum):
    """What to do about a run that finds no free slot."""

    QUEUE = "Queue"
    SKIP = "Skip"
    REPLACE = "Replace"


class ConcurrencySpec(ApiModel):
    """How many runs of the Deployment may be active at once."""

    limit: int = Field(ge=1, le=MAX_INT32, description="Runs that may be active at once.")
    on_conflict: OnConflict = Field(
        default=OnConflict.QUEUE,
        description="What happens to a run that finds no free slot. Queue: it waits. Skip: it ends as Skipped. "
        "Replace: the oldest active run is cancelled for it.",
    )


class CircuitBreaker(ApiModel):
    """When a Deployment that keeps failing is given a rest."""

    failures: int = Field(ge=1, le=1000, description="Runs that fail or crash in a row before no more are started.")
    cooldown_seconds: int = Field(
        default=300,
        ge=1,
        le=WEEK_S,
        description="Seconds until one run tries whether it works again; if it fails, they begin anew.",
    )


class History(ApiModel):
    """Which finished runs are kept."""

    succeeded: int = Field(
        default=10,
        ge=0,
        le=MAX_INT32,
        description="How many runs that succeeded or were skipped are kept, the newest ones.",
    )
    failed: int = Field(
        default=10,
        ge=0,
        le=MAX_INT32,
        description="How many runs that failed, crashed or were cancelled are kept, the newest ones.",
    )
    ttl_seconds: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        default=None,
        description="Finished runs are removed after this many seconds, whatever the counts say. Absent: never.",
    )


class DeploymentSpec(ApiModel):
    """When, with what, under which rules. The fields that a Flow has too override the Flow's."""

    flow_ref: FlowRef = Field(description="The Flow to run; a revision pins it.")
    parameters: JsonObject | None = Field(
        default=None, description="Parameters by name; they win over the Flow's defaults. Absent: none."
    )
    priority: int = Field(
        default=0,
        ge=-MAX_INT32 - 1,
        le=MAX_INT32,
        description="Waiting runs of higher priority start first.",
        json_schema_extra={"format": "int32"},
    )
    schedules: tuple[Schedule, ...] = Field(
        default_factory=tuple,
        max_length=MAX_SCHEDULES,
        description="Times at which runs start. Absent: they are started by hand.",
        json_schema_extra=keyed_by("name"),
    )
    triggers: tuple[Trigger, ...] = Field(
        default_factory=tuple,
        max_length=MAX_TRIGGERS,
        description="Events that start runs, such as the end of another Deployment's run. Absent: none.",
        json_schema_extra=keyed_by("name"),
    )
    suspend: bool = Field(
        default=False,
        description="true starts no runs from schedules and triggers; after it, catchUp says what happens to the "
        "missed times. Missed events are not made up for.",
    )
    catch_up: CatchUp = Field(
        default=CatchUp(),
        description="What happens to times that passed while no run could be started. Absent: policy Latest.",
    )
    concurrency: ConcurrencySpec | None = Field(
        default=None, description="How many runs may be active at once. Absent: any number."
    )
    limits: tuple[LimitRef, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="ConcurrencyLimits beside the Flow's; one of the same name takes its place. Absent: the Flow's.",
        json_schema_extra=keyed_by("name"),
    )
    pools: PoolChoice | None = Field(
        default=None, description="In place of the Flow's pools, as a whole. Absent: the Flow's."
    )
    preemption: Preemption = Field(
        default=Preemption.NEVER,
        description="LowerPriority: where its runs find no place in a WorkPool or a ConcurrencyLimit, active runs of "
        "lower priority are ended for them, and wait for their turn again.",
    )
    circuit_breaker: CircuitBreaker | None = Field(
        default=None,
        description="When runs that keep failing are stopped for a while. Absent: never. Set anew, it counts anew.",
    )
    budget: PeriodBudget | None = Field(
        default=None, description="What its runs may cost in a day, a week or a month. Absent: anything."
    )
    history: History = Field(
        default=History(), description="Which finished runs are kept. Absent: 10 succeeded, 10 failed."
    )
    retries: RetryPolicy | None = Field(
        default=None, description="In place of the Flow's retries, as a whole. Absent: the Flow's."
    )
    infrastructure_retries: InfrastructureRetryPolicy | None = Field(
        default=None, description="In place of the Flow's infrastructureRetries, as a whole. Absent: the Flow's."
    )
    timeout_seconds: Annotated[int, Field(ge=1, le=MAX_TIMEOUT_S)] | None = Field(
        default=None, description="In place of the Flow's timeoutSeconds. Absent: the Flow's."
    )
    resources: Resources | None = Field(
        default=None, description="In place of the Flow's resources, as a whole. Absent: the Flow's."
    )
    env: tuple[EnvVar, ...] = Field(
        default_factory=tuple,
        max_length=256,
        description="Variables that are added to the Flow's; one of the same name takes its place. Absent: the Flow's.",
        json_schema_extra=keyed_by("name"),
    )
    pod_template: JsonObject | None = Field(
        default=None,
        description="metadata and spec that are merged into the pod after the Flow's podTemplate. Absent: the Flow's.",
    )


class ActiveRun(StatusModel):
    """A run that holds a slot."""

    name: str = Field(max_length=253, description="Name of the FlowRun.")
    uid: str = Field(max_length=64, description="UID of the FlowRun.")


class NextSchedule(StatusModel):
    """When a schedule fires next."""

    name: ScheduleName = Field(description="Name of the schedule.")
    time: Instant = Field(description="The next time for which it starts a run.")


class LastRun(StatusModel):
    """The run that finished last."""

    name: str = Field(max_length=253, description="Name of the FlowRun.")
    phase: Phase = Field(description="How it ended.")
    reason: ReasonText | None = Field(default=None, description="Why it ended so.")
    time: Instant = Field(description="When it ended.")


class ScheduleMemory(StatusModel):
    """What was already decided for one schedule: no time is decided twice."""

    name: ScheduleName = Field(description="Name of the schedule.")
    fingerprint: str = Field(max_length=64, description="Hash of its times; another one means that it was changed.")
    last_scheduled_time: Instant | None = Field(
        default=None, description="The last time that was decided: its run exists, or it was missed."
    )
    missed: Count = Field(default=0, description="Times that got no run, since the schedule was made.")
    last_missed_time: Instant | None = Field(default=None, description="The last time that got no run. Absent: none.")
    last_missed_reason: Message | None = Field(default=None, description="Why that time got no run.")


class CircuitState(StrEnum):
    """Whether runs are started."""

    CLOSED = "Closed"
    OPEN = "Open"
    HALF_OPEN = "HalfOpen"


class Circuit(StatusModel):
    """What the circuit breaker remembers."""

    state: CircuitState | None = Field(
        default=None,
        description="Closed: runs start. Open: none does until retryAt. HalfOpen: one run tries. "
        "Absent: spec.circuitBreaker is not set.",
    )
    retry_at: Instant | None = Field(
        default=None, description="From when on one run at a time tries again. Absent: it is closed."
    )
    counted_until: Instant | None = Field(
        default=None, description="Runs that ended before this are counted. Absent: none is."
    )
    counted: tuple[Annotated[str, Field(max_length=64)], ...] = Field(
        default_factory=tuple,
        max_length=1000,
        description="UIDs of the runs that ended at countedUntil or later and are counted.",
        json_schema_extra=ATOMIC,
    )
    reset: Annotated[str, Field(max_length=253)] | None = Field(
        default=None,
        description="The annotation headrace.dev/circuit-reset that was last honoured. Absent: there is none.",
    )


class DeploymentStatus(StatusModel):
    """What the operator says about the Deployment."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status speaks of."
    )
    conditions: tuple[Condition, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Ready: runs can be started. Scheduling: the schedules start runs. Triggering: the triggers "
        "start runs. CircuitOpen: it failed too often in a row and starts no runs. BudgetExceeded: spec.budget is spent.",
        json_schema_extra=keyed_by("type"),
    )
    active: tuple[ActiveRun, ...] = Field(
        default_factory=tuple,
        max_length=MAX_ACTIVE_LISTED,
        description="Runs that hold a slot, oldest first; the first 100 of activeCount.",
        json_schema_extra=keyed_by("name"),
    )
    active_count: Count = Field(default_factory=int, description="Runs that hold a slot.")
    queued_count: Count = Field(default_factory=int, description="Runs that wait for a slot.")
    next_schedules: tuple[NextSchedule, ...] = Field(
        default_factory=tuple,
        max_length=MAX_SCHEDULES,
        description="When each schedule starts its next run, soonest first.",
        json_schema_extra=keyed_by("name"),
    )
    last_run: LastRun | None = Field(default=None, description="The run that finished last. Absent: none yet.")
    consecutive_failures: Count = Field(
        default_factory=int,
        description="Runs that failed or crashed since the last one that succeeded, or since the circuit was closed "
        "by hand.",
    )
    circuit: Circuit | None = Field(
        default=None, description="What is remembered of runs that ended, for the circuit breaker. Absent: nothing yet."
    )
    spent: Spent | None = Field(
        default=None,
        description="What has been spent of spec.budget. Absent: there is none, or nothing is counted yet.",
    )
    schedules: tuple[ScheduleMemory, ...] = Field(
        default_factory=tuple,
        max_length=MAX_SCHEDULES,
        description="What was already decided for each schedule.",
        json_schema_extra=keyed_by("name"),
    )


class Deployment(CustomResource):
    """When a Flow runs, with what, under which rules. `kubectl get fdep`, as `deployments` are those of apps/v1."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name: at most {MAX_NAME} characters, as the names of runs derive from it",
            ),
            Rule(
                "!has(self.spec.schedules) || self.spec.schedules.all(schedule, "
                f"size(self.metadata.name) + size(schedule.name) <= {MAX_BOTH_NAMES})",
                f"spec.schedules: metadata.name and a schedule's name have at most {MAX_BOTH_NAMES} characters together, "
                "as the names of runs derive from both",
            ),
        )
    )
    resource: ClassVar[Resource] = DEPLOYMENTS
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Flow", "string", ".spec.flowRef.name", "The Flow that it runs."),
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether runs can be started."),
        Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why, or why not."),
        Column("Suspended", "boolean", ".spec.suspend", "Whether its schedules and triggers are held back."),
        Column("Next", "string", ".status.nextSchedules[0].time", "The next time for which it starts a run."),
        Column("Active", "integer", ".status.activeCount", "Runs that hold a slot."),
        Column("Queued", "integer", ".status.queuedCount", "Runs that wait for a slot."),
        Column("Last", "string", ".status.lastRun.phase", "How the last run ended."),
        Column("Circuit", "string", ".status.circuit.state", "Whether the circuit breaker lets runs start.", 1),
        Column("Failures", "integer", ".status.consecutiveFailures", "Runs that failed in a row.", 1),
        Column("Spent", "string", ".status.spent.amount", "What its runs have cost in its budget's period.", 1),
        Column("Last-Run", "string", ".status.lastRun.name", "The run that finished last.", 1),
        Column("Last-Reason", "string", ".status.lastRun.reason", "Why it ended so.", 1),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in a sentence.", 1),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    )

    kind: Literal["Deployment"] = "Deployment"
    spec: DeploymentSpec = Field(description="When the Flow runs, with what, under which rules.")
    status: DeploymentStatus | None = Field(default=None, description="What the operator says about the Deployment.")

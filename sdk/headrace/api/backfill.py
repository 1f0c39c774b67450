"""Backfill: many runs of one Deployment, one for each partition of a range, a list or a matrix."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from headrace.api.common import (
    ATOMIC,
    MAX_INT32,
    WEEK_S,
    ApiModel,
    Column,
    Count,
    CustomResource,
    Instant,
    JsonObject,
    JsonValue,
    LocalObjectRef,
    Message,
    ReasonText,
    Rule,
    StatusModel,
    checked_by,
    keyed_by,
)
from headrace.api.conditions import Condition
from headrace.api.cronshape import CRON_RULES
from headrace.api.keys import BACKFILLS, Resource
from headrace.api.money import CURRENCY, Amount, Cost
from headrace.api.timezone import TIME_ZONE_RULES

MAX_NAME = 32
"""Runs are named `<backfill>-<partition>`, with an attempt behind it, and a run's name ends at 63 characters."""
MAX_LIST = 5000
"""Partitions that a manifest can name one by one; larger ones are ranges or matrices."""
MAX_AXES = 8
MAX_AXIS = 2000
MAX_ACTIVE = 10_000
MAX_RETRY_GROUPS = 256
PARAMETER = r"^[A-Za-z_][A-Za-z0-9_]*$"
CLOCK = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"

ParameterName = Annotated[str, Field(min_length=1, max_length=63, pattern=PARAMETER)]


def kept(field: str) -> Rule:
    """The rule that a field stays as it was made, as the outcomes in the status are counted by it."""
    return Rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        f"{field}: cannot be changed after creation; create a new Backfill",
    )


class RangeParameters(ApiModel):
    """Which parameters of the flow get a partition's times."""

    start: ParameterName = Field(default="start", description="The parameter that gets the partition's start.")
    end: ParameterName = Field(default="end", description="The parameter that gets its end, which it does not contain.")


class PartitionRange(ApiModel):
    """A stretch of time, cut into steps."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "has(self.cron) != has(self.intervalSeconds)",
                "cron: set exactly one of cron and intervalSeconds",
            ),
            Rule("self.from < self.to", "to: must be later than from"),
        )
    )

    from_: Instant = Field(
        alias="from",
        description="Where the range begins, RFC 3339. With intervalSeconds the first partition starts here, with cron at "
        "the first of its times from here on.",
    )
    to: Instant = Field(description="Where the range ends, RFC 3339; no partition reaches beyond it.")
    cron: Annotated[str, Field(max_length=256)] | None = Field(
        default=None,
        description="The times at which partitions start, on the wall clock of timeZone, as in the schedules of a "
        "Deployment. A partition ends where the next one starts.",
        json_schema_extra=checked_by(*CRON_RULES),
    )
    interval_seconds: Annotated[int, Field(ge=1, le=MAX_INT32)] | None = Field(
        default=None, description="Length of a partition in seconds, whatever clocks do."
    )
    time_zone: Annotated[str, Field(max_length=64)] = Field(
        default="Etc/UTC",
        description="IANA name of the time zone whose wall clock cron goes by, such as Europe/London. Flows are told the "
        "times with its offset.",
        json_schema_extra=checked_by(*TIME_ZONE_RULES),
    )
    parameter_names: RangeParameters = Field(
        default=RangeParameters(),
        description="Which parameters of the flow get the times, as RFC 3339 with the offset of timeZone. "
        "Absent: start and end.",
    )


class ListedPartition(ApiModel):
    """One partition that is named by hand."""

    name: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None,
        description="Its name, which the names of its runs contain, as far as letters, digits and length allow. "
        "Absent: the values of its parameters.",
    )
    parameters: JsonObject | None = Field(
        default=None, description="Parameters of its run, by name; they win over spec.parameters. Absent: none."
    )


class MatrixAxis(ApiModel):
    """One parameter, and the values that it takes."""

    name: ParameterName = Field(description="The parameter.")
    values: tuple[JsonValue, ...] = Field(
        min_length=1,
        max_length=MAX_AXIS,
        description="Its values: texts, numbers, true or false; a time is a text.",
        json_schema_extra=ATOMIC,
    )


class PartitionSource(ApiModel):
    """What the partitions are: one of its fields."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "[has(self.range), has(self.list), has(self.matrix)].exists_one(given, given)",
                "partitions: set exactly one of range, list and matrix",
            )
        )
    )

    range: PartitionRange | None = Field(default=None, description="A stretch of time in steps, one partition each.")
    list_: tuple[ListedPartition, ...] | None = Field(
        default=None,
        alias="list",
        min_length=1,
        max_length=MAX_LIST,
        description="Partitions one by one.",
        json_schema_extra=ATOMIC,
    )
    matrix: tuple[MatrixAxis, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_AXES,
        description="One partition for each combination of values; the last axis changes fastest.",
        json_schema_extra=keyed_by("name"),
    )


class Order(StrEnum):
    """Which partitions go first."""

    OLDEST = "Oldest"
    NEWEST = "Newest"
    RANDOM = "Random"


class PartitionRetries(ApiModel):
    """What happens to a partition whose run failed for good, its own retries included."""

    limit: int = Field(default=0, ge=0, le=10, description="How many further runs it gets. 0: none.")
    delay_seconds: int = Field(
        default=60, ge=0, le=WEEK_S, description="Seconds from the end of a run to the next one of its partition."
    )


class Budget(ApiModel):
    """What the runs may cost together."""

    amount: Amount = Field(
        description="When the runs that are over and those under way have cost that much, no more are started."
    )
    currency: str = Field(
        default="USD", pattern=CURRENCY, description="Currency, as ISO 4217 writes it; that of the WorkPools' pricing."
    )


class Weekday(StrEnum):
    """A day of the week."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class Window(ApiModel):
    """The part of the day in which runs are started."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule("self.from != self.to", "to: must differ from from; leave the window out for the whole day"),
        )
    )

    from_: Annotated[str, Field(pattern=CLOCK)] = Field(
        alias="from", description='When it opens, on the wall clock of timeZone, such as "22:00".'
    )
    to: Annotated[str, Field(pattern=CLOCK)] = Field(
        description='When it closes, such as "06:00"; a time that is earlier than from is one of the next day.'
    )
    time_zone: Annotated[str, Field(max_length=64)] = Field(
        default="Etc/UTC",
        description="IANA name of the time zone of from and to, such as Europe/London.",
        json_schema_extra=checked_by(*TIME_ZONE_RULES),
    )
    days: tuple[Weekday, ...] = Field(
        default_factory=tuple,
        max_length=7,
        description="Days on which it opens. Absent: every day.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class BackfillSpec(ApiModel):
    """Which partitions, and how fast, how dear and how broken the whole may get."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            *map(kept, ("deploymentRef", "partitions", "order")),
            Rule(
                "self.rerunFailed >= oldSelf.rerunFailed",
                "rerunFailed: can only be raised; each number runs those that failed once more",
            ),
        )
    )

    deployment_ref: LocalObjectRef = Field(
        description="The Deployment to run, in the same namespace, under its rules. Immutable."
    )
    partitions: PartitionSource = Field(description="What the partitions are; each gets one run. Immutable.")
    parameters: JsonObject | None = Field(
        default=None,
        description="Parameters of every run, by name; they win over the Deployment's, and those of a partition win over "
        "them. A change holds for runs that are created after it. Absent: none.",
    )
    order: Order = Field(
        default=Order.OLDEST,
        description="Which partitions go first. Oldest: as they are written down. Newest: the other way round. "
        "Random: shuffled, the same way at every time. Immutable.",
    )
    max_active: int = Field(
        default=10, ge=1, le=MAX_ACTIVE, description="How many of its runs are there at once that have not ended."
    )
    rate_per_minute: Annotated[int, Field(ge=1, le=60_000)] | None = Field(
        default=None, description="How many runs are created within a minute at most. Absent: any number."
    )
    max_failures: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        default=None,
        description="When more partitions than that have failed, no more are started, and the Backfill fails when those "
        "under way have ended. 0: the first one that fails ends it. Absent: any number may fail.",
    )
    retries: PartitionRetries = Field(
        default=PartitionRetries(),
        description="Further runs for a partition whose run failed or crashed for good. Absent: none.",
    )
    budget: Budget | None = Field(default=None, description="What the runs may cost together. Absent: any amount.")
    window: Window | None = Field(
        default=None,
        description="The part of the day in which runs are started; those that run go on after it. Absent: at any time.",
    )
    priority: int | None = Field(
        default=None,
        ge=-MAX_INT32 - 1,
        le=MAX_INT32,
        description="Priority of its runs: waiting runs of higher priority start first. Absent: the Deployment's.",
        json_schema_extra={"format": "int32"},
    )
    suspend: bool = Field(default=False, description="true starts no more runs until it is false; running ones go on.")
    cancel: bool = Field(
        default=False,
        description="true starts no more runs and cancels those that have not ended. It cannot be taken back.",
        json_schema_extra=checked_by(
            Rule("self || !oldSelf", "cancel: cannot be taken back; create a new Backfill of what is left")
        ),
    )
    rerun_failed: int = Field(
        default=0,
        ge=0,
        le=99,
        description="Raise it by one to run all partitions that have failed once more, and no others.",
    )
    keep_failed: int = Field(
        default=20,
        ge=0,
        le=1000,
        description="How many FlowRuns of partitions that failed are kept to look at, the newest ones. All others go as "
        "soon as their outcome is in the status.",
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        default=None,
        description="The Backfill is removed this many seconds after its end, with its FlowRuns. Absent: never.",
    )


class BackfillPhase(StrEnum):
    """Where a Backfill is in its life."""

    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"

    @property
    def finished(self) -> bool:
        """Whether it is left only by a raised spec.rerunFailed."""
        return self in {BackfillPhase.SUCCEEDED, BackfillPhase.FAILED, BackfillPhase.CANCELLED}


Positions = Annotated[str, Field(max_length=16_384)]


class PartitionOutcomes(StatusModel):
    """
    Which partitions ended how, by their position in the order of running: 0 is the one that goes first.

    Readable as long as there are few runs of neighbours ("0-1999,2002"); else `packed` has all of it, in the form
    that headrace.backfills.outcomes describes.
    """

    succeeded: Positions | None = Field(
        default=None, description="Positions of partitions that succeeded. Absent: none did, or `packed` tells."
    )
    failed: Positions | None = Field(
        default=None,
        description="Positions of partitions that failed, retries included, or whose run was skipped or replaced.",
    )
    cancelled: Positions | None = Field(default=None, description="Positions of partitions whose runs were cancelled.")
    again: Positions | None = Field(
        default=None, description="Positions of partitions that failed and are run once more, by spec.rerunFailed."
    )
    packed: Annotated[str, Field(max_length=1_048_576)] | None = Field(
        default=None, description="All of that, packed, in place of the other fields. Absent: they are readable."
    )


class RetryGroup(StatusModel):
    """Partitions whose run failed, and that get another one."""

    attempt: int = Field(ge=2, description="Which run of its partition the next one is, from 2.")
    not_before: Instant = Field(description="When the next run is due.")
    positions: Positions = Field(description='Positions of these partitions, as in "3,17-19".')


class RateMark(StatusModel):
    """How far it was at an instant."""

    at: Instant = Field(description="The instant.")
    over: Count = Field(description="Partitions that were over then.")


class BackfillStatus(StatusModel):
    """What the operator says about the Backfill."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status speaks of."
    )
    phase: BackfillPhase | None = Field(
        default=None,
        description="Where it is in its life. Waiting: for its window, its Deployment or the history store. Paused: "
        "spec.suspend. Absent: not yet looked at.",
    )
    reason: ReasonText | None = Field(default=None, description="Why it is in this phase, in one CamelCase word.")
    message: Message | None = Field(default=None, description="Why, in a sentence that says what to do.")
    conditions: tuple[Condition, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Ready: its runs can be created. Completed: every partition is over, or no more are started.",
        json_schema_extra=keyed_by("type"),
    )
    total: Count | None = Field(default=None, description="Partitions that there are. Absent: not yet counted.")
    succeeded: Count = Field(default_factory=int, description="Partitions that succeeded.")
    failed: Count = Field(
        default_factory=int,
        description="Partitions that failed, retries included, or whose run was skipped or replaced.",
    )
    cancelled: Count = Field(default_factory=int, description="Partitions whose runs were cancelled.")
    active: Count = Field(default_factory=int, description="Partitions whose run has not ended.")
    pending: Count = Field(
        default_factory=int, description="Partitions that have no run yet, or wait for another one after a failure."
    )
    outcomes: PartitionOutcomes | None = Field(
        default=None, description="Which partitions ended how. Absent: none yet."
    )
    retrying: tuple[RetryGroup, ...] = Field(
        default_factory=tuple,
        max_length=MAX_RETRY_GROUPS,
        description="Partitions whose run failed and that get another one.",
        json_schema_extra=ATOMIC,
    )
    rerun_failed: Count = Field(default_factory=int, description="The spec.rerunFailed that was carried out last.")
    progress: Annotated[str, Field(max_length=8)] | None = Field(
        default=None, description='Partitions that are over, of all, as in "43%". Absent: not yet counted.'
    )
    rate_per_minute: float | None = Field(
        default=None, ge=0, description="Partitions that ended in a minute, of late. Absent: none did."
    )
    rate_marks: tuple[RateMark, ...] = Field(
        default_factory=tuple,
        max_length=8,
        description="How far it was in the last minutes, one entry a minute: what ratePerMinute is measured by.",
        json_schema_extra=ATOMIC,
    )
    eta: Instant | None = Field(
        default=None,
        description="When it will be over at this rate. Absent: it is over, waits, or the rate is unknown.",
    )
    cost: Cost | None = Field(
        default=None, description="What the runs that ended have cost. Absent: their WorkPools have no price."
    )
    projected_cost: Cost | None = Field(
        default=None, description="What all of it will cost, at the mean of the runs that ended. Absent: as for cost."
    )
    started_at: Instant | None = Field(default=None, description="When its first run was created.")
    finished_at: Instant | None = Field(default=None, description="When it ended. Absent: it has not.")


class Backfill(CustomResource):
    """Many runs of one Deployment, one for each partition, created as there is room for them."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name: at most {MAX_NAME} characters, as the names of runs derive from it",
            )
        )
    )
    resource: ClassVar[Resource] = BACKFILLS
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Phase", "string", ".status.phase", "Where it is in its life."),
        Column("Progress", "string", ".status.progress", "Partitions that are over, of all."),
        Column("Succeeded", "integer", ".status.succeeded", "Partitions that succeeded."),
        Column("Failed", "integer", ".status.failed", "Partitions that failed."),
        Column("Active", "integer", ".status.active", "Partitions whose run has not ended."),
        Column("Rate", "number", ".status.ratePerMinute", "Partitions that ended in a minute, of late."),
        Column("ETA", "string", ".status.eta", "When it will be over at this rate."),
        Column("Cost", "string", ".status.cost.amount", "What the runs that ended have cost."),
        Column("Projected", "string", ".status.projectedCost.amount", "What all of it will cost."),
        Column("Of", "string", ".spec.deploymentRef.name", "The Deployment that it runs.", 1),
        Column("Reason", "string", ".status.reason", "Why it is in this phase.", 1),
        Column("Total", "integer", ".status.total", "Partitions that there are.", 1),
        Column("Pending", "integer", ".status.pending", "Partitions that have no run yet.", 1),
        Column("Cancelled", "integer", ".status.cancelled", "Partitions whose runs were cancelled.", 1),
        Column("Currency", "string", ".status.cost.currency", "Currency of the costs.", 1),
        Column("Message", "string", ".status.message", "Why, in a sentence.", 1),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    )

    kind: Literal["Backfill"] = "Backfill"
    spec: BackfillSpec = Field(description="Which partitions, and how fast, how dear and how broken the whole may get.")
    status: BackfillStatus | None = Field(default=None, description="What the operator says about the Backfill.")

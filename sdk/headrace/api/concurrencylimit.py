"""ConcurrencyLimit: how many at once, across the whole cluster."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from headrace.api.common import (
    MAX_SLOTS,
    ApiModel,
    Column,
    Count,
    CustomResource,
    Instant,
    LabelSelector,
    Rule,
    StatusModel,
    checked_by,
    keyed_by,
)
from headrace.api.conditions import Condition
from headrace.api.keys import CONCURRENCYLIMITS, Resource

MAX_NAME = 63
"""Slots carry their limit's name as a label value."""
MAX_HOLDERS_LISTED = 100
"""Holders that status.holders names; status.active counts them all."""
DAY_S = 24 * 3600


class RateSpec(ApiModel):
    """How many may start in a stretch of time."""

    count: int = Field(ge=1, le=1000, description="Starts that are allowed within any perSeconds seconds.")
    per_seconds: int = Field(default=60, ge=1, le=DAY_S, description="Length of the stretch in seconds.")


class ConcurrencyLimitSpec(ApiModel):
    """What it allows."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule("has(self.slots) || has(self.rate)", "slots: set slots, rate, or both"),
        )
    )

    slots: Annotated[int, Field(ge=0, le=MAX_SLOTS)] | None = Field(
        default=None,
        description="How many slots may be held at once. 0 lets nothing start. Absent: any number; rate bounds the starts.",
    )
    rate: RateSpec | None = Field(
        default=None,
        description="How many runs, or tasks that ask for it, may start in a stretch of time. Absent: any number.",
    )
    lease_duration_seconds: int = Field(
        default=60,
        ge=5,
        le=3600,
        description="A task that holds a slot renews it; one that has not for this many seconds loses it. "
        "The slots of runs do not expire: they are held until the run is over.",
    )
    selector: LabelSelector | None = Field(
        default=None,
        description="FlowRuns that are held to the limit without naming it, one slot each, by their labels, those of "
        "their Deployment and those of their Flow. Absent: only those that name it.",
    )


class SlotHolder(StatusModel):
    """A slot that is held."""

    slot: str = Field(max_length=253, description="Name of the slot's Lease, in the operator's namespace.")
    holder: str = Field(max_length=512, description="Who holds it: run/<namespace>/<name> or pod/<namespace>/<name>.")
    since: Instant | None = Field(default=None, description="Since when.")


class ConcurrencyLimitStatus(StatusModel):
    """What the operator says about the limit."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status speaks of."
    )
    active: Count = Field(default_factory=int, description="Slots that are held.")
    waiting: Count = Field(default_factory=int, description="Runs that wait for its slots or its rate.")
    saturated_since: Instant | None = Field(
        default=None,
        description="Since when all of its slots have been taken while runs wait for it. Absent: they are not, or "
        "nobody waits.",
    )
    holders: tuple[SlotHolder, ...] = Field(
        default_factory=tuple,
        max_length=MAX_HOLDERS_LISTED,
        description="The slots that are held, and by whom; the first 100 of active.",
        json_schema_extra=keyed_by("slot"),
    )
    conditions: tuple[Condition, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Ready: no more slots are held than there are.",
        json_schema_extra=keyed_by("type"),
    )


class ConcurrencyLimit(CustomResource):
    """How many runs and tasks may be under way at once, and how often they may start, in the whole cluster."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name: at most {MAX_NAME} characters, as slots carry it as a label",
            )
        )
    )
    resource: ClassVar[Resource] = CONCURRENCYLIMITS
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Used", "integer", ".status.active", "Slots that are held."),
        Column("Slots", "integer", ".spec.slots", "Slots that there are; empty for any number."),
        Column("Waiting", "integer", ".status.waiting", "Runs that wait for it."),
        Column("Rate", "integer", ".spec.rate.count", "Starts that are allowed within Per seconds."),
        Column("Per", "integer", ".spec.rate.perSeconds", "Seconds."),
        Column(
            "Ready",
            "string",
            '.status.conditions[?(@.type=="Ready")].status',
            "Whether no more is held than there is.",
            1,
        ),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in a sentence.", 1),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    )

    kind: Literal["ConcurrencyLimit"] = "ConcurrencyLimit"
    spec: ConcurrencyLimitSpec = Field(description="What it allows.")
    status: ConcurrencyLimitStatus | None = Field(default=None, description="What the operator says about the limit.")

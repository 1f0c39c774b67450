"""WorkPool: where runs go."""

from __future__ import annotations

from collections.abc import Mapping
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
    JsonObject,
    LabelSelector,
    ObjectName,
    Preemption,
    Quantity,
    Rule,
    StatusModel,
    checked_by,
    keyed_by,
)
from headrace.api.conditions import Condition
from headrace.api.keys import WORKPOOLS, Resource

MAX_NAME = 63
"""Pods carry their pool's name as a label value."""

Price = Annotated[float, Field(ge=0, le=1e6)]


class PoolCapacity(ApiModel):
    """Caps over the whole cluster."""

    runs: Annotated[int, Field(ge=0, le=MAX_INT32)] | None = Field(
        default=None, description="Runs whose pods may be in the pool at once. 0 lets none in. Absent: any number."
    )
    resources: Mapping[str, Quantity] = Field(
        default_factory=dict,
        max_length=32,
        description="What the pods in the pool may ask for together, by resource name. Absent: any amount.",
    )


class Pricing(ApiModel):
    """What the pool costs; the cheapest pool that fits a run is taken."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "has(self.perHour) != (has(self.cpuHour) || has(self.memoryGiBHour) || has(self.gpuHour))",
                "perHour: set perHour (a whole node), or cpuHour, memoryGiBHour and gpuHour",
            )
        )
    )

    currency: str = Field(default="USD", pattern="^[A-Z]{3}$", description="Currency, as ISO 4217 writes it.")
    per_hour: Price | None = Field(
        default=None,
        description="Price of a node for an hour; a run pays its largest share of maxPodResources. Absent: by resource.",
    )
    cpu_hour: Price | None = Field(default=None, description="Price of a core for an hour. Absent: 0.")
    memory_gib_hour: Price | None = Field(
        default=None, alias="memoryGiBHour", description="Price of a GiB of memory for an hour. Absent: 0."
    )
    gpu_hour: Price | None = Field(
        default=None, description="Price of a GPU (resources that end in /gpu) for an hour. Absent: 0."
    )


class WorkPoolSpec(ApiModel):
    """Which nodes, what fits on them, what they cost, who may use them."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "!has(self.pricing) || !has(self.pricing.perHour) || has(self.maxPodResources)",
                "pricing.perHour: needs maxPodResources, of which a run pays its share",
            )
        )
    )

    node_selector: Mapping[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict, max_length=32, description="Labels of the pool's nodes. Absent: all nodes."
    )
    tolerations: tuple[JsonObject, ...] = Field(
        default_factory=tuple,
        max_length=32,
        description="Taints of its nodes that its pods bear, as in a pod. Absent: none.",
        json_schema_extra=ATOMIC,
    )
    affinity: JsonObject | None = Field(default=None, description="Affinity of its pods, as in a pod. Absent: none.")
    runtime_class_name: ObjectName | None = Field(default=None, description="RuntimeClass of its pods. Absent: none.")
    priority_class_name: ObjectName | None = Field(
        default=None, description="PriorityClass of its pods, for the scheduler. Absent: the cluster's default."
    )
    spot: bool = Field(
        default=False,
        description="true: its nodes can be reclaimed at any time. Runs that lost an attempt so prefer other pools.",
    )
    max_pod_resources: Mapping[str, Quantity] | None = Field(
        default=None,
        min_length=1,
        max_length=32,
        description="The largest pod that its machine type takes, by resource name; a resource that is not named, other "
        "than cpu, memory and ephemeral-storage, is not there. Absent: any pod fits that asks for those three only.",
    )
    capacity: PoolCapacity | None = Field(
        default=None, description="Caps over the whole cluster; runs queue when they are reached. Absent: none."
    )
    pricing: Pricing | None = Field(
        default=None, description="What it costs. Absent: unknown; it is taken after the pools with a price."
    )
    namespaces: LabelSelector | None = Field(
        default=None, description="Namespaces that may use it, by their labels. Absent: all."
    )
    schedule_timeout_seconds: int = Field(
        default=300,
        ge=1,
        le=WEEK_S,
        description="A pod that found no node for this many seconds is taken back, and the run goes to the next pool "
        "that fits, if there is one.",
    )
    preemption: Preemption = Field(
        default=Preemption.NEVER,
        description="LowerPriority: where a run finds the pool full, active runs of lower priority are ended for it, "
        "and wait for their turn again.",
    )


class NodeCount(StatusModel):
    """The nodes of a pool."""

    total: Count = Field(default_factory=int, description="Nodes that nodeSelector picks.")
    ready: Count = Field(default_factory=int, description="Those of them that are ready and take pods.")


class WorkPoolStatus(StatusModel):
    """What the operator says about the pool."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status speaks of."
    )
    active: Count = Field(default_factory=int, description="Runs whose pods are in the pool.")
    queued: Count = Field(default_factory=int, description="Runs that wait for the pool.")
    requested: Mapping[str, Quantity] = Field(
        default_factory=dict, max_length=32, description="What the pods in the pool ask for together, by resource name."
    )
    nodes: NodeCount = Field(default_factory=NodeCount, description="Its nodes.")
    conditions: tuple[Condition, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Ready: nodes of the pool are ready.",
        json_schema_extra=keyed_by("type"),
    )


class WorkPool(CustomResource):
    """Nodes of one kind: which they are, what fits on them, what they cost, who may use them."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name: at most {MAX_NAME} characters, as pods carry it as a label",
            )
        )
    )
    resource: ClassVar[Resource] = WORKPOOLS
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether its nodes can take pods."),
        Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', "Why, or why not."),
        Column("Active", "integer", ".status.active", "Runs whose pods are in the pool."),
        Column("Queued", "integer", ".status.queued", "Runs that wait for the pool."),
        Column("Max-Runs", "integer", ".spec.capacity.runs", "Runs that may be in the pool at once."),
        Column("Nodes", "integer", ".status.nodes.ready", "Nodes that are ready."),
        Column("Spot", "boolean", ".spec.spot", "Whether its nodes can be reclaimed.", 1),
        Column("CPU", "string", ".status.requested.cpu", "CPU that its pods ask for together.", 1),
        Column("Memory", "string", ".status.requested.memory", "Memory that its pods ask for together.", 1),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in a sentence.", 1),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    )

    kind: Literal["WorkPool"] = "WorkPool"
    spec: WorkPoolSpec = Field(description="Which nodes, what fits on them, what they cost, who may use them.")
    status: WorkPoolStatus | None = Field(default=None, description="What the operator says about the pool.")

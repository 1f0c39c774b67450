"""
What the kinds share: the base models, the scalar types, and how schema facts that JSON Schema lacks are declared.

A default given as `default=` is a default of the API too: the API server writes it into the object. One given
as `default_factory=` is how Python reads an absent field, and is not stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from headrace.api.keys import API_VERSION, Resource

MAX_INT32 = 2**31 - 1
WEEK_S = 7 * 24 * 3600
MAX_SLOTS = 1000
"""Each slot of a ConcurrencyLimit is an object in the API."""
DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
QUANTITY = r"^([0-9]+(\.[0-9]*)?|\.[0-9]+)(([KMGTPE]i)|[numkMGTPE]|[eE][+-]?[0-9]+)?$"


class Rule(NamedTuple):
    """A CEL rule that the API server checks; the message starts with the field and says the rule."""

    rule: str
    message: str


class Column(NamedTuple):
    """A column of `kubectl get`; priority 1 shows with `-o wide` only."""

    name: str
    type: Literal["string", "integer", "number", "boolean", "date"]
    json_path: str
    description: str
    priority: int = 0


def checked_by(*rules: Rule) -> JsonDict:
    """The schema extension that has the API server check these rules."""
    return {"x-kubernetes-validations": [rule._asdict() for rule in rules]}


def keyed_by(key: str) -> JsonDict:
    """The schema extension of a list whose items are told apart by `key`: server-side apply merges them."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


ATOMIC: JsonDict = {"x-kubernetes-list-type": "atomic"}
"""The schema extension of a list that is replaced as a whole."""

SET: JsonDict = {"x-kubernetes-list-type": "set"}
"""The schema extension of a list of names, each of which is there once: server-side apply merges them."""

ONE_WRITER: JsonDict = {"x-kubernetes-map-type": "atomic"}
"""
The schema extension of an object that one program writes: managedFields name who did, and not each field of it.

Those were half of what the API server stores of a FlowRun, and a tenth of what a patch of its status costs it (docs/benchmarks.md).
"""

OPAQUE_OBJECT: JsonDict = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f'"{value.isoformat()}" is before the year 1 or after 9999 in UTC') from error


Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""Aware, in UTC; RFC 3339 in JSON."""

JsonObject = Annotated[Mapping[str, Any], WithJsonSchema(OPAQUE_OBJECT)]
"""Any JSON object; the API server keeps it as it is."""

JsonValue = Annotated[Any, WithJsonSchema({"x-kubernetes-preserve-unknown-fields": True})]
"""Any JSON value; the API server keeps it as it is."""

Quantity = Annotated[
    Annotated[int, Field(ge=0)] | Annotated[str, Field(pattern=QUANTITY, max_length=64)],
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "maxLength": 64,
            "minimum": 0,
            "pattern": QUANTITY,
            "x-kubernetes-int-or-string": True,
        }
    ),
]
"""An amount as Kubernetes writes it: 2, "500m", "4Gi"."""

LimitName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_SUBDOMAIN)]
"""Slots carry their limit's name as a label value."""
PoolName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_SUBDOMAIN)]
"""Pods carry their pool's name as a label value."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
RevisionName = Annotated[str, Field(min_length=1, max_length=63, pattern=DNS_LABEL)]
Text = Annotated[str, Field(max_length=32768)]
ReasonText = Annotated[str, Field(max_length=128)]
Message = Annotated[str, Field(max_length=4096)]
Count = Annotated[int, Field(ge=0)]


class ApiModel(BaseModel):
    """Base of every part of a resource: immutable, camelCase outside, snake_case inside."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True, extra="forbid")

    def to_api(self) -> dict[str, Any]:
        """The object as JSON types, keys in camelCase; what is absent or as by default is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)


class StatusModel(ApiModel):
    """Base of what the operator writes: fields that a newer one wrote are passed over, not refused."""

    model_config = ConfigDict(extra="ignore")


class ObjectMeta(ApiModel):
    """The metadata that is read here; all the rest is carried along."""

    model_config = ConfigDict(extra="allow")

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: Instant | None = None
    deletion_timestamp: Instant | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()


class CustomResource(ApiModel):
    """Base of the kinds. `columns` are those of `kubectl get`, `selectable` the JSON paths of field selectors."""

    resource: ClassVar[Resource]
    columns: ClassVar[tuple[Column, ...]]
    selectable: ClassVar[tuple[str, ...]] = ()

    api_version: Literal["headrace.dev/v1alpha1"] = API_VERSION
    metadata: ObjectMeta

    def to_api(self) -> dict[str, Any]:
        """As for every model, with apiVersion and kind."""
        return {"apiVersion": API_VERSION, "kind": self.resource.kind, **super().to_api()}


class RetryPolicy(ApiModel):
    """When and how often a failed attempt is tried again: delay x factor^(failures-1), bounded, with jitter."""

    limit: int = Field(
        default=0,
        ge=0,
        le=100,
        description="How often to try again after the first attempt. 0: never.",
    )
    delay_seconds: int = Field(
        default=10,
        ge=0,
        le=WEEK_S,
        description="Seconds to wait before the second attempt.",
    )
    factor: float = Field(
        default=2,
        ge=1,
        le=100,
        description="Each further wait is this many times the one before. 1: all waits are equal.",
    )
    max_delay_seconds: int = Field(
        default=3600,
        ge=0,
        le=WEEK_S,
        description="No wait is longer than this many seconds, jitter aside.",
    )
    jitter: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Each wait is moved at random by up to this share of itself, up or down. 0: not at all.",
    )


class InfrastructureRetryPolicy(RetryPolicy):
    """As RetryPolicy, for endings that the flow is not to blame for."""

    limit: int = Field(
        default=3,
        ge=0,
        le=100,
        description="How often to try again after an ending that the flow is not to blame for. 0: never.",
    )
    delay_seconds: int = Field(
        default=5,
        ge=0,
        le=WEEK_S,
        description="Seconds to wait before the next attempt.",
    )
    memory_factor: float = Field(
        default=1.5,
        ge=1,
        le=10,
        description="After an OOM kill the next attempt asks for this many times the memory, request and limit. "
        "1: for the same.",
    )
    max_memory: Quantity | None = Field(
        default=None,
        description="The next attempt after an OOM kill asks for no more memory than this. Absent: four times what "
        "the first one asked for.",
    )


class PullPolicy(StrEnum):
    """When a node pulls an image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Resources(ApiModel):
    """What the flow's container asks for and may use."""

    requests: Mapping[str, Quantity] = Field(
        default_factory=dict,
        max_length=32,
        description="What the scheduler sets aside, by resource name, such as cpu, memory or nvidia.com/gpu. "
        "Absent: the limits.",
    )
    limits: Mapping[str, Quantity] = Field(
        default_factory=dict,
        max_length=32,
        description="What the container may use at most, by resource name. More memory ends it as OOMKilled. "
        "Absent: no limit.",
    )


class EnvVar(ApiModel):
    """One environment variable of the flow's container."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "!(has(self.value) && has(self.valueFrom))",
                "value: set value or valueFrom, not both",
            )
        )
    )

    name: str = Field(min_length=1, max_length=256, pattern=r"^[^=]+$", description="Name of the variable.")
    value: Text | None = Field(default=None, description="Its value. Absent, without valueFrom: empty.")
    value_from: JsonObject | None = Field(
        default=None,
        description="Where the value comes from, as in a container: secretKeyRef, configMapKeyRef, fieldRef "
        "or resourceFieldRef.",
    )


class LocalObjectRef(ApiModel):
    """An object in the same namespace."""

    name: ObjectName = Field(description="Name of the object, in the same namespace.")


class FlowRef(ApiModel):
    """A Flow in the same namespace."""

    name: ObjectName = Field(description="Name of the Flow, in the same namespace.")
    revision: RevisionName | None = Field(
        default=None,
        description="The revision of the Flow to run, as its status.revision said. Absent: the latest.",
    )


class Selection(StrEnum):
    """How a label's value is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class LabelRequirement(ApiModel):
    """One requirement of a label selector."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                "values: required with the operators In and NotIn, and allowed with no other",
            )
        )
    )

    key: str = Field(min_length=1, max_length=317, description="Key of the label.")
    operator: Selection = Field(description="How its value is compared.")
    values: tuple[Annotated[str, Field(max_length=63)], ...] = Field(
        default_factory=tuple,
        max_length=64,
        description="Values to compare with. Absent: none.",
        json_schema_extra=ATOMIC,
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels satisfy it, as Kubernetes defines it: NotIn holds for an absent key."""
        match self.operator:
            case Selection.IN:
                return labels.get(self.key) in self.values
            case Selection.NOT_IN:
                return labels.get(self.key) not in self.values
            case Selection.EXISTS:
                return self.key in labels
            case Selection.DOES_NOT_EXIST:
                return self.key not in labels


class LabelSelector(ApiModel):
    """Objects whose labels satisfy every requirement; an empty selector picks all."""

    match_labels: Mapping[str, Annotated[str, Field(max_length=63)]] = Field(
        default_factory=dict, max_length=32, description="Labels that must be there with these values. Absent: none."
    )
    match_expressions: tuple[LabelRequirement, ...] = Field(
        default_factory=tuple,
        max_length=32,
        description="Further requirements. Absent: none.",
        json_schema_extra=ATOMIC,
    )

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is picked."""
        exact = all(labels.get(key) == value for key, value in self.match_labels.items())
        return exact and all(requirement.matches(labels) for requirement in self.match_expressions)


class LimitRef(ApiModel):
    """A ConcurrencyLimit that runs are held to."""

    name: LimitName = Field(description="Name of the ConcurrencyLimit.")
    slots: int = Field(
        default=1, ge=1, le=MAX_SLOTS, description="How many of its slots one run holds, from its launch to its end."
    )


class SpotUse(StrEnum):
    """Whether runs may be placed on nodes that can be reclaimed."""

    ALLOWED = "Allowed"
    FORBIDDEN = "Forbidden"


class PoolChoice(ApiModel):
    """The WorkPools that runs may use; the cheapest of them that fits is taken."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "!(has(self.names) && size(self.names) > 0 && has(self.selector))",
                "names: set names or selector, not both",
            )
        )
    )

    names: tuple[PoolName, ...] = Field(
        default_factory=tuple,
        max_length=64,
        description="Names of the WorkPools that are allowed. Absent: selector says it.",
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    selector: LabelSelector | None = Field(
        default=None, description="WorkPools that are allowed, by their labels. Absent: all."
    )
    spot: SpotUse = Field(
        default=SpotUse.ALLOWED, description="Forbidden: no pool whose nodes can be reclaimed (spec.spot)."
    )

    def allows(self, name: str, labels: Mapping[str, str], *, spot: bool) -> bool:
        """Whether a WorkPool of this name, with these labels, may be used."""
        if spot and self.spot is SpotUse.FORBIDDEN:
            return False
        if self.names:
            return name in self.names
        return self.selector is None or self.selector.matches(labels)


class Preemption(StrEnum):
    """Whether runs of lower priority are ended to make room."""

    NEVER = "Never"
    LOWER_PRIORITY = "LowerPriority"

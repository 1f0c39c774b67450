"""Sources of an Automation's events beside runs, Deployments and requests: limits, metrics, and Events of Kubernetes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from headrace.api.common import SET, WEEK_S, ApiModel, ObjectName, Rule, checked_by

DAY_S = 24 * 3600
HTTP_URL = r"^https?://[^\s{}]+$"
EVENT_REASON = r"^[A-Z][A-Za-z0-9]*$"

SecretKeyName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Word = Annotated[str, Field(min_length=1, max_length=128)]


class SecretKey(ApiModel):
    """One key of a Secret in the same namespace."""

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")
    key: SecretKeyName = Field(description="The key of its data.")


class OnLimitSaturated(ApiModel):
    """All slots of a ConcurrencyLimit have been taken for some time, and runs wait for them."""

    limits: tuple[ObjectName, ...] | None = Field(
        default=None,
        max_length=64,
        description="Names of the ConcurrencyLimits. Absent: those that runs of the namespace hold or wait for.",
        json_schema_extra=SET,
    )
    after_seconds: int = Field(ge=1, le=WEEK_S, description="For how many seconds they have been.")


class OnMetric(ApiModel):
    """A series of a PromQL query is above, or below, a threshold."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule("has(self.url) != has(self.urlFrom)", "url: set exactly one of url and urlFrom"),
            Rule("has(self.above) != has(self.below)", "above: set exactly one of above and below"),
        )
    )

    url: Annotated[str, Field(max_length=2048, pattern=HTTP_URL)] | None = Field(
        default=None,
        description="Where the API of Prometheus is, without /api/v1: http://prometheus.monitoring:9090. Absent: urlFrom.",
    )
    url_from: SecretKey | None = Field(default=None, description="The URL, where it is a secret itself. Absent: url.")
    token_from: SecretKey | None = Field(
        default=None, description="What is sent as Authorization: Bearer. Absent: nothing is."
    )
    query: Annotated[str, Field(min_length=1, max_length=2048)] = Field(
        description="An instant query. Each series of its answer is looked at by itself."
    )
    above: float | None = Field(default=None, description="A value above this one is an event. Absent: below is set.")
    below: float | None = Field(default=None, description="A value below this one is an event. Absent: above is set.")
    for_seconds: int = Field(
        default=0,
        ge=0,
        le=DAY_S,
        description="For how many seconds each answer must have been so before it is an event.",
    )
    every_seconds: int = Field(default=60, ge=15, le=3600, description="How many seconds lie between two queries.")


class KubernetesEventType(StrEnum):
    """The type of an Event, as Kubernetes has it."""

    WARNING = "Warning"
    NORMAL = "Normal"


class OnKubernetesEvent(ApiModel):
    """Kubernetes, or a controller, has told something of an object of the namespace."""

    type: KubernetesEventType = Field(default=KubernetesEventType.WARNING, description="Type of the Event.")
    reasons: tuple[Word, ...] | None = Field(
        default=None, max_length=64, description="Its reasons, such as BackOff. Absent: any.", json_schema_extra=SET
    )
    kinds: tuple[Word, ...] | None = Field(
        default=None,
        max_length=64,
        description="Kinds of the object that it is about, such as Pod. Absent: any.",
        json_schema_extra=SET,
    )
    api_version: Word | None = Field(
        default=None, description="API version of the object, such as apps/v1. Absent: any."
    )
    names: tuple[ObjectName, ...] | None = Field(
        default=None, max_length=64, description="Names of the object. Absent: any.", json_schema_extra=SET
    )

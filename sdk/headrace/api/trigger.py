"""Triggers of Deployments: events that start runs, each kept by an Automation of its own."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from headrace.api.automation import DEFAULT_WINDOW_S, EventSource, Expression, FiringRate, Window
from headrace.api.common import ATOMIC, DNS_LABEL, JsonObject, Rule, checked_by

MAX_TRIGGERS = 16
MAX_TRIGGER_NAME = 20
"""With the Deployment's name before it, it is the name of an Automation: 61 of 63 characters."""

SOURCES = tuple(to_camel(name) for name in EventSource.model_fields)

TriggerName = Annotated[str, Field(min_length=1, max_length=MAX_TRIGGER_NAME, pattern=DNS_LABEL)]


class Trigger(EventSource):
    """Something that starts a run when it happens: the events of Automations, one of them."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"[{', '.join(f'has(self.{source})' for source in SOURCES)}].filter(is, is).size() == 1",
                f"{SOURCES[0]}: set exactly one of {', '.join(SOURCES[:-1])} and {SOURCES[-1]}",
            )
        )
    )

    name: TriggerName = Field(
        description="Name of the trigger. Its Automation is named <deployment>.<trigger>. Lower-case letters, digits "
        "and '-'."
    )
    filter: Expression | None = Field(
        default=None, description='Which events count, in CEL: event.run.parameters.region == "eu". Absent: all.'
    )
    group_by: tuple[Expression, ...] | None = Field(
        default=None,
        max_length=8,
        description="Events for which these CEL expressions have the same values are one group. Absent: as Automations "
        "have it, each run, alert and delivery is one of its own.",
        json_schema_extra=ATOMIC,
    )
    deduplicate_seconds: Window = DEFAULT_WINDOW_S
    rate_limit: FiringRate = Field(
        default_factory=FiringRate, description="How many runs it may start. Absent: 60 an hour."
    )
    parameters: JsonObject | None = Field(
        default=None,
        description="Parameters of its runs, by name; they win over spec.parameters. In texts, {{ event.x }} is "
        "replaced; a text that is nothing else becomes the value with its type. Absent: none.",
    )
    suspend: bool = Field(default=False, description="true starts no runs from this trigger; the others go on.")


def automation_name(deployment: str, trigger: str) -> str:
    """The name of the Automation that keeps a trigger. The last dot parts both, as a trigger's name has none."""
    return f"{deployment}.{trigger}"


def trigger_of(automation: str) -> tuple[str, str] | None:
    """The Deployment and the trigger that an Automation of this name would keep, None where it can be of none."""
    deployment, dot, trigger = automation.rpartition(".")
    return (deployment, trigger) if dot and deployment and trigger else None

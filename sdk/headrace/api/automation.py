"""Automation: what happens by itself when something has happened."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from headrace.api.automation_sources import (
    DAY_S,
    EVENT_REASON,
    HTTP_URL,
    OnKubernetesEvent,
    OnLimitSaturated,
    OnMetric,
    SecretKey,
)
from headrace.api.common import (
    ATOMIC,
    SET,
    WEEK_S,
    ApiModel,
    Column,
    Count,
    CustomResource,
    Instant,
    JsonObject,
    LabelSelector,
    Message,
    ObjectName,
    ReasonText,
    Rule,
    StatusModel,
    checked_by,
    keyed_by,
)
from headrace.api.conditions import Condition, Phase
from headrace.api.keys import AUTOMATIONS, Resource

MAX_NAME = 63
"""Runs that it started carry it as a label value."""
MAX_EXPRESSION = 1024
MAX_ACTIONS = 8
MAX_FIRINGS = 200
"""Firings that a status holds, ended ones included."""
MAX_OPEN = 32
"""Firings whose actions are not done yet: each carries what is to be done."""
MAX_SERIES = 100
"""Series of a metric that are beyond its threshold at once; a status holds each."""
MAX_GROUP = 512
MAX_SILENCES = 16
DEFAULT_WINDOW_S = 3600
NAMED = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Expression = Annotated[str, Field(min_length=1, max_length=MAX_EXPRESSION)]
Window = Annotated[
    int,
    Field(
        ge=0,
        le=WEEK_S,
        description="Of one group, the first event within so many seconds counts. 0: all that are not the very same.",
    ),
]
ItemName = Annotated[str, Field(min_length=1, max_length=63, pattern=NAMED)]
Template = Annotated[str, Field(max_length=4096)]


class RunChoice(ApiModel):
    """Which FlowRuns of the namespace are meant; all parts that are set must fit."""

    deployments: tuple[ObjectName, ...] | None = Field(
        default=None,
        max_length=64,
        description="Names of their Deployments. Absent: any, and runs without one.",
        json_schema_extra=SET,
    )
    flows: tuple[ObjectName, ...] | None = Field(
        default=None, max_length=64, description="Names of their Flows. Absent: any.", json_schema_extra=SET
    )
    selector: LabelSelector | None = Field(default=None, description="Labels that the FlowRuns carry. Absent: any.")


class OnRun(RunChoice):
    """A FlowRun has reached a phase."""

    phases: tuple[Phase, ...] = Field(
        min_length=1,
        max_length=len(Phase),
        description="The phases: Retrying, Paused, Succeeded, Failed, Crashed, Cancelled, Skipped.",
        json_schema_extra={
            **SET,
            **checked_by(
                Rule(
                    "self.all(phase, !(phase in ['Pending', 'Running']))",
                    "phases: Pending and Running are no events; use lateRun or longRun",
                )
            ),
        },
    )
    reasons: tuple[ReasonText, ...] | None = Field(
        default=None,
        max_length=64,
        description="The reasons, such as OOMKilled. Absent: any.",
        json_schema_extra=SET,
    )


class OnOverdueRun(RunChoice):
    """A FlowRun that has not come as far as it should have in time."""

    after_seconds: int = Field(ge=1, le=4 * WEEK_S, description="For how many seconds it has not.")


class OnCircuitOpen(ApiModel):
    """A Deployment failed too often in a row and starts nothing."""

    deployments: tuple[ObjectName, ...] | None = Field(
        default=None, max_length=64, description="Names of the Deployments. Absent: any.", json_schema_extra=SET
    )


class Scheme(StrEnum):
    """How a sender shows that it knows the secret."""

    HMAC = "HMAC"
    GITHUB = "GitHub"
    BEARER = "Bearer"


class Content(StrEnum):
    """What a request's body is."""

    JSON = "JSON"
    ALERTMANAGER = "Alertmanager"
    CLOUD_EVENT = "CloudEvent"


class OnWebhook(ApiModel):
    """A signed HTTP request to /hooks/<namespace>/<automation> of the operator."""

    secret_ref: SecretKey = Field(description="What the sender and headrace both know.")
    scheme: Scheme = Field(
        default=Scheme.HMAC,
        description="How the sender shows that it does. HMAC: the headers webhook-id, webhook-timestamp and "
        "webhook-signature of Standard Webhooks. GitHub: X-Hub-Signature-256. Bearer: the secret itself in Authorization.",
    )
    content: Content = Field(
        default=Content.JSON,
        description="What the body is. JSON: one event. Alertmanager: one event for each alert that fires. CloudEvent: "
        "one event, structured or binary.",
    )


class EventSource(ApiModel):
    """What has to happen: one of these."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "[has(self.run), has(self.lateRun), has(self.longRun), has(self.circuitOpen), has(self.webhook), "
                "has(self.limitSaturated), has(self.metric), has(self.kubernetesEvent)].filter(is, is).size() == 1",
                "trigger: set exactly one of run, lateRun, longRun, circuitOpen, webhook, limitSaturated, metric and "
                "kubernetesEvent",
            )
        )
    )

    run: OnRun | None = Field(default=None, description="A FlowRun has reached a phase.")
    late_run: OnOverdueRun | None = Field(
        default=None,
        description="A FlowRun has not started so many seconds after its scheduled time, or after its creation where it "
        "has none.",
    )
    long_run: OnOverdueRun | None = Field(
        default=None, description="A FlowRun has not ended so many seconds after its first attempt started."
    )
    circuit_open: OnCircuitOpen | None = Field(default=None, description="A Deployment's circuit breaker has opened.")
    webhook: OnWebhook | None = Field(default=None, description="Somebody has sent an HTTP request.")
    limit_saturated: OnLimitSaturated | None = Field(
        default=None,
        description="All slots of a ConcurrencyLimit have been taken for so many seconds, and runs wait for them.",
    )
    metric: OnMetric | None = Field(
        default=None, description="A series of a PromQL query is above, or below, a threshold."
    )
    kubernetes_event: OnKubernetesEvent | None = Field(
        default=None, description="Kubernetes has written an Event in the namespace."
    )


class FiringRate(ApiModel):
    """How often it may act."""

    count: int = Field(default=60, ge=1, le=MAX_FIRINGS, description="Firings within any perSeconds seconds.")
    per_seconds: int = Field(default=3600, ge=1, le=DAY_S, description="Length of the stretch in seconds.")


class Silence(ApiModel):
    """A time during which nothing is done."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(Rule("self.from < self.until", "until: must be later than from"))
    )

    name: ItemName = Field(description="Its name.")
    from_: Instant = Field(alias="from", description="When it begins, RFC 3339.")
    until: Instant = Field(description="When it is over, RFC 3339.")


class StartAction(ApiModel):
    """A FlowRun of a Deployment."""

    deployment: ObjectName = Field(description="Name of the Deployment, in the same namespace.")
    parameters: JsonObject | None = Field(
        default=None,
        description="Parameters by name. In texts, {{ event.x }} is replaced; a text that is nothing else becomes the "
        "value with its type. Absent: none.",
    )


class RunDeed(StrEnum):
    """What becomes of the event's FlowRun."""

    CANCEL = "Cancel"
    RETRY = "Retry"


class DeploymentDeed(StrEnum):
    """What becomes of a Deployment."""

    SUSPEND = "Suspend"
    RESUME = "Resume"


class DeploymentAction(ApiModel):
    """Sets spec.suspend of a Deployment."""

    name: ObjectName | None = Field(
        default=None, description="Name of the Deployment, in the same namespace. Absent: that of the event."
    )
    set: DeploymentDeed = Field(description="Suspend: its schedules start nothing. Resume: they do again.")


class Body(StrEnum):
    """What a webhook's body looks like."""

    EVENT = "Event"
    SLACK = "Slack"
    PAGER_DUTY = "PagerDuty"


class WebhookAction(ApiModel):
    """An HTTP POST, made until it is taken."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule("has(self.url) != has(self.urlFrom)", "url: set exactly one of url and urlFrom"),
            Rule(
                "(self.body == 'PagerDuty') == has(self.routingKeyFrom)",
                "routingKeyFrom: required with the body PagerDuty, and allowed with no other",
            ),
            Rule("!has(self.json) || self.body == 'Event'", "json: allowed only with the body Event"),
        )
    )

    url: Annotated[str, Field(max_length=2048, pattern=HTTP_URL)] | None = Field(
        default=None, description="Where to. Absent: urlFrom."
    )
    url_from: SecretKey | None = Field(default=None, description="The URL, where it is a secret itself. Absent: url.")
    body: Body = Field(
        default=Body.EVENT,
        description="Event: the event as JSON, or json. Slack: text, for an incoming webhook. PagerDuty: an alert of the Events API v2.",
    )
    text: Template | None = Field(
        default=None, description="What people read; {{ event.x }} is replaced. Absent: what has happened, in a line."
    )
    json_: JsonObject | None = Field(
        alias="json",
        default=None,
        description="The body, in place of the event; {{ event.x }} is replaced. Absent: as body says.",
    )
    secret_ref: SecretKey | None = Field(
        default=None, description="Key of the signature, as Standard Webhooks has it. Absent: it is not signed."
    )
    routing_key_from: SecretKey | None = Field(
        default=None, description="The integration key of PagerDuty. Absent: body is another one."
    )


class EventAction(ApiModel):
    """A Kubernetes Event about the Automation."""

    reason: Annotated[str, Field(max_length=128, pattern=EVENT_REASON)] = Field(
        default="AutomationFired", description="Its reason, in one CamelCase word."
    )
    message: Template = Field(description="Its message; {{ event.x }} is replaced.")
    type: Literal["Normal", "Warning"] = Field(default="Normal", description="Its type.")


class Action(ApiModel):
    """What is done: one of these."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "[has(self.start), has(self.run), has(self.deployment), has(self.webhook), has(self.event)]"
                ".filter(is, is).size() == 1",
                "start: set exactly one of start, run, deployment, webhook and event",
            )
        )
    )

    name: ItemName = Field(description="Its name within the Automation.")
    start: StartAction | None = Field(default=None, description="Start a run of a Deployment.")
    run: RunDeed | None = Field(
        default=None, description="Cancel: end the event's run. Retry: run it once more, as a new FlowRun."
    )
    deployment: DeploymentAction | None = Field(default=None, description="Suspend or resume a Deployment.")
    webhook: WebhookAction | None = Field(default=None, description="Send an HTTP request.")
    event: EventAction | None = Field(default=None, description="Write a Kubernetes Event.")


class AutomationSpec(ApiModel):
    """What has to happen, and what is done then."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                "self.actions.all(a, !has(a.run) || has(self.trigger.run) || has(self.trigger.lateRun) || has(self.trigger.longRun))",
                "actions: run is allowed only on run, lateRun and longRun, whose events have a FlowRun",
            ),
            Rule(
                "self.actions.all(a, !has(a.deployment) || has(a.deployment.name) || has(self.trigger.run) || "
                "has(self.trigger.lateRun) || has(self.trigger.longRun) || has(self.trigger.circuitOpen))",
                "actions: deployment needs a name on webhook, limitSaturated, metric and kubernetesEvent, whose events have "
                "no Deployment",
            ),
        )
    )

    trigger: EventSource = Field(description="What has to happen.")
    filter: Expression | None = Field(
        default=None,
        description='Which events count, in CEL: event.alert.labels.severity == "critical". Absent: all.',
    )
    group_by: tuple[Expression, ...] | None = Field(
        default=None,
        max_length=8,
        description="Events for which these CEL expressions have the same values are one group. Absent: runs, alerts, "
        "deliveries, limits, series, and reasons of an object each are one of their own.",
        json_schema_extra=ATOMIC,
    )
    deduplicate_seconds: Window = DEFAULT_WINDOW_S
    rate_limit: FiringRate = Field(
        default_factory=FiringRate, description="How often it acts. Absent: 60 times an hour."
    )
    suspend: bool = Field(default=False, description="true: events are counted, and nothing is done.")
    silences: tuple[Silence, ...] | None = Field(
        default=None,
        max_length=MAX_SILENCES,
        description="Times during which events are counted and nothing is done. Absent: none.",
        json_schema_extra=keyed_by("name"),
    )
    actions: tuple[Action, ...] = Field(
        min_length=1,
        max_length=MAX_ACTIONS,
        description="What is done. The failure of one keeps no other back.",
        json_schema_extra=keyed_by("name"),
    )


class FiringState(StrEnum):
    """How far a firing is."""

    OPEN = "Open"
    DONE = "Done"
    FAILED = "Failed"


class PlannedAction(StatusModel):
    """An action as it is to be done: templates are replaced."""

    name: ItemName = Field(description="Its name in spec.actions.")
    do: JsonObject = Field(description="What is done, by kind.")


class Firing(StatusModel):
    """An event that is acted on."""

    id: str = Field(min_length=1, max_length=64, description="Derived from its cause; names of runs derive from it.")
    group: str = Field(max_length=64, description="Fingerprint of its group.")
    about: str = Field(default="", max_length=MAX_GROUP, description="What the event is about, for people.")
    at: Instant = Field(description="When the event happened.")
    state: FiringState = Field(description="Open: its actions are under way. Done, Failed: they ended.")
    message: Message | None = Field(default=None, description="What went wrong. Absent: nothing.")
    actions: tuple[PlannedAction, ...] | None = Field(
        default=None,
        max_length=MAX_ACTIONS,
        description="What is to be done. Absent: it is done.",
        json_schema_extra=keyed_by("name"),
    )


class Series(StatusModel):
    """A series of a metric that is beyond the threshold."""

    id: str = Field(min_length=1, max_length=64, description="Fingerprint of the query, the threshold and its labels.")
    since: Instant = Field(description="Since when it has been in each answer.")


class EventCounts(StatusModel):
    """What became of the events; gathered, so /metrics is ahead of it."""

    matched: Count = Field(default_factory=int, description="Events that the filter let pass.")
    fired: Count = Field(default_factory=int, description="Those that were acted on.")
    deduplicated: Count = Field(default_factory=int, description="Those of a group that had fired within its window.")
    suppressed: Count = Field(default_factory=int, description="Those of a silence, or while spec.suspend was true.")
    throttled: Count = Field(default_factory=int, description="Those above the rate limit.")
    failed: Count = Field(default_factory=int, description="Firings of which an action failed for good.")


class AutomationStatus(StatusModel):
    """What the operator says about the Automation."""

    observed_generation: int | None = Field(
        default=None, ge=0, description="The metadata.generation that this status speaks of."
    )
    conditions: tuple[Condition, ...] = Field(
        default_factory=tuple,
        max_length=16,
        description="Ready: its expressions are understood, its Secrets are there, and what it asks answers.",
        json_schema_extra=keyed_by("type"),
    )
    since: Instant | None = Field(
        default=None, description="Runs and circuits that were so before this are no events. Absent: not looked at yet."
    )
    last_triggered: Instant | None = Field(default=None, description="When it acted last. Absent: never.")
    counts: EventCounts = Field(default_factory=EventCounts, description="What became of the events.")
    firings: tuple[Firing, ...] = Field(
        default_factory=tuple,
        max_length=MAX_FIRINGS,
        description="What was acted on: all within their windows, and the newest before; the latest last.",
        json_schema_extra=keyed_by("id"),
    )
    series: tuple[Series, ...] = Field(
        default_factory=tuple,
        max_length=MAX_SERIES,
        description="Of a metric: the series that are beyond the threshold.",
        json_schema_extra=keyed_by("id"),
    )


class Automation(CustomResource):
    """What happens by itself when a run fails, is late or lasts, a circuit opens, a metric crosses, or a webhook comes in."""

    model_config = ConfigDict(
        json_schema_extra=checked_by(
            Rule(
                f"size(self.metadata.name) <= {MAX_NAME}",
                f"metadata.name: at most {MAX_NAME} characters, as runs carry it as a label",
            )
        )
    )
    resource: ClassVar[Resource] = AUTOMATIONS
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether it can act."),
        Column("Fired", "integer", ".status.counts.fired", "Events that were acted on."),
        Column("Deduplicated", "integer", ".status.counts.deduplicated", "Events of groups that had fired."),
        Column("Failed", "integer", ".status.counts.failed", "Firings of which an action failed."),
        Column("Last", "date", ".status.lastTriggered", "Time since it acted last."),
        Column("Suspend", "boolean", ".spec.suspend", "Whether it is suspended.", 1),
        Column("Suppressed", "integer", ".status.counts.suppressed", "Events of silences.", 1),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', "Why, in a sentence.", 1),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
    )

    kind: Literal["Automation"] = "Automation"
    spec: AutomationSpec = Field(description="What has to happen, and what is done then.")
    status: AutomationStatus | None = Field(default=None, description="What the operator says about the Automation.")

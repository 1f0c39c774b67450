"""Every rule of the definitions, with an object that breaks it and nothing else, and what the API server says."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from headrace.api.crd import custom_resource_definitions
from headrace.kubeapi.client import MERGE_PATCH
from headrace.kubeapi.errors import Invalid

PLURALS = {crd["spec"]["names"]["kind"]: crd["spec"]["names"]["plural"] for crd in custom_resource_definitions()}
CLUSTER_SCOPED = {
    crd["spec"]["names"]["kind"] for crd in custom_resource_definitions() if crd["spec"]["scope"] == "Cluster"
}

SPECS: dict[str, dict[str, Any]] = {
    "Flow": {"entrypoint": "etl:main", "image": "example.org/etl:1"},
    "Deployment": {"flowRef": {"name": "etl"}},
    "FlowRun": {"flowRef": {"name": "etl"}},
    "WorkPool": {"nodeSelector": {"pool": "cpu"}},
    "ConcurrencyLimit": {"slots": 5},
    "Backfill": {"deploymentRef": {"name": "etl"}, "partitions": {"list": [{"name": "a"}]}},
    "Automation": {
        "trigger": {"run": {"phases": ["Failed"]}},
        "actions": [{"name": "tell", "event": {"message": "x"}}],
    },
}
TASK = {
    "name": "train",
    "parent": {"name": "etl", "uid": "u"},
    "function": "etl.py:train",
    "input": "file:///results/in",
    "output": "file:///results/out",
}
STARTED_BY = {"name": "etl", "uid": "u", "root": "etl"}
CODE = {"inline": {"files": {"etl.py": "def main(): ..."}}}
RUN = {
    "flowRef": {"name": "etl"},
    "idempotencyKey": "of-2026-01-01",
    "parameters": {"day": "2026-01-01", "n": None},
    "scheduledTime": "2026-01-01T00:00:00Z",
}


class Case(NamedTuple):
    """A valid object of `kind` with `spec` on top (None removes a field), refused at `field` with `message`."""

    kind: str
    spec: dict[str, Any]
    field: str
    message: str
    name: str = "etl"


def schedule(**fields: Any) -> dict[str, Any]:
    return {"schedules": [{"name": "daily", "cron": "0 7 * * *", **fields}]}


def cron(line: str) -> dict[str, Any]:
    return schedule(cron=line)


CRON = "spec.schedules[0].cron"
ZONE = "spec.schedules[0].timeZone"
IN_LISTS = "as single values, lists (1,2), ranges (1-5) and steps (*/15)"
NEITHER = "entrypoint: set exactly one of entrypoint (a Python flow) and command (any container)"
ENTRYPOINT = 'entrypoint: write "module:function" or "file.py:function", such as "etl:main" or "etl.py:main"'
SOURCE = "source: set exactly one of image, inline and configMap"
NAMED_FILE = "entrypoint: the file that it names must be one of source.inline.files"
FILE_NAME = "files: a file name has at most 253 letters, digits, '-', '_' and '.', no folder, and no '..' in front"
ENV = "value: set value or valueFrom, not both"
ONE_OF_THREE = "cron: set exactly one of cron, intervalSeconds and rrule"
LINE = (
    'cron: five fields (minute, hour, day-of-month, month, day-of-week), such as "0 7 * * MON-FRI", or one of '
    "@hourly, @daily, @midnight, @weekly, @monthly, @yearly, @annually"
)
MINUTE = f"cron: minute takes 0-59, {IN_LISTS}"
HOUR = f"cron: hour takes 0-23, {IN_LISTS}"
DAY = f"cron: day-of-month takes 1-31 or L (the last day), {IN_LISTS}"
MONTH = f"cron: month takes 1-12 or JAN-DEC, {IN_LISTS}"
WEEKDAY = (
    "cron: day-of-week takes 0-7 or SUN-SAT (7 is Sunday, MON#2 the second Monday, 5L the last Friday), " + IN_LISTS
)
OFFSET = (
    "timeZone: must be an IANA name, such as Europe/London; offsets are refused, as they do not follow clock changes"
)
UNKNOWN_ZONE = "timeZone: must be an IANA name that the API server knows, such as Europe/London or Etc/UTC"
TWO_NAMES = (
    "spec.schedules: metadata.name and a schedule's name have at most 47 characters together, "
    "as the names of runs derive from both"
)
ONE_REFERENCE = "flowRef: set exactly one of flowRef and deploymentRef"

NAMES_OR_SELECTOR = "names: set names or selector, not both"
VALUES = "values: required with the operators In and NotIn, and allowed with no other"


def selecting(**requirement: Any) -> dict[str, Any]:
    return {"selector": {"matchExpressions": [{"key": "team", **requirement}]}}


def ranged(**fields: Any) -> dict[str, Any]:
    """The first quarter of 2026 by days, with these fields on top (None removes one)."""
    merged = {"from": "2026-01-01T00:00:00Z", "to": "2026-04-01T00:00:00Z", "cron": "@daily", **fields}
    return {"partitions": {"range": {name: value for name, value in merged.items() if value is not None}}}


RANGE = "spec.partitions.range"
ONE_STEP = "cron: set exactly one of cron and intervalSeconds"
ONE_SOURCE = "partitions: set exactly one of range, list and matrix"

SENDER = {"secretRef": {"name": "sender", "key": "key"}}


def acting(**action: Any) -> dict[str, Any]:
    return {"actions": [{"name": "act", **action}]}


def sending(**fields: Any) -> dict[str, Any]:
    return acting(webhook={"url": "https://example.org", **fields})


METRIC = {"url": "https://prometheus.example.org", "query": "up", "above": 1}


def triggered(**event: Any) -> dict[str, Any]:
    return {"triggers": [{"name": "after", **event}]}


ONE_EVENT = (
    "run: set exactly one of run, lateRun, longRun, circuitOpen, webhook, limitSaturated, metric and kubernetesEvent"
)

BROKEN = {
    "an automation with a long name": Case(
        "Automation", {}, "", "metadata.name: at most 63 characters, as runs carry it as a label", "a" * 64
    ),
    "an automation with two triggers": Case(
        "Automation",
        {"trigger": {"run": {"phases": ["Failed"]}, "circuitOpen": {}}},
        "spec.trigger",
        "trigger: set exactly one of run, lateRun, longRun, circuitOpen, webhook, limitSaturated, metric and "
        "kubernetesEvent",
    ),
    "an automation on a metric that nobody keeps": Case(
        "Automation",
        {"trigger": {"metric": {"query": "up", "above": 1}}},
        "spec.trigger.metric",
        "url: set exactly one of url and urlFrom",
    ),
    "an automation on a metric between two thresholds": Case(
        "Automation",
        {"trigger": {"metric": {"url": "http://prometheus", "query": "up", "above": 1, "below": 0}}},
        "spec.trigger.metric",
        "above: set exactly one of above and below",
    ),
    "an automation on runs that begin": Case(
        "Automation",
        {"trigger": {"run": {"phases": ["Running"]}}},
        "spec.trigger.run.phases",
        "phases: Pending and Running are no events; use lateRun or longRun",
    ),
    "an action that does nothing": Case(
        "Automation",
        acting(),
        "spec.actions[0]",
        "start: set exactly one of start, run, deployment, webhook and event",
    ),
    "a run cancelled on an event without one": Case(
        "Automation",
        {"trigger": {"circuitOpen": {}}, **acting(run="Cancel")},
        "spec",
        "actions: run is allowed only on run, lateRun and longRun, whose events have a FlowRun",
    ),
    "a deployment suspended on an event without one": Case(
        "Automation",
        {"trigger": {"webhook": SENDER}, **acting(deployment={"set": "Suspend"})},
        "spec",
        "actions: deployment needs a name on webhook, limitSaturated, metric and kubernetesEvent, whose events have "
        "no Deployment",
    ),
    "a webhook to two URLs": Case(
        "Automation",
        sending(urlFrom=SENDER["secretRef"]),
        "spec.actions[0].webhook",
        "url: set exactly one of url and urlFrom",
    ),
    "a page without a routing key": Case(
        "Automation",
        sending(body="PagerDuty"),
        "spec.actions[0].webhook",
        "routingKeyFrom: required with the body PagerDuty, and allowed with no other",
    ),
    "a body of its own for Slack": Case(
        "Automation",
        sending(body="Slack", json={"a": 1}),
        "spec.actions[0].webhook",
        "json: allowed only with the body Event",
    ),
    "a run chosen by a label without values": Case(
        "Automation",
        {"trigger": {"run": {"phases": ["Failed"], **selecting(operator="In")}}},
        "spec.trigger.run.selector.matchExpressions[0]",
        VALUES,
    ),
    "a silence that ends before it begins": Case(
        "Automation",
        {"silences": [{"name": "s", "from": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"}]},
        "spec.silences[0]",
        "until: must be later than from",
    ),
    "an input for a no": Case(
        "FlowRun",
        {"answers": [{"name": "deploy", "decision": "Reject", "input": {}}]},
        "spec.answers[0]",
        "input: allowed only with the decision Approve",
    ),
    "a flow with a long name": Case(
        "Flow", {}, "", "metadata.name: at most 50 characters, as the names of revisions derive from it", "f" * 51
    ),
    "a flow that says nothing to run": Case("Flow", {"entrypoint": None}, "spec", NEITHER),
    "a flow with entrypoint and command": Case("Flow", {"command": ["true"]}, "spec", NEITHER),
    "arguments for a Python flow": Case(
        "Flow", {"args": ["x"]}, "spec", "args: allowed only with command; a Python flow takes parameters"
    ),
    "a command without an image": Case(
        "Flow", {"entrypoint": None, "command": ["true"], "image": None}, "spec", "image: required with command"
    ),
    "inline code for a command": Case(
        "Flow",
        {"entrypoint": None, "command": ["true"], "source": CODE},
        "spec",
        "source.inline: allowed only with entrypoint; a command finds its code in its image",
    ),
    "an entrypoint in a file that is not inline": Case(
        "Flow", {"entrypoint": "other.py:main", "source": CODE}, "spec", NAMED_FILE
    ),
    "an entrypoint in a folder of inline code": Case(
        "Flow", {"entrypoint": "flows/etl.py:main", "source": CODE}, "spec", NAMED_FILE
    ),
    "an entrypoint without a function": Case("Flow", {"entrypoint": "etl.py"}, "spec.entrypoint", ENTRYPOINT),
    "an entrypoint that is a call": Case("Flow", {"entrypoint": "etl:main()"}, "spec.entrypoint", ENTRYPOINT),
    "an empty entrypoint": Case("Flow", {"entrypoint": ""}, "spec.entrypoint", ENTRYPOINT),
    "a source of two kinds": Case("Flow", {"source": {"image": {}, **CODE}}, "spec.source", SOURCE),
    "a source of no kind": Case("Flow", {"source": {}}, "spec.source", SOURCE),
    "inline code and a ConfigMap": Case(
        "Flow", {"source": {**CODE, "configMap": {"name": "code"}}}, "spec.source", SOURCE
    ),
    "a ConfigMap's code for a command": Case(
        "Flow",
        {"entrypoint": None, "command": ["true"], "source": {"configMap": {"name": "code"}}},
        "spec",
        "source.configMap: allowed only with entrypoint; a command finds its code in its image",
    ),
    "an entrypoint in a folder of a ConfigMap": Case(
        "Flow",
        {"entrypoint": "flows/etl.py:main", "source": {"configMap": {"name": "code"}}},
        "spec",
        "entrypoint: a file of source.configMap is in no folder, as keys of ConfigMaps have none",
    ),
    "an inline file in a folder": Case(
        "Flow", {"source": {"inline": {"files": {"flows/etl.py": ""}}}}, "spec.source.inline", FILE_NAME
    ),
    "an inline file that climbs": Case(
        "Flow", {"source": {"inline": {"files": {"..data": ""}}}}, "spec.source.inline", FILE_NAME
    ),
    "more inline code than a ConfigMap takes": Case(
        "Flow",
        {"source": {"inline": {"files": {"a.py": "#" * 2**17, "b.py": "#" * (2**17 + 1)}}}},
        "spec.source.inline",
        "files: at most 262144 characters in all; put larger code into the image",
    ),
    "a variable with two values": Case(
        "Flow", {"env": [{"name": "A", "value": "1", "valueFrom": {}}]}, "spec.env[0]", ENV
    ),
    "a deployment with a long name": Case(
        "Deployment", {}, "", "metadata.name: at most 40 characters, as the names of runs derive from it", "d" * 41
    ),
    "a deployment and a schedule that have long names": Case(
        "Deployment", schedule(name="s" * 15), "", TWO_NAMES, "d" * 33
    ),
    "an overriding variable with two values": Case(
        "Deployment", {"env": [{"name": "A", "value": "1", "valueFrom": {}}]}, "spec.env[0]", ENV
    ),
    "a trigger on nothing": Case("Deployment", triggered(), "spec.triggers[0]", ONE_EVENT),
    "a trigger on two events": Case(
        "Deployment", triggered(run={"phases": ["Failed"]}, circuitOpen={}), "spec.triggers[0]", ONE_EVENT
    ),
    "a trigger on runs that begin": Case(
        "Deployment",
        triggered(run={"phases": ["Running"]}),
        "spec.triggers[0].run.phases",
        "phases: Pending and Running are no events; use lateRun or longRun",
    ),
    "a budget whose days begin at an offset": Case(
        "Deployment", {"budget": {"amount": 5, "timeZone": "+01:00"}}, "spec.budget.timeZone", OFFSET
    ),
    "a budget in a misspelt zone": Case(
        "Deployment", {"budget": {"amount": 5, "timeZone": "Europe/Londn"}}, "spec.budget.timeZone", UNKNOWN_ZONE
    ),
    "a trigger on a metric of two places": Case(
        "Deployment",
        triggered(metric={**METRIC, "urlFrom": SENDER["secretRef"]}),
        "spec.triggers[0].metric",
        "url: set exactly one of url and urlFrom",
    ),
    "a trigger on a metric without a threshold": Case(
        "Deployment",
        triggered(metric={**METRIC, "above": None}),
        "spec.triggers[0].metric",
        "above: set exactly one of above and below",
    ),
    "a trigger on runs of a label without values": Case(
        "Deployment",
        triggered(run={"phases": ["Failed"], **selecting(operator="In")}),
        "spec.triggers[0].run.selector.matchExpressions[0]",
        VALUES,
    ),
    "a schedule with cron and interval": Case(
        "Deployment", schedule(intervalSeconds=60), "spec.schedules[0]", ONE_OF_THREE
    ),
    "a schedule with interval and rrule": Case(
        "Deployment",
        {"schedules": [{"name": "both", "intervalSeconds": 60, "rrule": "FREQ=DAILY"}]},
        "spec.schedules[0]",
        ONE_OF_THREE,
    ),
    "a schedule without times": Case(
        "Deployment", {"schedules": [{"name": "idle"}]}, "spec.schedules[0]", ONE_OF_THREE
    ),
    "an anchor for cron": Case(
        "Deployment",
        schedule(anchor="2026-01-01T00:00:00Z"),
        "spec.schedules[0]",
        "anchor: allowed only with intervalSeconds or rrule",
    ),
    "a cron line of four fields": Case("Deployment", cron("0 7 * *"), CRON, LINE),
    "a cron line with seconds": Case("Deployment", cron("0 0 7 * * *"), CRON, LINE),
    "an empty cron line": Case("Deployment", cron(""), CRON, LINE),
    "an unknown macro": Case("Deployment", cron("@fortnightly"), CRON, LINE),
    "the 60th minute": Case("Deployment", cron("60 7 * * *"), CRON, MINUTE),
    "a minute that is a word": Case("Deployment", cron("five 7 * * *"), CRON, MINUTE),
    "the 24th hour": Case("Deployment", cron("0 24 * * *"), CRON, HOUR),
    "an hour in a list": Case("Deployment", cron("0 7,8,25 * * *"), CRON, HOUR),
    "the 32nd day": Case("Deployment", cron("0 7 32 * *"), CRON, DAY),
    "no day at all": Case("Deployment", cron("0 7 0 * *"), CRON, DAY),
    "the 13th month": Case("Deployment", cron("0 7 * 13 *"), CRON, MONTH),
    "a month that is a weekday": Case("Deployment", cron("0 7 * MON *"), CRON, MONTH),
    "the 8th weekday": Case("Deployment", cron("0 7 * * 8"), CRON, WEEKDAY),
    "a step of zero": Case("Deployment", cron("0 7 * * */0"), CRON, WEEKDAY),
    "a recurrence rule without a frequency": Case(
        "Deployment",
        {"schedules": [{"name": "monthly", "rrule": "BYDAY=-1FR"}]},
        "spec.schedules[0].rrule",
        'rrule: must contain FREQ=, such as "FREQ=MONTHLY;BYDAY=-1FR"',
    ),
    "a zone that is an offset": Case("Deployment", schedule(timeZone="+01:00"), ZONE, OFFSET),
    "a zone that is a number": Case("Deployment", schedule(timeZone="02:00"), ZONE, OFFSET),
    "the zone of whoever asks": Case("Deployment", schedule(timeZone="Local"), ZONE, OFFSET),
    "an empty zone": Case("Deployment", schedule(timeZone=""), ZONE, OFFSET),
    "a misspelt zone": Case("Deployment", schedule(timeZone="Europe/Londn"), ZONE, UNKNOWN_ZONE),
    "a bound on runs that policy Latest does not make": Case(
        "Deployment", {"catchUp": {"maxRuns": 5}}, "spec.catchUp", "maxRuns: allowed only with policy All"
    ),
    "a run with a long name": Case(
        "FlowRun", {}, "", "metadata.name: at most 63 characters, as pods carry it as a label", "r" * 64
    ),
    "a run of nothing": Case("FlowRun", {"flowRef": None}, "spec", ONE_REFERENCE),
    "a learnt size whose least is above its most": Case(
        "Flow",
        {"autosize": {"minMemory": "2Gi", "maxMemory": 1024}},
        "spec.autosize",
        "minMemory: must not be above maxMemory",
    ),
    "results in a folder without a scheme": Case(
        "Flow",
        {"results": {"url": "/mnt/results"}},
        "spec.results.url",
        'url: must begin with a scheme, such as "s3://bucket/prefix" or "file:///mnt/results"',
    ),
    "results behind a password that everybody sees": Case(
        "Flow",
        {"results": {"url": "postgresql://flows:secret@db/results"}},
        "spec.results.url",
        "url: must hold no password, which everybody who may read Flows would see; set HEADRACE_RESULTS_PASSWORD in "
        "spec.env, from a Secret",
    ),
    "pools by name and by label": Case(
        "Flow", {"pools": {"names": ["cpu"], "selector": {}}}, "spec.pools", NAMES_OR_SELECTOR
    ),
    "a requirement of a Flow's pools without values": Case(
        "Flow", {"pools": selecting(operator="In")}, "spec.pools.selector.matchExpressions[0]", VALUES
    ),
    "a Deployment's pools by name and by label": Case(
        "Deployment", {"pools": {"names": ["cpu"], "selector": {}}}, "spec.pools", NAMES_OR_SELECTOR
    ),
    "a requirement of a Deployment's pools with values that it does not take": Case(
        "Deployment",
        {"pools": selecting(operator="Exists", values=["a"])},
        "spec.pools.selector.matchExpressions[0]",
        VALUES,
    ),
    "a task of a Deployment": Case(
        "FlowRun",
        {"flowRef": None, "deploymentRef": {"name": "etl"}, "task": TASK},
        "spec",
        "task: allowed only with flowRef",
    ),
    "a run that ends with one of another namespace": Case(
        "FlowRun",
        {"startedBy": {**STARTED_BY, "namespace": "team-b", "onEnd": "Cancel"}},
        "spec.startedBy",
        "onEnd: Cancel is allowed only where the run that started this one is in the same namespace",
    ),
    "a task's pools by name and by label": Case(
        "FlowRun", {"task": {**TASK, "pools": {"names": ["a"], "selector": {}}}}, "spec.task.pools", NAMES_OR_SELECTOR
    ),
    "a requirement of a task's pools without values": Case(
        "FlowRun",
        {"task": {**TASK, "pools": selecting(operator="NotIn")}},
        "spec.task.pools.selector.matchExpressions[0]",
        VALUES,
    ),
    "a pool with a long name": Case(
        "WorkPool", {}, "", "metadata.name: at most 63 characters, as pods carry it as a label", "p" * 64
    ),
    "a price of a node and of its parts": Case(
        "WorkPool",
        {"maxPodResources": {"cpu": 4}, "pricing": {"perHour": 1, "cpuHour": 0.1}},
        "spec.pricing",
        "perHour: set perHour (a whole node), or cpuHour, memoryGiBHour and gpuHour",
    ),
    "a price of a node of unknown size": Case(
        "WorkPool",
        {"pricing": {"perHour": 1}},
        "spec",
        "pricing.perHour: needs maxPodResources, of which a run pays its share",
    ),
    "a requirement of a pool's namespaces without values": Case(
        "WorkPool",
        {"namespaces": selecting(operator="In")["selector"]},
        "spec.namespaces.matchExpressions[0]",
        VALUES,
    ),
    "a limit with a long name": Case(
        "ConcurrencyLimit", {}, "", "metadata.name: at most 63 characters, as slots carry it as a label", "l" * 64
    ),
    "a limit that limits nothing": Case("ConcurrencyLimit", {"slots": None}, "spec", "slots: set slots, rate, or both"),
    "a requirement of a limit's runs without values": Case(
        "ConcurrencyLimit",
        {"selector": selecting(operator="In")["selector"]},
        "spec.selector.matchExpressions[0]",
        VALUES,
    ),
    "a backfill with a long name": Case(
        "Backfill", {}, "", "metadata.name: at most 32 characters, as the names of runs derive from it", "b" * 33
    ),
    "a backfill of nothing": Case("Backfill", {"partitions": {}}, "spec.partitions", ONE_SOURCE),
    "a backfill of two kinds": Case(
        "Backfill",
        {"partitions": {"list": [{}], "matrix": [{"name": "shop", "values": ["a"]}]}},
        "spec.partitions",
        ONE_SOURCE,
    ),
    "a range in two steps": Case("Backfill", ranged(intervalSeconds=60), RANGE, ONE_STEP),
    "a range without a step": Case("Backfill", ranged(cron=None), RANGE, ONE_STEP),
    "a range that runs backwards": Case(
        "Backfill", ranged(to="2025-04-01T00:00:00Z"), RANGE, "to: must be later than from"
    ),
    "a range of nothing": Case(
        "Backfill", ranged(to="2026-01-01T01:00:00+01:00"), RANGE, "to: must be later than from"
    ),
    "a range by a cron line of four fields": Case("Backfill", ranged(cron="0 7 * *"), f"{RANGE}.cron", LINE),
    "a range from the 60th minute": Case("Backfill", ranged(cron="60 7 * * *"), f"{RANGE}.cron", MINUTE),
    "a range from the 24th hour": Case("Backfill", ranged(cron="0 24 * * *"), f"{RANGE}.cron", HOUR),
    "a range from the 32nd day": Case("Backfill", ranged(cron="0 7 32 * *"), f"{RANGE}.cron", DAY),
    "a range from the 13th month": Case("Backfill", ranged(cron="0 7 * 13 *"), f"{RANGE}.cron", MONTH),
    "a range from the 8th weekday": Case("Backfill", ranged(cron="0 7 * * 8"), f"{RANGE}.cron", WEEKDAY),
    "a range in an offset": Case("Backfill", ranged(timeZone="+01:00"), f"{RANGE}.timeZone", OFFSET),
    "a range in a misspelt zone": Case("Backfill", ranged(timeZone="Europe/Londn"), f"{RANGE}.timeZone", UNKNOWN_ZONE),
    "a window that opens as it closes": Case(
        "Backfill",
        {"window": {"from": "22:00", "to": "22:00"}},
        "spec.window",
        "to: must differ from from; leave the window out for the whole day",
    ),
    "a window in an offset": Case(
        "Backfill", {"window": {"from": "22:00", "to": "06:00", "timeZone": "+01:00"}}, "spec.window.timeZone", OFFSET
    ),
    "a run of two things": Case("FlowRun", {"deploymentRef": {"name": "etl"}}, "spec", ONE_REFERENCE),
}

CHANGED = {
    "another flow": Case(
        "FlowRun",
        {"flowRef": {"name": "other"}},
        "spec",
        "flowRef: cannot be changed after creation; create a new FlowRun",
    ),
    "another revision": Case(
        "FlowRun",
        {"flowRef": {"revision": "r1"}},
        "spec",
        "flowRef: cannot be changed after creation; create a new FlowRun",
    ),
    "other parameters": Case(
        "FlowRun",
        {"parameters": {"day": "2026-01-02"}},
        "spec",
        "parameters: cannot be changed after creation; create a new FlowRun",
    ),
    "no parameters": Case(
        "FlowRun",
        {"parameters": None},
        "spec",
        "parameters: cannot be changed after creation; create a new FlowRun",
    ),
    "another scheduled time": Case(
        "FlowRun",
        {"scheduledTime": "2026-01-02T00:00:00Z"},
        "spec",
        "scheduledTime: cannot be changed after creation; create a new FlowRun",
    ),
    "no scheduled time": Case(
        "FlowRun",
        {"scheduledTime": None},
        "spec",
        "scheduledTime: cannot be changed after creation; create a new FlowRun",
    ),
    "another key": Case(
        "FlowRun",
        {"idempotencyKey": "other"},
        "spec",
        "idempotencyKey: cannot be changed after creation; create a new FlowRun",
    ),
    "a task": Case("FlowRun", {"task": TASK}, "spec", "task: cannot be changed after creation; create a new FlowRun"),
    "a run that started it": Case(
        "FlowRun",
        {"startedBy": STARTED_BY},
        "spec",
        "startedBy: cannot be changed after creation; create a new FlowRun",
    ),
    "cancellation taken back": Case(
        "FlowRun", {"cancel": False}, "spec.cancel", "cancel: cannot be taken back; create a new FlowRun"
    ),
    "cancellation left out": Case(
        "FlowRun", {"cancel": None}, "spec.cancel", "cancel: cannot be taken back; create a new FlowRun"
    ),
}
ANSWER = {"name": "deploy", "decision": "Approve", "input": {"replicas": 3}}
ANSWER_THAT_COUNTS = "spec.answers: the answer to a pause that is over (status.answers) cannot be changed"
ANSWERED = {
    "another input": Case("FlowRun", {"answers": [{**ANSWER, "input": {"replicas": 4}}]}, "", ANSWER_THAT_COUNTS),
    "another decision": Case(
        "FlowRun", {"answers": [{"name": "deploy", "decision": "Reject"}]}, "", ANSWER_THAT_COUNTS
    ),
    "no answer": Case("FlowRun", {"answers": None}, "", ANSWER_THAT_COUNTS),
    "an answer to a pause that timed out": Case(
        "FlowRun", {"answers": [ANSWER, {"name": "late", "decision": "Approve"}]}, "", ANSWER_THAT_COUNTS
    ),
}
OTHER_DEPLOYMENT = Case(
    "FlowRun",
    {"deploymentRef": {"name": "other"}},
    "spec",
    "deploymentRef: cannot be changed after creation; create a new FlowRun",
)

DAYS = [{"name": "day", "values": ["2026-01-01", 2, 2.5, True]}]
BACKFILL = {"deploymentRef": {"name": "etl"}, "partitions": {"matrix": DAYS}, "rerunFailed": 1, "cancel": True}
OTHER_PARTITIONS = "partitions: cannot be changed after creation; create a new Backfill"
BACKFILL_CHANGED = {
    "another deployment": Case(
        "Backfill",
        {"deploymentRef": {"name": "other"}},
        "spec",
        "deploymentRef: cannot be changed after creation; create a new Backfill",
    ),
    "another value of a matrix": Case(
        "Backfill",
        {"partitions": {"matrix": [{"name": "day", "values": ["2026-01-02", 2, 2.5, True]}]}},
        "spec",
        OTHER_PARTITIONS,
    ),
    "a value of another type": Case(
        "Backfill",
        {"partitions": {"matrix": [{"name": "day", "values": ["2026-01-01", "2", 2.5, True]}]}},
        "spec",
        OTHER_PARTITIONS,
    ),
    "another axis of a matrix": Case(
        "Backfill", {"partitions": {"matrix": [*DAYS, {"name": "shop", "values": ["a"]}]}}, "spec", OTHER_PARTITIONS
    ),
    "partitions of another kind": Case(
        "Backfill", {"partitions": {"matrix": None, "list": [{"name": "a"}]}}, "spec", OTHER_PARTITIONS
    ),
    "another order": Case(
        "Backfill", {"order": "Newest"}, "spec", "order: cannot be changed after creation; create a new Backfill"
    ),
    "fewer goes for those that failed": Case(
        "Backfill",
        {"rerunFailed": 0},
        "spec",
        "rerunFailed: can only be raised; each number runs those that failed once more",
    ),
    "a backfill's cancellation taken back": Case(
        "Backfill",
        {"cancel": False},
        "spec.cancel",
        "cancel: cannot be taken back; create a new Backfill of what is left",
    ),
}
LIMITS = {
    "more retries than attempts are recorded": ("Flow", {"retries": {"limit": 101}}, "spec.retries.limit"),
    "a negative delay": ("Flow", {"retries": {"delaySeconds": -1}}, "spec.retries.delaySeconds"),
    "a shrinking delay": ("Flow", {"retries": {"factor": 0.5}}, "spec.retries.factor"),
    "jitter beyond the delay itself": ("Flow", {"retries": {"jitter": 1.5}}, "spec.retries.jitter"),
    "half a retry": ("Flow", {"infrastructureRetries": {"limit": 0.5}}, "spec.infrastructureRetries.limit"),
    "a timeout of nothing": ("Flow", {"timeoutSeconds": 0}, "spec.timeoutSeconds"),
    "a timeout that no pod takes": ("Flow", {"timeoutSeconds": 2**31}, "spec.timeoutSeconds"),
    "an amount that is none": ("Flow", {"resources": {"limits": {"memory": "lots"}}}, "spec.resources.limits.memory"),
    "a negative amount": ("Flow", {"resources": {"requests": {"cpu": "-1"}}}, "spec.resources.requests.cpu"),
    "an unknown pull policy": ("Flow", {"imagePullPolicy": "Sometimes"}, "spec.imagePullPolicy"),
    "an empty command": ("Flow", {"entrypoint": None, "command": []}, "spec.command"),
    "no inline file": ("Flow", {"source": {"inline": {"files": {}}}}, "spec.source.inline.files"),
    "a Secret's name that is none": ("Flow", {"imagePullSecrets": [{"name": "A_B"}]}, "spec.imagePullSecrets[0].name"),
    "a variable twice": ("Flow", {"env": [{"name": "A"}, {"name": "A"}]}, "spec.env[1]"),
    "parameters that are a list": ("FlowRun", {"parameters": [1]}, "spec.parameters"),
    "a schema that is text": ("Flow", {"parameters": {"schema": "{}"}}, "spec.parameters.schema"),
    "no flow": ("Deployment", {"flowRef": None}, "spec.flowRef"),
    "a priority beyond 32 bits": ("Deployment", {"priority": 2**31}, "spec.priority"),
    "a schedule's name in capitals": ("Deployment", schedule(name="Daily"), "spec.schedules[0].name"),
    "a schedule's name that is too long": ("Deployment", schedule(name="s" * 21), "spec.schedules[0].name"),
    "no run at a time": ("Backfill", {"maxActive": 0}, "spec.maxActive"),
    "a backfill at no rate": ("Backfill", {"ratePerMinute": 0}, "spec.ratePerMinute"),
    "a budget below nothing": ("Backfill", {"budget": {"amount": "-1"}}, "spec.budget.amount"),
    "a budget of many digits": ("Backfill", {"budget": {"amount": "0.1234567"}}, "spec.budget.amount"),
    "a currency that is a word": ("Backfill", {"budget": {"amount": 5, "currency": "euro"}}, "spec.budget.currency"),
    "a window past midnight": ("Backfill", {"window": {"from": "22:00", "to": "24:00"}}, "spec.window.to"),
    "a time of day with one digit": ("Backfill", {"window": {"from": "1:00", "to": "06:00"}}, "spec.window.from"),
    "an unknown order": ("Backfill", {"order": "Sorted"}, "spec.order"),
    "an empty list": ("Backfill", {"partitions": {"list": []}}, "spec.partitions.list"),
    "an axis without values": (
        "Backfill",
        {"partitions": {"matrix": [{"name": "shop", "values": []}]}},
        "spec.partitions.matrix[0].values",
    ),
    "an axis twice": (
        "Backfill",
        {"partitions": {"matrix": [{"name": "shop", "values": [1]}] * 2}},
        "spec.partitions.matrix[1]",
    ),
    "negative jitter": ("Deployment", schedule(jitterSeconds=-1), "spec.schedules[0].jitterSeconds"),
    "an anchor that is no time": (
        "Deployment",
        {"schedules": [{"name": "hourly", "intervalSeconds": 3600, "anchor": "noon"}]},
        "spec.schedules[0].anchor",
    ),
    "an interval of nothing": (
        "Deployment",
        {"schedules": [{"name": "busy", "intervalSeconds": 0}]},
        "spec.schedules[0].intervalSeconds",
    ),
    "a schedule twice": ("Deployment", {"schedules": [{"name": "a", "cron": "@daily"}] * 2}, "spec.schedules[1]"),
    "more schedules than 64": (
        "Deployment",
        {"schedules": [{"name": f"s{n}", "cron": "@daily"} for n in range(65)]},
        "spec.schedules",
    ),
    "an unknown catch-up policy": ("Deployment", {"catchUp": {"policy": "Some"}}, "spec.catchUp.policy"),
    "a catch-up of no runs": ("Deployment", {"catchUp": {"policy": "All", "maxRuns": 0}}, "spec.catchUp.maxRuns"),
    "a deadline of nothing": (
        "Deployment",
        {"catchUp": {"startingDeadlineSeconds": 0}},
        "spec.catchUp.startingDeadlineSeconds",
    ),
    "a limit of no runs": ("Deployment", {"concurrency": {"limit": 0}}, "spec.concurrency.limit"),
    "a concurrency without a limit": ("Deployment", {"concurrency": {}}, "spec.concurrency.limit"),
    "an unknown conflict policy": (
        "Deployment",
        {"concurrency": {"limit": 1, "onConflict": "Panic"}},
        "spec.concurrency.onConflict",
    ),
    "a negative history": ("Deployment", {"history": {"failed": -1}}, "spec.history.failed"),
    "a negative time to live": ("Deployment", {"history": {"ttlSeconds": -1}}, "spec.history.ttlSeconds"),
    "a scheduled time that is a day": ("FlowRun", {"scheduledTime": "2026-01-01"}, "spec.scheduledTime"),
    "no slot of a limit": ("Flow", {"limits": [{"name": "postgres", "slots": 0}]}, "spec.limits[0].slots"),
    "a limit twice": ("Flow", {"limits": [{"name": "postgres"}] * 2}, "spec.limits[1]"),
    "a limit's name in capitals": ("Deployment", {"limits": [{"name": "Postgres"}]}, "spec.limits[0].name"),
    "a pool twice": ("Flow", {"pools": {"names": ["cpu", "cpu"]}}, "spec.pools.names[1]"),
    "a word for spot": ("Flow", {"pools": {"spot": "Sometimes"}}, "spec.pools.spot"),
    "shrinking memory": (
        "Flow",
        {"infrastructureRetries": {"memoryFactor": 0.5}},
        "spec.infrastructureRetries.memoryFactor",
    ),
    "an access in words": ("Flow", {"apiAccess": "Full"}, "spec.apiAccess"),
    "preemption of all": ("Deployment", {"preemption": "Always"}, "spec.preemption"),
    "a circuit breaker that never closes": (
        "Deployment",
        {"circuitBreaker": {"failures": 0}},
        "spec.circuitBreaker.failures",
    ),
    "an empty key": ("FlowRun", {"idempotencyKey": ""}, "spec.idempotencyKey"),
    "a pool of no size": ("WorkPool", {"maxPodResources": {}}, "spec.maxPodResources"),
    "a negative price": ("WorkPool", {"pricing": {"cpuHour": -1}}, "spec.pricing.cpuHour"),
    "a currency in words": ("WorkPool", {"pricing": {"currency": "euro", "cpuHour": 1}}, "spec.pricing.currency"),
    "a negative capacity": ("WorkPool", {"capacity": {"runs": -1}}, "spec.capacity.runs"),
    "more slots than objects that we keep": ("ConcurrencyLimit", {"slots": 1001}, "spec.slots"),
    "a rate of nothing": ("ConcurrencyLimit", {"rate": {"count": 0}}, "spec.rate.count"),
    "a lease too short to be renewed": ("ConcurrencyLimit", {"leaseDurationSeconds": 4}, "spec.leaseDurationSeconds"),
    "cancel in words": ("FlowRun", {"cancel": "yes"}, "spec.cancel"),
    "an answer of no decision": ("FlowRun", {"answers": [{"name": "deploy"}]}, "spec.answers[0].decision"),
    "an answer in between": (
        "FlowRun",
        {"answers": [{"name": "deploy", "decision": "Perhaps"}]},
        "spec.answers[0].decision",
    ),
    "two answers to one pause": ("FlowRun", {"answers": [ANSWER, ANSWER]}, "spec.answers[1]"),
    "an answer to a pause without a name": (
        "FlowRun",
        {"answers": [{"name": "", "decision": "Reject"}]},
        "spec.answers[0].name",
    ),
}


def an_object(kind: str, spec: dict[str, Any], name: str = "etl") -> dict[str, Any]:
    merged = {**copy.deepcopy(SPECS[kind]), **spec}
    return {
        "apiVersion": "headrace.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {field: value for field, value in merged.items() if value is not None},
    }


def collection(kind: str, namespace: str) -> str:
    within = "" if kind in CLUSTER_SCOPED else f"/namespaces/{namespace}"
    return f"/apis/headrace.dev/v1alpha1{within}/{PLURALS[kind]}"


async def refusal(client, method: str, path: str, body: dict[str, Any], **options: str) -> str:
    with pytest.raises(Invalid) as caught:
        await client.request(method, path, params={"dryRun": "All"}, body=body, **options)
    return caught.value.message


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN)
async def test_refuses(client, case):
    """The message is the rule's, is the only one, and points to the field."""
    body = an_object(case.kind, case.spec, case.name)

    told = await refusal(client, "POST", collection(case.kind, "default"), body)

    assert told.endswith(case.message)
    assert f"{case.field}: Invalid value" in told
    assert told.count("Invalid value") == 1


@pytest.mark.parametrize("case", CHANGED.values(), ids=CHANGED)
async def test_a_run_refuses(client, namespace, case):
    run = {**an_object("FlowRun", {**RUN, "cancel": True})}
    await client.create(collection("FlowRun", namespace), run)

    told = await change_refused(client, namespace, case.spec)

    assert told.endswith(f"{case.field}: Invalid value: {shown(case)}{case.message}")


@pytest.mark.parametrize("case", BACKFILL_CHANGED.values(), ids=BACKFILL_CHANGED)
async def test_a_backfill_refuses(client, namespace, case):
    await client.create(collection("Backfill", namespace), an_object("Backfill", BACKFILL))

    told = await change_refused(client, namespace, case.spec, kind="Backfill")

    assert told.endswith(f"{case.field}: Invalid value: {shown(case)}{case.message}")


async def test_a_backfill_takes_the_changes_that_steer_it(client, namespace):
    await client.create(collection("Backfill", namespace), an_object("Backfill", {**BACKFILL, "cancel": False}))
    path = collection("Backfill", namespace) + "/etl"
    changes = {
        "maxActive": 50,
        "ratePerMinute": 600,
        "budget": {"amount": "12.50", "currency": "EUR"},
        "window": {"from": "22:00", "to": "06:00", "timeZone": "Europe/London", "days": ["Sat", "Sun"]},
        "parameters": {"dry": False},
        "suspend": True,
        "rerunFailed": 2,
        "cancel": True,
    }

    for field, value in changes.items():
        await client.patch(path, {"spec": {field: value}})

    stored = (await client.get(path))["spec"]
    assert {field: stored[field] for field in changes} == changes
    assert stored["partitions"] == {"matrix": DAYS}


def shown(case: Case) -> str:
    return "false: " if "cancel" in case.spec else ""


async def an_answered_run(client, namespace: str) -> str:
    """The path of a run whose pause "deploy" was answered, and whose pause "late" was not in time."""
    await client.create(collection("FlowRun", namespace), an_object("FlowRun", {"answers": [ANSWER]}))
    path = collection("FlowRun", namespace) + "/etl"
    times = {"since": "2026-01-01T00:00:00Z", "at": "2026-01-01T00:01:00Z"}
    over = [
        {"name": "deploy", "decision": "Approve", "input": {"replicas": 3}, **times},
        {"name": "late", "decision": "TimedOut", **times},
    ]
    await client.patch(f"{path}/status", {"status": {"phase": "Running", "answers": over}})
    return path


@pytest.mark.parametrize("case", ANSWERED.values(), ids=ANSWERED)
async def test_an_answer_that_counts_stays(client, namespace, case):
    await an_answered_run(client, namespace)

    told = await change_refused(client, namespace, case.spec)

    assert told.endswith(case.message)


async def test_an_answer_that_does_not_count_yet_may_be_mended(client, namespace):
    path = await an_answered_run(client, namespace)

    for replicas in ("many", 3):
        answers = [ANSWER, {"name": "next", "decision": "Approve", "input": {"replicas": replicas}}]
        await client.patch(path, {"spec": {"answers": answers}})
    await client.patch(path, {"spec": {"answers": [ANSWER]}})

    assert (await client.get(path))["spec"]["answers"] == [ANSWER]


async def test_a_run_of_a_deployment_refuses_another_deployment(client, namespace):
    run = an_object("FlowRun", {"flowRef": None, "deploymentRef": {"name": "etl"}})
    await client.create(collection("FlowRun", namespace), run)

    assert (await change_refused(client, namespace, OTHER_DEPLOYMENT.spec)).endswith(OTHER_DEPLOYMENT.message)


async def test_a_run_refuses_parameters_and_a_scheduled_time_that_it_had_not(client, namespace):
    await client.create(collection("FlowRun", namespace), an_object("FlowRun", {}))
    spec = {"parameters": {"day": 1}, "scheduledTime": "2026-01-01T00:00:00Z"}

    told = await change_refused(client, namespace, spec)

    assert "parameters: cannot be changed" in told
    assert "scheduledTime: cannot be changed" in told


async def change_refused(client, namespace: str, spec: dict[str, Any], *, kind: str = "FlowRun") -> str:
    path = collection(kind, namespace) + "/etl"
    return await refusal(client, "PATCH", path, {"spec": spec}, content_type=MERGE_PATCH)


async def test_a_run_takes_the_changes_that_steer_it(client, namespace):
    await client.create(collection("FlowRun", namespace), an_object("FlowRun", RUN))
    path = collection("FlowRun", namespace) + "/etl"

    for spec in ({"suspend": True}, {"priority": 5}, {"suspend": False, "priority": None}, {"cancel": True}):
        await client.patch(path, {"spec": spec})

    stored = (await client.get(path))["spec"]
    assert stored == {**RUN, "cancel": True, "suspend": False}


@pytest.mark.parametrize(("kind", "spec", "field"), LIMITS.values(), ids=LIMITS)
async def test_keeps_bounds(client, kind, spec, field):
    told = await refusal(client, "POST", collection(kind, "default"), an_object(kind, spec))

    assert re.search(rf"[ \[]{re.escape(field)}: ", told), told


def declared(kind: str, node: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((kind, rule["message"]) for rule in node.get("x-kubernetes-validations", ()))
    children = list(node.get("properties", {}).values())
    children += [node[key] for key in ("items", "additionalProperties") if key in node]
    for child in children:
        yield from declared(kind, child)


def test_every_rule_of_the_definitions_is_broken_here():
    rules = {
        found
        for crd in custom_resource_definitions()
        for found in declared(crd["spec"]["names"]["kind"], crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    }
    broken = [*BROKEN.values(), *CHANGED.values(), *ANSWERED.values(), OTHER_DEPLOYMENT, *BACKFILL_CHANGED.values()]

    assert {(case.kind, case.message) for case in broken} == rules

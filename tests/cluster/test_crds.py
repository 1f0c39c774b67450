"""The definitions on a real API server: installed, defaulted, merged, shown and selected as they promise."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from headrace.api.backfill import PartitionOutcomes
from headrace.api.crd import KINDS, custom_resource_definitions
from headrace.backfills.outcomes import Outcomes, decoded
from headrace.backfills.ranges import Ranges
from headrace.kubeapi.client import APPLY_PATCH
from headrace.kubeapi.errors import Invalid
from tests.unit.headrace.api.strategies import OBJECTS

CRDS = [crd["metadata"]["name"] for crd in custom_resource_definitions()]
API = "headrace.dev/v1alpha1"
MODELS = {model.resource.kind: model for model in KINDS}


def an_object(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def path(namespace: str, plural: str, *rest: str) -> str:
    return "/".join([f"/apis/{API}/namespaces/{namespace}/{plural}", *rest])


@pytest.mark.parametrize("name", CRDS)
async def test_a_definition_is_established_and_structural(client, name):
    crd = await client.get(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}")

    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    assert crd["status"]["storedVersions"] == ["v1alpha1"]


async def test_short_names_and_category_reach_every_kind(client):
    resources = await client.get(f"/apis/{API}")

    served = {found["name"]: found for found in resources["resources"]}
    assert {name: found["shortNames"] for name, found in served.items() if "/" not in name} == {
        "flows": ["fl"],
        "deployments": ["fdep"],
        "flowruns": ["fr"],
        "workpools": ["wp"],
        "concurrencylimits": ["cl"],
        "backfills": ["bf"],
        "automations": ["auto"],
    }
    assert all(found["categories"] == ["headrace"] for name, found in served.items() if "/" not in name)
    assert {name for name in served if "/" in name} == {f"{plural}/status" for plural in served if "/" not in plural}


async def test_the_api_server_fills_in_the_defaults_of_a_flow(client, namespace):
    flow = await client.create(path(namespace, "flows"), an_object("Flow", "etl", entrypoint="etl:main"))

    assert flow["spec"] == {
        "entrypoint": "etl:main",
        "retries": {"limit": 0, "delaySeconds": 10, "factor": 2, "maxDelaySeconds": 3600, "jitter": 0.1},
        "infrastructureRetries": {
            "limit": 3,
            "delaySeconds": 5,
            "factor": 2,
            "maxDelaySeconds": 3600,
            "jitter": 0.1,
            "memoryFactor": 1.5,
        },
        "apiAccess": "None",
    }


async def test_the_api_server_fills_in_what_a_retry_policy_leaves_out(client, namespace):
    spec = {"entrypoint": "etl:main", "retries": {"limit": 4}, "infrastructureRetries": {"factor": 1}}

    flow = await client.create(path(namespace, "flows"), an_object("Flow", "etl", **spec))

    assert flow["spec"]["retries"]["delaySeconds"] == 10
    assert flow["spec"]["infrastructureRetries"]["limit"] == 3


async def test_the_api_server_fills_in_the_defaults_of_a_deployment(client, namespace):
    spec = {
        "flowRef": {"name": "etl"},
        "schedules": [{"name": "daily", "cron": "@daily"}],
        "concurrency": {"limit": 2},
    }

    deployment = await client.create(path(namespace, "deployments"), an_object("Deployment", "etl", **spec))

    assert deployment["spec"] == {
        "flowRef": {"name": "etl"},
        "priority": 0,
        "suspend": False,
        "schedules": [{"name": "daily", "cron": "@daily", "timeZone": "Etc/UTC", "suspend": False, "jitterSeconds": 0}],
        "catchUp": {"policy": "Latest"},
        "concurrency": {"limit": 2, "onConflict": "Queue"},
        "preemption": "Never",
        "history": {"succeeded": 10, "failed": 10},
    }


async def test_the_api_server_fills_in_the_defaults_of_a_run(client, namespace):
    run = await client.create(path(namespace, "flowruns"), an_object("FlowRun", "etl-1", flowRef={"name": "etl"}))

    assert run["spec"] == {"flowRef": {"name": "etl"}, "cancel": False, "suspend": False}


async def test_the_api_server_fills_in_the_defaults_of_a_backfill(client, namespace):
    partitions = {"range": {"from": "2026-01-01T00:00:00Z", "to": "2026-04-01T00:00:00Z", "cron": "@daily"}}
    spec = {"deploymentRef": {"name": "etl"}, "partitions": partitions}

    backfill = await client.create(path(namespace, "backfills"), an_object("Backfill", "q1", **spec))

    names = {"timeZone": "Etc/UTC", "parameterNames": {"start": "start", "end": "end"}}
    assert backfill["spec"] == {
        "deploymentRef": {"name": "etl"},
        "partitions": {"range": {**partitions["range"], **names}},
        "order": "Oldest",
        "maxActive": 10,
        "retries": {"limit": 0, "delaySeconds": 60},
        "suspend": False,
        "cancel": False,
        "rerunFailed": 0,
        "keepFailed": 20,
    }


async def test_a_backfill_with_300_000_outcomes_at_random_is_stored_and_read_back(client, namespace):
    """Whole, in what the API server takes for a status."""
    draw = random.Random(7)
    failed = Ranges.of(number for number in range(300_000) if draw.random() < 0.5)
    known = Outcomes(Ranges.span(0, 300_000) - failed, failed)
    spec = {"deploymentRef": {"name": "etl"}, "partitions": {"list": [{"name": "a"}]}}
    await client.create(path(namespace, "backfills"), an_object("Backfill", "q1", **spec))
    status = {"status": {"outcomes": known.encoded().to_api()}}
    await client.patch(path(namespace, "backfills", "q1", "status"), status)

    stored = await client.get(path(namespace, "backfills", "q1"))

    assert len(json.dumps(stored["status"])) < 64 * 1024
    assert decoded(PartitionOutcomes.model_validate(stored["status"]["outcomes"])) == known


async def test_kubectl_shows_how_a_backfill_comes_on(client, kubectl, namespace):
    spec = {"deploymentRef": {"name": "etl"}, "partitions": {"list": [{"name": "a"}]}}
    await client.create(path(namespace, "backfills"), an_object("Backfill", "q1", **spec))
    status = {
        "phase": "Running",
        "progress": "43%",
        "succeeded": 927,
        "failed": 2,
        "active": 50,
        "ratePerMinute": 118.4,
        "eta": "2026-04-02T01:40:09Z",
        "cost": {"amount": "41.207000", "currency": "USD"},
        "projectedCost": {"amount": "95.723186", "currency": "USD"},
    }
    await client.patch(path(namespace, "backfills", "q1", "status"), {"status": status})

    header, line = kubectl("get", "bf", "--namespace", namespace).stdout.splitlines()

    shown = ["Phase", "Progress", "Succeeded", "Failed", "Active", "Rate", "ETA", "Cost", "Projected", "Age"]
    assert header.split() == ["NAME", *map(str.upper, shown)]
    values = ["q1", "Running", "43%", "927", "2", "50", "118.4", "2026-04-02T01:40:09Z", "41.207000", "95.723186"]
    assert line.split()[:-1] == values


async def test_code_moves_from_the_image_into_the_manifest_by_an_ordinary_apply(kubectl, namespace):
    """A default that the API server wrote into `source` would stand beside the new one, and be refused."""
    flow = an_object("Flow", "etl", entrypoint="etl:main")
    kubectl("apply", "--namespace", namespace, "--filename", "-", input=json.dumps(flow))
    flow["spec"]["source"] = {"inline": {"files": {"etl.py": ""}}}

    kubectl("apply", "--namespace", namespace, "--filename", "-", input=json.dumps(flow))

    stored = json.loads(kubectl("get", "fl", "etl", "--namespace", namespace, "--output", "json").stdout)
    assert stored["spec"]["source"] == flow["spec"]["source"]


async def test_opaque_parts_are_kept_to_the_letter(client, namespace):
    opaque = {"none": None, "deep": {"n": [1, 2.5, None, {"a": {}}]}, "x-y": "", "T": True}
    spec = {
        "entrypoint": "etl:main",
        "parameters": {"schema": opaque, "defaults": opaque},
        "env": [{"name": "A", "valueFrom": opaque}],
        "envFrom": [opaque],
        "podTemplate": {"metadata": {"labels": {"a": "b"}}, "spec": opaque},
    }

    flow = await client.create(path(namespace, "flows"), an_object("Flow", "etl", **spec))

    assert {key: flow["spec"][key] for key in spec} == spec


@given(OBJECTS)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_api_server_takes_every_valid_object_and_gives_back_the_same(client, namespace, made):
    """With every field known: strict validation refuses what would be dropped."""
    collection = path(namespace, made.resource.plural)
    query = {"dryRun": "All", "fieldValidation": "Strict"}

    stored = await client.request("POST", collection, params=query, body=made.to_api())

    assert type(made).model_validate(stored).spec == made.spec


async def test_two_managers_own_a_schedule_each(client, namespace):
    target = path(namespace, "deployments", "etl")

    async def apply(manager: str, *schedules: dict[str, str]) -> dict[str, Any]:
        body = an_object("Deployment", "etl", flowRef={"name": "etl"}, schedules=list(schedules))
        return await client.patch(target, body, content_type=APPLY_PATCH, params={"fieldManager": manager})

    await apply("argocd", {"name": "daily", "cron": "@daily"})
    both = await apply("people", {"name": "weekly", "cron": "@weekly"})
    changed = await apply("argocd", {"name": "daily", "cron": "@hourly"})
    left = await apply("argocd")

    assert times(both) == {"daily": "@daily", "weekly": "@weekly"}
    assert times(changed) == {"daily": "@hourly", "weekly": "@weekly"}
    assert times(left) == {"weekly": "@weekly"}


def times(deployment: dict[str, Any]) -> dict[str, str]:
    return {schedule["name"]: schedule["cron"] for schedule in deployment["spec"]["schedules"]}


async def test_spec_and_status_are_written_apart(client, namespace):
    target = path(namespace, "flowruns", "etl-1")
    body = an_object("FlowRun", "etl-1", flowRef={"name": "etl"}) | {"status": {"phase": "Succeeded"}}
    created = await client.create(path(namespace, "flowruns"), body)
    told = await client.patch(f"{target}/status", {"spec": {"suspend": True}, "status": {"phase": "Running"}})
    steered = await client.patch(target, {"spec": {"suspend": True}, "status": {"phase": "Failed"}})

    assert "status" not in created
    assert (told["status"], told["spec"]["suspend"], told["metadata"]["generation"]) == ({"phase": "Running"}, False, 1)
    assert (steered["status"], steered["spec"]["suspend"]) == ({"phase": "Running"}, True)
    assert steered["metadata"]["generation"] == 2


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({"phase": "Done"}, "status.phase"),
        ({"attempts": [{"number": 0, "pod": "etl-1-0"}]}, "status.attempts[0].number"),
        ({"conditions": [{"type": "Accepted", "status": "Yes"}]}, "status.conditions[0].status"),
    ],
)
async def test_a_status_that_makes_no_sense_is_refused(client, namespace, status, field):
    await client.create(path(namespace, "flowruns"), an_object("FlowRun", "etl-1", flowRef={"name": "etl"}))

    with pytest.raises(Invalid) as refused:
        await client.patch(path(namespace, "flowruns", "etl-1", "status"), {"status": status})

    assert f"{field}: " in refused.value.message


async def test_runs_are_selected_by_phase(client, namespace):
    for name, phase in {"done": "Succeeded", "busy": "Running", "new": None}.items():
        await client.create(path(namespace, "flowruns"), an_object("FlowRun", name, flowRef={"name": "etl"}))
        if phase:
            await client.patch(path(namespace, "flowruns", name, "status"), {"status": {"phase": phase}})

    async def selected(selector: str) -> set[str]:
        runs = await client.list(path(namespace, "flowruns"), {"fieldSelector": selector})
        return {run["metadata"]["name"] for run in runs}

    assert await selected("status.phase=Succeeded") == {"done"}
    assert await selected("status.phase!=Succeeded") == {"busy", "new"}
    assert await selected("status.phase!=Succeeded,status.phase!=Failed") == {"busy", "new"}


READY = {
    "type": "Ready",
    "status": "False",
    "reason": "FlowNotFound",
    "message": "no such Flow",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
FLOW_STATUS = {"revision": "5f2a9c", "conditions": [{**READY, "status": "True", "reason": "Ready", "message": "fine"}]}
DEPLOYMENT_STATUS = {
    "conditions": [READY],
    "activeCount": 2,
    "queuedCount": 7,
    "nextSchedules": [
        {"name": "daily", "time": "2026-01-02T00:00:00Z"},
        {"name": "weekly", "time": "2026-01-04T00:00:00Z"},
    ],
    "lastRun": {"name": "etl-daily-1", "phase": "Failed", "reason": "OOMKilled", "time": "2026-01-01T00:01:00Z"},
}
RUN_STATUS = {
    "phase": "Retrying",
    "reason": "OOMKilled",
    "message": "more memory",
    "flowRevision": "5f2a9c",
    "startedAt": "2026-01-01T00:00:00Z",
    "attempts": [
        {"number": 1, "pod": "etl-1-1", "node": "node-a"},
        {"number": 2, "pod": "etl-1-2", "node": "node-b"},
    ],
}


async def test_kubectl_get_answers_the_first_questions(client, kubectl, namespace):
    run = an_object("FlowRun", "etl-1", deploymentRef={"name": "nightly"}, scheduledTime="2026-01-01T00:00:00Z")
    for body, status in (
        (an_object("Flow", "etl", entrypoint="etl:main", image="example.org/etl:1"), FLOW_STATUS),
        (an_object("Deployment", "nightly", flowRef={"name": "etl"}), DEPLOYMENT_STATUS),
        (run, RUN_STATUS),
        (an_object("FlowRun", "by-hand", flowRef={"name": "etl"}), {}),
    ):
        plural = MODELS[body["kind"]].resource.plural
        await client.create(path(namespace, plural), body)
        await client.patch(path(namespace, plural, body["metadata"]["name"], "status"), {"status": status})

    tables = kubectl("get", "fl,fdep,fr", "--namespace", namespace, "--output", "wide").stdout
    flow, deployment, runs = (rows(table) for table in tables.strip().split("\n\n"))

    assert flow == [
        {
            "NAME": "flow.headrace.dev/etl",
            "READY": "True",
            "REASON": "Ready",
            "REVISION": "5f2a9c",
            "ENTRYPOINT": "etl:main",
            "IMAGE": "example.org/etl:1",
            "MESSAGE": "fine",
        }
    ]
    assert deployment == [
        {
            "NAME": "deployment.headrace.dev/nightly",
            "FLOW": "etl",
            "READY": "False",
            "REASON": "FlowNotFound",
            "SUSPENDED": "false",
            "NEXT": "2026-01-02T00:00:00Z",
            "ACTIVE": "2",
            "QUEUED": "7",
            "LAST": "Failed",
            "LAST-RUN": "etl-daily-1",
            "LAST-REASON": "OOMKilled",
            "MESSAGE": "no such Flow",
        }
    ]
    by_hand, nightly = runs
    assert by_hand == {"NAME": "flowrun.headrace.dev/by-hand", "OF": "etl"}
    assert nightly.pop("STARTED").endswith("d")
    assert nightly == {
        "NAME": "flowrun.headrace.dev/etl-1",
        "OF": "nightly",
        "PHASE": "Retrying",
        "REASON": "OOMKilled",
        "ATTEMPT": "2",
        "SCHEDULED": "2026-01-01T00:00:00Z",
        "REVISION": "5f2a9c",
        "NODE": "node-b",
        "MESSAGE": "more memory",
    }


def rows(table: str) -> list[dict[str, str]]:
    """The rows of a table of kubectl, the age and empty cells left out; columns start where their heads do."""
    head, *lines = table.splitlines()
    starts = [0, *(at + 1 for at, character in enumerate(head[:-1]) if character == " " and head[at + 1] != " ")]
    spans = list(zip(starts, [*starts[1:], None], strict=True))
    cells = [{head[low:high].strip(): line[low:high].strip() for low, high in spans} for line in lines]
    return [{name: text for name, text in row.items() if name != "AGE" and text} for row in cells]


async def test_the_narrow_tables_end_with_the_age(client, kubectl, namespace):
    await client.create(path(namespace, "flows"), an_object("Flow", "etl", entrypoint="etl:main"))

    head = kubectl("get", "headrace", "--namespace", namespace).stdout.splitlines()[0]

    assert head.split() == ["NAME", "READY", "REASON", "REVISION", "MEMORY", "CPU", "AGE"]


MANIFEST = """
apiVersion: headrace.dev/v1alpha1
kind: Deployment
metadata: {name: nightly}
spec:
  flowRef: {name: etl}
  schedules:
  - {name: late, cron: "0 25 * * *"}
  - {name: nowhere, cron: "0 7 * * *", timeZone: Europe/Londn}
  - {name: both, cron: "0 7 * * *", intervalSeconds: 60}
"""


async def test_kubectl_apply_tells_everything_that_is_wrong_at_once(kubectl, namespace):
    refused = kubectl("apply", "--namespace", namespace, "--filename", "-", input=MANIFEST, check=False)

    assert refused.returncode == 1
    for told in (
        'spec.schedules[0].cron: Invalid value: "0 25 * * *": cron: hour takes 0-23',
        "unknown time zone Europe/Londn",
        "timeZone: must be an IANA name that the API server knows",
        "spec.schedules[2]: Invalid value: cron: set exactly one of cron, intervalSeconds and rrule",
    ):
        assert told in refused.stderr


async def test_kubectl_apply_refuses_a_field_that_does_not_exist(kubectl, namespace):
    manifest = yaml.safe_dump(an_object("Flow", "etl", entrypoint="etl:main", retires={"limit": 3}))

    refused = kubectl("apply", "--namespace", namespace, "--filename", "-", input=manifest, check=False)

    assert refused.returncode == 1
    assert 'unknown field "spec.retires"' in refused.stderr


async def test_kubectl_explain_describes_a_field(kubectl):
    told = " ".join(kubectl("explain", "fdep.spec.catchUp.policy").stdout.split())

    assert "ENUM: None Latest All DESCRIPTION: None: missed times are passed over." in told

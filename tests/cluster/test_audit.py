"""Objects say who did what with them: real users on a real API server, and none of them can write it himself."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from headrace.api.audit import Deed, account_of, deeds_of
from headrace.api.keys import API_VERSION
from headrace.devcluster.binaries import Binaries
from headrace.devcluster.crds import OPERATOR_NAMESPACE
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import Unavailable
from tests.cluster.support.deeds import install_audit
from tests.cluster.support.puppet import Runs
from tests.cluster.support.rights import ACCOUNT
from tests.cluster.support.signin import Signed, an_account, signed_in
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

NAMESPACE = "team-a"
KINDS = ["flows", "deployments", "flowruns", "backfills", "automations"]
EDITOR = ("headrace.dev", KINDS, ["get", "list", "create", "update", "patch"])
AUDIT = "headrace.dev/audit"
FORGED = "2020-01-01T00:00:00Z nobody cancelled"
RUNS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/flowruns"
DEPLOYMENTS = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/deployments"


@pytest.fixture
async def people(admin: KubeClient, own_plane: Plane) -> AsyncIterator[dict[str, Signed]]:
    """Ada and Ben, who may edit all; the policy is in force."""
    await admin.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    assert await install_audit(admin, f"system:serviceaccount:{OPERATOR_NAMESPACE}:{ACCOUNT}{NAMESPACE}")
    async with AsyncExitStack() as stack:
        signed = {}
        for name in ("ada", "ben"):
            await an_account(admin, NAMESPACE, name, EDITOR)
            signed[name] = await stack.enter_async_context(signed_in(admin, own_plane, NAMESPACE, name))

        async def notes() -> bool:
            """For each kind; a new kind is unknown to policies that change things for a moment."""
            asked = ((RUNS, a_run("probe")), (DEPLOYMENTS, a_deployment("probe")))
            try:
                made = [await admin.request("POST", path, body=body, params={"dryRun": "All"}) for path, body in asked]
            except Unavailable:
                return False
            return all(map(deeds_of, made))

        await eventually(notes, within_s=90, what="the policy is in force")
        yield signed


def a_run(name: str, metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = {"apiVersion": API_VERSION, "kind": "FlowRun", "metadata": {"name": name, **(metadata or {})}}
    return {**body, "spec": {"flowRef": {"name": "etl"}, **spec}}


def a_deployment(name: str) -> dict[str, Any]:
    body = {"apiVersion": API_VERSION, "kind": "Deployment", "metadata": {"name": name}}
    return {**body, "spec": {"flowRef": {"name": "etl"}}}


def told(obj: dict[str, Any]) -> list[str]:
    """Who did what, without the namespace that all have."""
    return [f"{deed.user.rpartition(':')[2]} {deed.what}" for deed in deeds_of(obj)]


async def test_a_run_says_who_made_cancelled_held_and_answered_it(people: dict[str, Signed]) -> None:
    ada, ben = people["ada"].client, people["ben"].client
    made = await ada.create(RUNS, a_run("one"))
    await ben.patch(f"{RUNS}/one", {"spec": {"suspend": True}})
    await ada.patch(f"{RUNS}/one", {"spec": {"suspend": False, "priority": 3}})
    await ben.patch(f"{RUNS}/one", {"spec": {"answers": [{"name": "release", "decision": "Approve"}]}})
    last = await ada.patch(f"{RUNS}/one", {"spec": {"cancel": True}})
    assert told(last) == [
        "ada created",
        "ben suspended",
        "ada resumed, changed priority",
        "ben approved release",
        "ada cancelled",
    ]
    assert deeds_of(last)[0] == Deed(
        made["metadata"]["creationTimestamp"], f"system:serviceaccount:{NAMESPACE}:ada", "created"
    )
    assert [deed.time for deed in deeds_of(last)] == sorted(deed.time for deed in deeds_of(last))
    again = await ben.create(RUNS, a_run("two", {"labels": {"headrace.dev/rerun-of": "one"}}))
    assert told(again) == ["ben created as another go of one"]


async def test_large_objects_can_be_changed(people: dict[str, Signed]) -> None:
    """The policy has a budget of its own: what is as large as it may be must not exceed it."""
    ada = people["ada"].client
    flows = f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/flows"
    flow = {"apiVersion": API_VERSION, "kind": "Flow", "metadata": {"name": "large"}}
    source = {"inline": {"files": {"etl.py": "#" + "x" * 262_000}}}
    await ada.create(flows, {**flow, "spec": {"entrypoint": "etl.py:main", "source": source}})
    changed = await ada.patch(f"{flows}/large", {"spec": {"source": {"inline": {"files": {"etl.py": "#y"}}}}})
    assert told(changed) == ["ada created", "ada changed source"]
    deployment = a_deployment("large")
    deployment["spec"]["parameters"] = {f"p{n}": {"values": list(range(20))} for n in range(900)}
    await ada.create(DEPLOYMENTS, deployment)
    last = await ada.patch(f"{DEPLOYMENTS}/large", {"spec": {"parameters": {"p899": {"values": []}}}})
    assert told(last) == ["ada created", "ada changed parameters"]
    await ada.create(RUNS, a_run("one"))
    answers = [{"name": f"pause-{n}", "decision": "Approve", "input": {"a": "x" * 1000}} for n in range(50)]
    await ada.patch(f"{RUNS}/one", {"spec": {"answers": answers[:49]}})
    last = await ada.patch(f"{RUNS}/one", {"spec": {"answers": answers}})
    assert told(last)[-1] == "ada approved pause-49"


async def test_nobody_can_write_it_himself(people: dict[str, Signed], admin: KubeClient) -> None:
    """Neither at creation, nor later, nor an administrator; nor is it lost when somebody replaces the object."""
    ada, ben = people["ada"].client, people["ben"].client
    await ada.create(RUNS, a_run("one", {"annotations": {AUDIT: FORGED, "note": "mine"}}))
    for each in (ben, admin):
        for value in (FORGED, None):
            changed = await each.patch(f"{RUNS}/one", {"metadata": {"annotations": {AUDIT: value}}})
            assert told(changed) == ["ada created"]
            assert changed["metadata"]["annotations"]["note"] == "mine"
    changed.pop("status", None)
    changed["metadata"]["annotations"] = None
    changed["spec"]["cancel"] = True
    replaced = await ben.request("PUT", f"{RUNS}/one", body=changed)
    assert told(replaced) == ["ada created", "ben cancelled"]


async def test_a_time_that_is_written_by_hand_is_not_believed(people: dict[str, Signed]) -> None:
    ben = people["ben"].client
    made = await ben.create(RUNS, a_run("one"))
    field = {"f:metadata": {"f:labels": {"f:a": {}}}}
    forged = {"manager": "x", "operation": "Update", "apiVersion": API_VERSION, "fieldsType": "FieldsV1"}
    made["metadata"]["managedFields"].append({**forged, "time": "2020-01-01T00:00:00Z", "fieldsV1": field})
    made["metadata"]["labels"] = {"a": "b"}
    made["spec"]["cancel"] = True
    deed = deeds_of(await ben.request("PUT", f"{RUNS}/one", body=made))[-1]
    assert deed.what == "cancelled"
    assert deed.time != "2020-01-01T00:00:00Z"


async def test_a_line_is_one_line_and_the_first_stays(
    people: dict[str, Signed], binaries: Binaries, own_plane: Plane
) -> None:
    """Users may have any name; whom the dashboard acts for is told, and is not believed of others; 20 lines are kept."""
    ada = people["ada"].client
    await ada.create(RUNS, a_run("one"))
    await as_user(binaries, own_plane, "eve x cancelled 100%", "one", {"spec": {"priority": 1}})
    assert deeds_of(await ada.get(f"{RUNS}/one"))[-1].user == "eve%20x%20cancelled%20100%25"
    dashboard = f"system:serviceaccount:{OPERATOR_NAMESPACE}:headrace-dashboard"
    asked = {"metadata": {"annotations": {"headrace.dev/asked-by": "cleo d"}}, "spec": {"priority": 2}}
    await as_user(binaries, own_plane, dashboard, "one", asked)
    assert deeds_of(await ada.get(f"{RUNS}/one"))[-1].what == "changed priority for cleo%20d"
    other = await ada.patch(f"{RUNS}/one", {"spec": {"priority": 3}})
    assert deeds_of(other)[-1].what == "changed priority"
    for number in range(4, 30):
        last = await ada.patch(f"{RUNS}/one", {"spec": {"priority": number}})
    assert told(last) == ["ada created", *["ada changed priority"] * 19]


async def as_user(binaries: Binaries, plane: Plane, user: str, run: str, patch: dict[str, Any]) -> None:
    """An administrator patches the run in the name of `user`."""
    where = [str(binaries.kubectl), "--kubeconfig", str(plane.kubeconfig), "-n", NAMESPACE, f"--as={user}"]
    change = ["--as-group=system:masters", "patch", "flowrun", run, "--type=merge", "-p", json.dumps(patch)]
    process = await asyncio.create_subprocess_exec(*where, *change, stderr=PIPE, stdout=PIPE)
    _, problem = await process.communicate()
    assert process.returncode == 0, problem


async def test_a_deployment_says_who_suspended_changed_and_reset_it(people: dict[str, Signed]) -> None:
    ada, ben = people["ada"].client, people["ben"].client
    await ada.create(DEPLOYMENTS, a_deployment("daily"))
    schedule = {"name": "nightly", "cron": "0 7 * * *"}
    await ben.patch(f"{DEPLOYMENTS}/daily", {"spec": {"suspend": True}})
    await ada.patch(f"{DEPLOYMENTS}/daily", {"spec": {"schedules": [schedule], "priority": 2}})
    await ben.patch(f"{DEPLOYMENTS}/daily", {"metadata": {"annotations": {"headrace.dev/circuit-reset": "now"}}})
    last = await ada.patch(f"{DEPLOYMENTS}/daily", {"metadata": {"labels": {"team": "a"}}})
    assert told(last) == ["ada created", "ben suspended", "ada changed priority schedules", "ben reset circuit"]


async def test_the_operator_adds_nothing(
    people: dict[str, Signed], admin: KubeClient, own_plane: Plane, tmp_path: Path
) -> None:
    """A run that it takes to its end says who made it and no more; one of a schedule says which."""
    ada = people["ada"].client
    async with a_world(admin, own_plane.kubeconfig, NAMESPACE, tmp_path) as world:
        world.puppet.script = lambda _pod: Runs()
        await world.a_flow("etl")
        await ada.create(RUNS, a_run("one"))
        await world.run_is("one", "Running")
        await ada.patch(f"{RUNS}/one", {"spec": {"cancel": True}})
        await world.finished("one")
        assert told(await world.get("FlowRun", "one")) == ["ada created", "ada cancelled"]
        await ada.create(DEPLOYMENTS, a_deployment("often"))
        schedule = {"name": "always", "intervalSeconds": 1}
        await ada.patch(f"{DEPLOYMENTS}/often", {"spec": {"schedules": [schedule]}})
        first = await eventually(lambda: scheduled(world), what="the schedule has started a run")
        assert account_of(first) == ("started by schedule always",)


async def scheduled(world: World) -> dict[str, Any] | None:
    return next((run for run in await world.list("FlowRun") if run["spec"].get("deploymentRef")), None)

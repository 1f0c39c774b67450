"""Flows that start runs of Deployments: operator, local node and SDK as real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.real_flows import a_flow_with_notes, a_real_world, a_service_account
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World

WITHIN_S = 90

CODE = '''
import time
from pathlib import Path
from headrace import DeploymentRunFailed, emit_event, flow, run_deployment, runtime

@flow
def child(notes: str = "/notes", n: int = 0, what: str = "returns"):
    if what == "fails":
        raise ValueError("no rows")
    if what == "waits":
        Path(notes, "child").write_text("begun")
        try:
            while not Path(notes, "go").exists():
                time.sleep(0.05)
        finally:
            Path(notes, "child").write_text("ended")
    run = runtime.flow_run
    return {"from": [run.parent, run.root], "text": "x" * n}

@flow
def parent(notes: str = "/notes", n: int = 0, what: str = "returns", timeout: float | None = None):
    run = run_deployment("child", {"n": n, "what": what}, timeout_seconds=timeout)
    if timeout is not None:
        return run.phase
    emit_event("child.ended", run.name, {"phase": run.phase})
    try:
        found = run.result()
    except DeploymentRunFailed as error:
        return [error.phase, error.reason, error.message]
    return [run.name, found["from"], len(found["text"])]

@flow
async def on_loop():
    run = await run_deployment.aio("child", {"n": 5})
    return (await run.result_aio())["text"]

@flow
def dies(notes: str = "/notes"):
    """Is killed while it waits."""
    return run_deployment("child", {"what": "waits"}).result()["from"]

@flow
def asks_for_nothing():
    run_deployment("chilt")
'''


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace whose flows run as processes on a node of their own, with a ServiceAccount as docs/composition.md has it."""
    rules = [
        {"apiGroups": ["headrace.dev"], "resources": ["flowruns"], "verbs": ["create", "get", "watch", "patch"]},
        {"apiGroups": ["headrace.dev"], "resources": ["deployments"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
    ]
    await a_service_account(client, namespace, "starter", rules)
    async with a_real_world(client, kubeconfig, namespace, tmp_path, local_node) as made:
        yield made


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder that all pods of the test's flows mount at /notes."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


async def a_flow(world: World, notes: Path, function: str, **spec: Any) -> None:
    fields = {"serviceAccountName": "starter", **spec}
    await world.create(
        "Flow", function.replace("_", "-"), **a_flow_with_notes(world.namespace, notes, CODE, function, **fields)
    )


async def a_child(world: World, notes: Path, **deployment: Any) -> None:
    await a_flow(world, notes, "child", apiAccess="None", serviceAccountName="default")
    await world.create("Deployment", "child", **{"flowRef": {"name": "child"}, **deployment})


async def started(world: World, notes: Path, function: str = "parent", **parameters: Any) -> dict[str, Any]:
    """The run of a flow that starts the child."""
    await a_flow(world, notes, function, retries={"limit": 1, "delaySeconds": 0})
    return await world.a_run("top-1", flow=function, parameters=parameters)


async def the_child(world: World) -> dict[str, Any]:
    """The one FlowRun of the Deployment, as soon as it is there."""

    async def look() -> dict[str, Any] | None:
        found = [each for each in await world.list("FlowRun") if "deploymentRef" in each["spec"]]
        assert len(found) <= 1, [each["metadata"]["name"] for each in found]
        return found[0] if found else None

    return await eventually(look, within_s=WITHIN_S, what="the child is created")


async def begun(notes: Path) -> None:
    await eventually((notes / "child").exists, within_s=WITHIN_S, what="the child has begun")


def killed(uid: str) -> None:
    """SIGKILL to the processes of a run's pod; they cannot do that themselves, as the first of their namespace."""
    mine = [each for each in psutil.process_iter() if environment_of(each).get("HEADRACE_FLOW_RUN_UID") == uid]
    assert mine
    for each in mine:
        each.kill()


def environment_of(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


async def test_a_flow_gets_the_result_of_a_run_that_it_started(world: World, notes: Path) -> None:
    """More than the status holds; each knows the other."""
    await a_child(world, notes)
    top = await started(world, notes, n=5000)
    status = await world.finished("top-1", within_s=WITHIN_S)
    assert status["phase"] == "Succeeded", status["message"]
    child = await the_child(world)
    name = child["metadata"]["name"]
    assert status["result"] == {"value": [name, ["top-1", "top-1"], 5000]}
    assert (status["tasks"]["total"], status["tasks"]["succeeded"]) == (1, 1)
    assert child["status"]["result"]["url"].startswith(f"file:///notes/results/{world.namespace}/{name}/")
    assert child["spec"]["startedBy"] == {
        "name": "top-1",
        "uid": top["metadata"]["uid"],
        "root": "top-1",
        "onEnd": "Cancel",
    }
    assert child["metadata"]["labels"]["headrace.dev/started-by"] == "top-1"
    events = await world.events("top-1")
    assert ("ChildEnded", f'child.ended {name} {{"phase": "Succeeded"}}') in events


async def test_a_flow_that_was_killed_takes_up_the_run_that_it_started(world: World, notes: Path) -> None:
    """The run goes on meanwhile, and there is one."""
    await a_child(world, notes)
    top = await started(world, notes, "dies")
    await begun(notes)
    killed(top["metadata"]["uid"])
    await world.pod("top-1-2")
    assert (notes / "child").read_text() == "begun"
    (notes / "go").touch()
    status = await world.finished("top-1", within_s=WITHIN_S)
    assert (status["phase"], status["result"]) == ("Succeeded", {"value": ["top-1", "top-1"]})
    assert [each["number"] for each in status["attempts"]] == [1, 2]
    child = await the_child(world)
    assert len(child["status"]["attempts"]) == 1


async def test_how_a_run_failed_is_told_to_the_flow_that_started_it(world: World, notes: Path) -> None:
    """With reason and message; the flow goes on."""
    await a_child(world, notes)
    await started(world, notes, what="fails")
    status = await world.finished("top-1", within_s=WITHIN_S)
    phase, reason, message = status["result"]["value"]
    assert (status["phase"], phase, reason) == ("Succeeded", "Failed", "FlowFailed")
    assert "ValueError: no rows" in message
    assert status["tasks"]["failed"] == 1


async def test_a_run_that_is_skipped_is_told_to_the_flow_that_started_it(world: World, notes: Path) -> None:
    """Its Deployment has a slot, which another run holds."""
    await a_child(world, notes, concurrency={"limit": 1, "onConflict": "Skip"})
    await world.create("FlowRun", "other", deploymentRef={"name": "child"}, parameters={"what": "waits"})
    await begun(notes)
    await started(world, notes)
    status = await world.finished("top-1", within_s=WITHIN_S)
    assert status["result"]["value"][:2] == ["Skipped", "SkippedByConcurrency"]
    (notes / "go").touch()
    assert (await world.finished("other", within_s=WITHIN_S))["phase"] == "Succeeded"


async def test_a_flow_that_is_cancelled_takes_the_run_with_it(world: World, notes: Path) -> None:
    """Nobody waits for it any more."""
    await a_child(world, notes)
    await started(world, notes, what="waits")
    await begun(notes)
    await world.patch("FlowRun", "top-1", {"cancel": True})
    status = await world.finished("top-1", within_s=WITHIN_S)
    child = await world.finished((await the_child(world))["metadata"]["name"], within_s=WITHIN_S)
    assert (status["phase"], child["phase"]) == ("Cancelled", "Cancelled")
    assert "FlowRun top-1, which started this run, is over or was cancelled" in child["message"]
    assert (notes / "child").read_text() == "ended"


async def test_a_flow_waits_no_longer_than_it_wants(world: World, notes: Path) -> None:
    """What it has waited for ends with it all the same."""
    await a_child(world, notes)
    await started(world, notes, what="waits", timeout=3)
    status = await world.finished("top-1", within_s=WITHIN_S)
    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"]["value"] in {"Pending", "Running"}
    child = await world.finished((await the_child(world))["metadata"]["name"], within_s=WITHIN_S)
    assert child["phase"] == "Cancelled"


async def test_an_async_flow_awaits_it(world: World, notes: Path) -> None:
    """With the event loop free."""
    await a_child(world, notes)
    await a_flow(world, notes, "on_loop")
    await world.a_run("top-1", flow="on-loop")
    status = await world.finished("top-1", within_s=WITHIN_S)
    assert (status["phase"], status.get("result")) == ("Succeeded", {"value": "xxxxx"}), status["message"]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param({}, "there is no Deployment of that name in namespace", id="no such Deployment"),
        pytest.param({"apiAccess": "None"}, "set spec.apiAccess: Enabled of Flow", id="no token"),
        pytest.param({"serviceAccountName": "default"}, "the verbs create, get, watch and patch on", id="no rights"),
    ],
)
async def test_what_is_missing_is_told_in_the_status(
    world: World, notes: Path, spec: dict[str, Any], says: str
) -> None:
    """With what to write."""
    await a_child(world, notes)
    await a_flow(world, notes, "asks_for_nothing", **spec)
    await world.a_run("top-1", flow="asks-for-nothing")
    status = await world.finished("top-1", within_s=WITHIN_S)
    assert status["phase"] == "Failed"
    assert says in status["message"]


async def test_a_laptop_starts_a_run_by_its_kubeconfig(world: World, notes: Path, kubeconfig: Path) -> None:
    """And gets its result."""
    await a_child(world, notes)
    code = (
        "from headrace import run_deployment\n"
        f"run = run_deployment('{world.namespace}/child', {{'n': 3}}, timeout_seconds=60)\n"
        "print(run.phase, run.result())"
    )
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environment, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    child = await the_child(world)
    name = child["metadata"]["name"]
    assert out.decode().strip() == f"Succeeded {{'from': ['', '{name}'], 'text': 'xxx'}}"
    assert "startedBy" not in child["spec"]

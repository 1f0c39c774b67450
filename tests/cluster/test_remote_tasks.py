"""Tasks in pods of their own: operator, local node and SDK as real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.real_flows import a_flow_with_notes, a_real_world, a_service_account
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World

WITHIN_S = 90

CODE = '''
import os, time
from dataclasses import dataclass
from pathlib import Path
from headrace import Pod, flow, task

@dataclass
class Model:
    weight: int

class Unfit(Exception):
    """Raised in one process and caught in another."""

@task(pod=Pod(resources={"cpu": "20m"}))
def train(weight: int) -> Model:
    print("training", weight)
    if weight < 0:
        raise Unfit(f"weight {weight}")
    return Model(weight + 1)

@task(pod=Pod())
def waits(notes: str):
    Path(notes, "task").write_text("begun")
    try:
        while not Path(notes, "go").exists():
            time.sleep(0.05)
    finally:
        Path(notes, "task").write_text("ended")
    return "went"

@flow
def main() -> list:
    first, second = train.submit(1), train.submit(10)
    try:
        train(-1)
    except Unfit as error:
        return [first.result().weight, second.result().weight, str(error)]

@flow(retries=1)
def twice(notes: str) -> str:
    """The first attempt is lost while its task runs."""
    return waits(notes)

@flow
def leaves(notes: str):
    """Ends while its task runs."""
    waits.submit(notes)
    while not Path(notes, "task").exists():
        time.sleep(0.05)
    os._exit(3)
'''


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace whose flows run as processes on a node of their own, with a ServiceAccount that may create FlowRuns."""
    rule = {"apiGroups": ["headrace.dev"], "resources": ["flowruns"], "verbs": ["create", "get", "watch", "patch"]}
    await a_service_account(client, namespace, "trainer", [rule])
    async with a_real_world(client, kubeconfig, namespace, tmp_path, local_node) as made:
        yield made


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder that all pods of the test's flows mount at /notes."""
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


async def a_flow(world: World, notes: Path, function: str, **spec: Any) -> None:
    fields = {"serviceAccountName": "trainer", **spec}
    await world.create("Flow", function, **a_flow_with_notes(world.namespace, notes, CODE, function, **fields))


async def begun(notes: Path) -> None:
    await eventually((notes / "task").exists, within_s=WITHIN_S, what="the task has begun")


async def test_values_and_exceptions_come_back_from_pods_of_their_own(world: World, notes: Path, kubectl: Any) -> None:
    """Two at a time, and one that fails; each is a FlowRun that the flow's run owns."""
    await a_flow(world, notes, "main", retries={"limit": 3, "delaySeconds": 0})
    run = await world.a_run("etl-1", flow="main")
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"] == {"value": [2, 11, "weight -1"]}
    runs = {each["metadata"]["name"]: each for each in await world.list("FlowRun")}
    assert set(runs) == {"etl-1", "etl-1-train-0", "etl-1-train-1", "etl-1-train-2"}
    assert {runs[f"etl-1-train-{n}"]["status"]["phase"] for n in (0, 1)} == {"Succeeded"}
    failed = runs["etl-1-train-2"]
    assert (failed["status"]["phase"], len(failed["status"]["attempts"])) == ("Failed", 1)
    assert "Unfit: weight -1" in failed["status"]["message"]
    assert failed["metadata"]["ownerReferences"][0]["uid"] == run["metadata"]["uid"]
    pod = await world.pod("etl-1-train-0-1")
    assert pod["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "20m"}
    assert "training 1" in kubectl("logs", "-n", world.namespace, "etl-1-train-0-1").stdout


async def test_a_flow_whose_pod_is_lost_takes_up_its_task(world: World, notes: Path) -> None:
    """The task goes on meanwhile, and runs once."""
    await a_flow(world, notes, "twice", infrastructureRetries={"limit": 1, "delaySeconds": 0})
    await world.a_run("etl-1", flow="twice", parameters={"notes": "/notes"})
    await begun(notes)
    await world.delete_pod("etl-1-1")
    await world.pod("etl-1-2")
    assert (notes / "task").read_text() == "begun"
    (notes / "go").touch()
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert (status["phase"], status["result"]) == ("Succeeded", {"value": "went"})
    assert [each["number"] for each in status["attempts"]] == [1, 2]
    assert [len(run["status"]["attempts"]) for run in await world.list("FlowRun")] == [2, 1]


@pytest.mark.parametrize(
    ("function", "cancelled", "phase"),
    [
        pytest.param("twice", True, "Cancelled", id="the flow is cancelled"),
        pytest.param("leaves", False, "Failed", id="the flow ends without its task"),
    ],
)
async def test_the_end_of_the_flow_ends_its_tasks(
    world: World, notes: Path, function: str, cancelled: bool, phase: str
) -> None:
    """They would hold a node for nothing."""
    await a_flow(world, notes, function)
    await world.a_run("etl-1", flow=function, parameters={"notes": "/notes"})
    await begun(notes)
    if cancelled:
        await world.patch("FlowRun", "etl-1", {"cancel": True})
    status = await world.finished("etl-1", within_s=WITHIN_S)
    task = await world.finished("etl-1-waits-0", within_s=WITHIN_S)
    assert status["phase"] == phase
    assert (task["phase"], task["reason"]) == ("Cancelled", "Cancelled")
    assert "FlowRun etl-1, which called this task, is over" in task["message"]
    assert (notes / "task").read_text() == "ended"


async def test_a_task_without_its_parent_is_cancelled(world: World, notes: Path) -> None:
    """Also one that an operator finds which was away when the parent went."""
    await a_flow(world, notes, "main")
    world.operator.kill()
    task = {
        "name": "train",
        "parent": {"name": "gone-1", "uid": "7d1f2c1e-0000-4000-8000-000000000000"},
        "function": "etl.py:train",
        "input": "file:///notes/in",
        "output": "file:///notes/out",
    }
    await world.a_run("gone-1-train-0", flow="main", task=task)
    world.operator.start()
    status = await world.finished("gone-1-train-0", within_s=WITHIN_S)
    assert status["phase"] == "Cancelled"
    assert "attempts" not in status


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        pytest.param({"results": None}, "set spec.results.url of Flow", id="no storage"),
        pytest.param({"apiAccess": "None"}, "set spec.apiAccess: Enabled of Flow", id="no token"),
        pytest.param({"serviceAccountName": "default"}, "verbs create, get, watch and patch", id="no rights"),
    ],
)
async def test_what_the_flow_lacks_is_told_in_its_status(
    world: World, notes: Path, spec: dict[str, Any], says: str
) -> None:
    """With the field to set."""
    await a_flow(world, notes, "main", **spec)
    await world.a_run("etl-1", flow="main")
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert status["phase"] == "Failed"
    assert says in status["message"]

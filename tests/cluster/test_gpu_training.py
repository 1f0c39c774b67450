"""The GPU scenario: CPUs prepare, a GPU trains, and the model is deployed only if its score passes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.world import World, with_real_pods

EXAMPLE = Path(__file__).parents[2] / "examples" / "gpu-training"
WITHIN_S = 90
A_SECOND = timedelta(seconds=1)
"""Times of pods are whole seconds, cut off."""


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace with an operator, a node of CPUs, and one with a GPU that only what tolerates its taint may use."""
    await local_node("cpus", labels={"headrace.dev/pool": "general"})
    await local_node(
        "gpus",
        labels={"headrace.dev/pool": "gpu"},
        taints=["nvidia.com/gpu=present:NoSchedule"],
        capacity={"nvidia.com/gpu": "1"},
    )
    async with with_real_pods(client, kubeconfig, namespace, tmp_path) as found:
        yield found


@pytest.fixture
def data(world: World, kubectl: Any, tmp_path: Path) -> Any:
    """The example is applied, as its page says; the folder where its pods keep results and model."""
    folder = tmp_path / "data"
    text = (EXAMPLE / "training.yaml").read_text()
    for here, there in {
        "namespace: default": f"namespace: {world.namespace}",
        "/var/tmp/headrace-training": str(folder),
    }.items():
        assert here in text
        text = text.replace(here, there)
    kubectl("apply", "-f", str(EXAMPLE / "pools.yaml"))
    kubectl("apply", "-n", world.namespace, "-f", "-", input=text)
    yield folder
    kubectl("delete", "-f", str(EXAMPLE / "pools.yaml"))


def in_log(kubectl: Any, world: World, pod: str) -> dict[str, datetime]:
    """When each event of a task run was logged, by "event task_run"."""
    lines = [json.loads(line) for line in kubectl("logs", "-n", world.namespace, pod).stdout.splitlines()]
    return {f"{each['event']} {each.get('task_run')}": datetime.fromisoformat(each["time"]) for each in lines}


async def test_the_gpu_is_held_while_training_runs(world: World, data: Path, kubectl: Any) -> None:
    """One pod was ever on the GPU pool: made when training was called, over before it was evaluated."""
    kubectl("apply", "-n", world.namespace, "-f", str(EXAMPLE / "run.yaml"))
    status = await world.finished("training-1", within_s=WITHIN_S)
    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"]["value"]["deployed"] == "/data/model/model.json"
    assert json.loads((data / "model" / "model.json").read_text())["score"] >= 0.9

    pods = {pod["metadata"]["name"]: pod for pod in await world.pods()}
    places = {
        name: (pod["metadata"]["labels"]["headrace.dev/pool"], pod["spec"]["nodeName"]) for name, pod in pods.items()
    }
    assert places == {"training-1-1": ("cpu", "cpus"), "training-1-train-0-1": ("gpu", "gpus")}
    training = pods["training-1-train-0-1"]
    assert training["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}

    events = in_log(kubectl, world, "training-1-1")
    made = datetime.fromisoformat(training["metadata"]["creationTimestamp"])
    ended = datetime.fromisoformat(training["status"]["containerStatuses"][0]["state"]["terminated"]["finishedAt"])
    assert events["task_succeeded prepare-0"] < made + A_SECOND
    assert ended <= events["task_started evaluate-0"]
    task = await world.status("FlowRun", "training-1-train-0")
    assert (task["phase"], task["pool"]) == ("Succeeded", "gpu")


async def test_a_model_that_does_not_pass_is_not_deployed(world: World, data: Path, kubectl: Any) -> None:
    """The run succeeds, and says the score."""
    run = (EXAMPLE / "run.yaml").read_text().replace("epochs: 20", "epochs: 0")
    kubectl("apply", "-n", world.namespace, "-f", "-", input=run)
    status = await world.finished("training-1", within_s=WITHIN_S)
    assert status["phase"] == "Succeeded", status["message"]
    assert status["result"]["value"]["deployed"] == ""
    assert status["result"]["value"]["score"] < 0.9
    assert not (data / "model").exists()

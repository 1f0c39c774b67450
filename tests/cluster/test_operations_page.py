"""What docs/operations.md tells a person to type in need, as it stands there."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import FLOW_RUN_LABEL, POD_FINALIZER
from headrace.devcluster.binaries import Binaries
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from tests.cluster.support.puppet import Ends, Pod, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world
from tests.pages import DOCS, blocks

THEIRS = "example.org/mine"


def block(section: str, language: str) -> str:
    """The only one of this section."""
    (found,) = [
        each.text for each in blocks(DOCS / "operations.md") if (each.section, each.language) == (section, language)
    ]
    return found


async def a_pod(client: KubeClient, namespace: str, name: str, *finalizers: str) -> str:
    """The path of a pod that looks like one of a run."""
    body: dict[str, Any] = {
        "metadata": {"name": name, "labels": {FLOW_RUN_LABEL: "r"}, "finalizers": list(finalizers)},
        "spec": {"containers": [{"name": "flow", "image": "none"}]},
    }
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await client.create(pods, body)
    return f"{pods}/{name}"


async def test_a_namespace_without_an_operator_is_let_go(
    client: KubeClient, kubeconfig: Path, namespace: str, binaries: Binaries
) -> None:
    """Pods that nobody would let go of go; a finalizer of somebody else stays."""
    ours = await a_pod(client, namespace, "ours", POD_FINALIZER)
    shared = await a_pod(client, namespace, "shared", THEIRS, POD_FINALIZER)
    for path in (ours, shared):
        await client.delete(path, grace_s=0)
    search = os.pathsep.join((str(binaries.kubectl.parent), os.environ["PATH"]))
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PATH": search}
    script = block("A namespace stays in Terminating", "bash")
    typed = partial(subprocess.run, ["bash", "-euc", script], env=environment, check=False)
    done = await asyncio.to_thread(typed, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(NotFound):
        await client.get(ours)
    assert (await client.get(shared))["metadata"]["finalizers"] == [THEIRS]
    await client.patch(shared, {"metadata": {"finalizers": None}})


def first_fails(pod: Pod) -> Ends | Runs:
    """When it is told to end, as runs do that are under way while everything is stopped; the others end well at once."""
    return Runs(on_term=Ends(exit_code=1)) if pod["metadata"]["name"] == "before-1" else Ends(message=report())


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(client, kubeconfig, namespace, tmp_path, script=first_fails) as made:
        await made.a_flow(infrastructureRetries={"limit": 2, "delaySeconds": 0, "jitter": 0})
        yield made


async def test_the_limit_that_stops_everything(world: World, kubectl: Any) -> None:
    """No pod begins while it is there, of retries neither; what runs goes on; what waits begins when it is gone."""
    await world.a_run("before")
    await world.run_is("before", "Running")
    kubectl("apply", "-f", "-", input=block("Stop everything", "yaml"))
    try:
        await eventually(lambda: told(kubectl), within_s=30, what="the limit is looked at")
        await world.a_run("after")
        await world.run_is("after", "Pending", "LimitTooSmall")
        assert (await world.status("FlowRun", "before"))["phase"] == "Running"
        await world.delete_pod("before-1")
        await world.run_is("before", "Retrying", "LimitTooSmall")
    finally:
        kubectl("delete", "cl", "stop")
    for name in ("before", "after"):
        assert (await world.finished(name))["phase"] == "Succeeded"


async def told(kubectl: Any) -> bool:
    """Whether the operator has seen it."""
    return bool(kubectl("get", "cl", "stop", "-o", "jsonpath={.status.observedGeneration}").stdout)

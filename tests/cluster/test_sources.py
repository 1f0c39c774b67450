"""Flows whose code is neither in their image nor in their manifest, as real processes."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.conftest import Kubectl
from tests.cluster.support.real_flows import NODE_LABEL, a_real_world
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World

CODE = Path(__file__).parents[2] / "examples" / "gitops" / "code"
WITHIN_S = 90


@pytest.fixture
async def world(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace whose flows run as processes on a node of their own."""
    async with a_real_world(client, kubeconfig, namespace, tmp_path, local_node) as found:
        yield found


def here(world: World) -> dict[str, Any]:
    return {"spec": {"nodeSelector": {NODE_LABEL: world.namespace}}}


async def test_a_flow_runs_from_the_config_map_that_kustomize_named(
    world: World, kubectl: Kubectl, tmp_path: Path
) -> None:
    """New code is a new name and so a new revision; a run of the former one keeps to its own."""
    folder = tmp_path / "code"
    shutil.copytree(CODE, folder)

    def apply() -> None:
        kubectl("apply", "-n", world.namespace, "-k", str(folder))

    async def code_of(run: str) -> str:
        pod = await world.pod(run)
        [name] = [v["configMap"]["name"] for v in pod["spec"]["volumes"] if v["name"] == "headrace-code"]
        return str(name)

    with (folder / "flow.yaml").open("a") as manifest:
        manifest.write(f'  podTemplate: {{spec: {{nodeSelector: {{{NODE_LABEL}: "{world.namespace}"}}}}}}\n')
    apply()
    await world.a_run("first", "report", parameters={"name": "Ada"})
    first = await world.finished("first", within_s=WITHIN_S)
    assert (first["phase"], first["result"]) == ("Succeeded", {"value": "Hello, Ada!"})

    code = folder / "report.py"
    code.write_text(code.read_text().replace("Hello", "Goodbye"))
    apply()
    await eventually(lambda: is_other(world, first["flowRevision"]), what="the Flow has a new revision")
    await world.a_run("second", "report")
    second = await world.finished("second", within_s=WITHIN_S)
    assert second["result"] == {"value": "Goodbye, world!"}
    names = [await code_of("first-1"), await code_of("second-1")]
    assert all(name.startswith("report-code-") for name in names)
    assert len(set(names)) == 2

    await world.create(
        "FlowRun", "again", flowRef={"name": "report", "revision": first["flowRevision"]}, parameters={"name": "Ada"}
    )
    assert (await world.finished("again", within_s=WITHIN_S))["result"] == {"value": "Hello, Ada!"}


async def is_other(world: World, revision: str) -> bool:
    return (await world.status("Flow", "report")).get("revision") not in {None, revision}


async def test_a_config_map_that_is_missing_holds_the_run_and_is_named(world: World) -> None:
    """The pod starts by itself once it is there."""
    source = {"configMap": {"name": "etl-code"}}
    await world.create("Flow", "etl", entrypoint="etl:main", source=source, podTemplate=here(world))
    await world.a_run("etl-1")

    async def told() -> bool:
        return any('configmap "etl-code" not found' in message for _, message in await world.events("etl-1-1"))

    await eventually(told, within_s=WITHIN_S, what="the node tells which ConfigMap is missing")
    body = {"metadata": {"name": "etl-code"}, "data": {"etl.py": "def main():\n    return 42\n"}}
    await world.client.create(f"/api/v1/namespaces/{world.namespace}/configmaps", body)
    status = await world.finished("etl-1", within_s=WITHIN_S)
    assert (status["phase"], status["result"]) == ("Succeeded", {"value": 42})

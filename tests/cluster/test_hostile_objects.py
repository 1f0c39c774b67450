"""Objects that the API server takes and that no reader expects: they must not stop what others run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.devcluster.plane import Plane
from headrace.history import open_history
from headrace.history.reading import Question, listed
from headrace.kubeapi.client import KubeClient
from headrace_operator.kube.resources import FLOW_RUNS
from tests.cluster.support.puppet import Ends
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

DEPTHS = (300, 1_100, 5_000)
TIMES = {"early": "0001-01-01T00:00:00+14:00", "late": "9999-12-31T23:59:59-14:00"}


@pytest.fixture
def kubeconfig(own_plane: Plane) -> Path:
    """Of a plane for these objects alone: nobody else's reader of its audit log meets them."""
    return own_plane.kubeconfig


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    settings = {"history_url": f"sqlite:///{tmp_path}/history.db", "history_batch_delay_s": 0.1}
    async with a_world(client, kubeconfig, namespace, tmp_path, **settings) as made:
        yield made


async def a_deep_run(client: KubeClient, namespace: str, levels: int) -> None:
    """As a person's tool sends it; ours does not write so deep."""
    body = (
        f'{{"apiVersion": "headrace.dev/v1alpha1", "kind": "FlowRun", "metadata": {{"name": "deep-{levels}"}}, '
        f'"spec": {{"flowRef": {{"name": "etl"}}, "parameters": {{"a": {"[" * levels}{"]" * levels}}}}}}}'
    )
    headers = {**client._headers(None), "Content-Type": "application/json"}
    url = client.connection.server + FLOW_RUNS.path(namespace)
    async with client._streaming().post(url, data=body, headers=headers) as answer:
        assert answer.status == 201, await answer.text()


async def phases(world: World) -> dict[str, Any]:
    return {run["metadata"]["name"]: (run.get("status") or {}).get("phase") for run in await world.list("FlowRun")}


async def test_neither_depth_nor_time_of_a_run_stops_the_others(
    world: World, client: KubeClient, namespace: str, tmp_path: Path
) -> None:
    """Those that nest too deep fail and are told why; all of them are recorded."""
    world.puppet.script = lambda _: Ends()
    await world.a_flow()
    for levels in DEPTHS:
        await a_deep_run(client, namespace, levels)
    for name, time in TIMES.items():
        await world.create("FlowRun", name, flowRef={"name": "etl"}, scheduledTime=time)
    await world.create("FlowRun", "plain", flowRef={"name": "etl"})
    deep = {f"deep-{levels}": "Failed" for levels in DEPTHS}
    expected = deep | dict.fromkeys(("plain", *TIMES), "Succeeded")

    async def look() -> bool:
        return await phases(world) == expected

    await eventually(look, what="all runs end")
    for run in await world.list("FlowRun"):
        if run["metadata"]["name"] in deep:
            assert "levels deep; at most 100 reach a pod" in run["status"]["message"]

    def recorded() -> bool:
        rows = listed(open_history(f"sqlite:///{tmp_path}/history.db", is_reader=True), Question(), limit=100)
        return {row["name"]: row["phase"] for row in rows} == expected

    await eventually(recorded, what="records of all of them")

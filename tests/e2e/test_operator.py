"""The operator itself dies on its node while runs are under way."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.background import meanwhile
from tests.cluster.support.waiting import eventually
from tests.e2e.inside import UNTIL_TOLD, tell
from tests.e2e.installed import operators
from tests.e2e.nodes.cluster import RealCluster
from tests.e2e.runs import WITHIN_S, Kubectl, Runs, follow


async def test_killed_operators_come_back_and_launch_no_run_twice(
    runs: Runs, client: KubeClient, kubectl: Kubectl, real_nodes: RealCluster | None
) -> None:
    """
    SIGKILL to the container of every replica. One run is under way and ends meanwhile, another is made meanwhile: the
    kubelets start the containers anew, and both runs succeed, each in the one pod that it ever had.
    """
    if real_nodes is None:
        pytest.skip("containers on nodes of kind are not killed by these tests")
    made: set[tuple[str, str]] = set()

    async def note_pods() -> None:
        async for _, pod in follow(client, runs.pods):
            made.add((pod["metadata"]["name"], pod["metadata"]["uid"]))

    async with meanwhile(note_pods()):
        under_way = await runs.start_code("flying", UNTIL_TOLD)
        first = await runs.running(f"{under_way}-1")
        before = await replicas(client)
        for name, container in before.items():
            real_nodes.nodes[name[1]].kill(container["containerID"].rpartition("/")[2])
        tell(kubectl, f"{under_way}-1")
        late = await runs.start_again("flying", "late")

        async def back() -> bool:
            now = await replicas(client)
            return now.keys() == before.keys() and all(
                each["ready"] and each["restartCount"] > before[name]["restartCount"] for name, each in now.items()
            )

        await eventually(back, within_s=WITHIN_S, what="the kubelets have started every replica anew")
        assert (await runs.ended(under_way))["phase"] == "Succeeded"
        second = await runs.running(f"{late}-1")
        tell(kubectl, f"{late}-1")
        assert (await runs.ended(late))["phase"] == "Succeeded"
        ours = {(pod["metadata"]["name"], pod["metadata"]["uid"]) for pod in (first, second)}
        await eventually(lambda: made >= ours)

    assert made == ours


async def replicas(client: KubeClient) -> dict[tuple[str, str], dict[str, Any]]:
    """The state of each operator's container, by pod and node."""
    return {
        (pod["metadata"]["name"], pod["spec"]["nodeName"]): pod["status"]["containerStatuses"][0]
        for pod in await operators(client)
    }

"""Nodes that go away under a run: announced, and not."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import IMAGES, Kubectl
from tests.e2e.nodes.cluster import RealCluster
from tests.e2e.runs import Runs

WAITS = """
import time
from headrace import flow

@flow
def main():
    time.sleep(600)
"""
FORGIVES = 3


def stays_on(label: str) -> dict[str, object]:
    """A pod of these nodes, which gives an unreachable one few seconds."""
    keys = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
    tolerations = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": FORGIVES} for key in keys
    ]
    return {"spec": {"nodeSelector": {"headrace.dev/pool": label}, "tolerations": tolerations}}


async def test_a_drained_node_gives_its_run_to_another(
    runs: Runs, kubectl: Kubectl, real_nodes: RealCluster | None, request: pytest.FixtureRequest
) -> None:
    """`kubectl drain`: the pod is evicted, and the next attempt runs elsewhere."""
    if real_nodes is None:
        pytest.skip("kind: nodes are shared with the operator")
    archives = request.session.stash[IMAGES].of_runs
    real_nodes.add("drained", archives, "headrace.dev/pool=drained")
    name = await runs.start_code(
        "drained", WAITS, podTemplate=stays_on("drained"), infrastructureRetries={"delaySeconds": 0}
    )
    await runs.running(f"{name}-1")

    kubectl("drain", "drained", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s")
    kubectl("label", "node", "node-2", "headrace.dev/pool=drained", "--overwrite")

    assert (await runs.running(f"{name}-2"))["spec"]["nodeName"] == "node-2"
    status = await runs.seen(name)
    assert status["attempts"][0]["reason"] in {"Evicted", "PodDeleted"}, status
    kubectl("label", "node", "node-2", "headrace.dev/pool=spare", "--overwrite")
    real_nodes.nodes["drained"].close()


async def test_a_node_that_lost_its_power_is_told_and_left(
    runs: Runs, kubectl: Kubectl, real_nodes: RealCluster | None, request: pytest.FixtureRequest
) -> None:
    """The run says NodeUnreachable while nobody knows, and goes on elsewhere only when the node is known to be gone."""
    if real_nodes is None:
        pytest.skip("kind: a node of Docker is not stopped by these tests")
    doomed = real_nodes.add("doomed", request.session.stash[IMAGES].of_runs, "headrace.dev/pool=doomed")
    name = await runs.start_code(
        "doomed", WAITS, podTemplate=stays_on("doomed"), infrastructureRetries={"delaySeconds": 0}
    )
    await runs.running(f"{name}-1")

    doomed.close()

    await runs.reached(name, lambda seen: seen.get("reason") == "NodeUnreachable")
    assert await runs.pod(f"{name}-2") is None
    kubectl("label", "node", "node-2", "headrace.dev/pool=doomed", "--overwrite")
    kubectl("delete", "node", "doomed")
    assert (await runs.running(f"{name}-2"))["spec"]["nodeName"] == "node-2"
    status = await runs.seen(name)
    assert status["attempts"][0]["reason"] in {"NodeLost", "PodDeleted", "Evicted", "PodLost"}, status
    kubectl("label", "node", "node-2", "headrace.dev/pool=spare", "--overwrite")

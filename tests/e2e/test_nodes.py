"""Nodes that go away under a run: announced, and not."""

from __future__ import annotations

from collections.abc import Callable

from tests.e2e.inside import WAITS
from tests.e2e.nodes.node import RealNode
from tests.e2e.runs import Kubectl, Runs

FORGIVES_S = 3
AT_ONCE = {"delaySeconds": 0}


def stays_on(label: str) -> dict[str, object]:
    """A pod of these nodes, which gives an unreachable one few seconds."""
    keys = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")
    tolerations = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": FORGIVES_S} for key in keys
    ]
    return {"spec": {"nodeSelector": {"headrace.dev/pool": label}, "tolerations": tolerations}}


async def test_a_drained_node_gives_its_run_to_another(
    runs: Runs, kubectl: Kubectl, added_node: Callable[[str], RealNode]
) -> None:
    """`kubectl drain`: the pod is evicted, and the next attempt runs elsewhere."""
    node = added_node("drained")
    name = await runs.start_code("gone", WAITS, podTemplate=stays_on("drained"), infrastructureRetries=AT_ONCE)
    await runs.running(f"{name}-1")

    kubectl("drain", "drained", "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s")
    kubectl("label", "node", "node-2", "headrace.dev/pool=drained", "--overwrite")

    assert (await runs.running(f"{name}-2"))["spec"]["nodeName"] == "node-2"
    status = await runs.seen(name)
    assert status["attempts"][0]["reason"] in {"Evicted", "PodDeleted"}, status
    kubectl("label", "node", "node-2", "headrace.dev/pool=spare", "--overwrite")
    node.close()


async def test_a_node_that_lost_its_power_is_told_and_left(
    runs: Runs, kubectl: Kubectl, added_node: Callable[[str], RealNode]
) -> None:
    """While nobody knows whether the pod still runs, no second one is started; once the node is given up, it is."""
    node = added_node("doomed")
    name = await runs.start_code("doomed", WAITS, podTemplate=stays_on("doomed"), infrastructureRetries=AT_ONCE)
    await runs.running(f"{name}-1")

    node.close()

    await runs.reached(name, lambda seen: seen.get("reason") == "NodeUnreachable")
    assert await runs.pod(f"{name}-2") is None
    kubectl("label", "node", "node-2", "headrace.dev/pool=doomed", "--overwrite")
    kubectl("delete", "node", "doomed")
    assert (await runs.running(f"{name}-2"))["spec"]["nodeName"] == "node-2"
    status = await runs.seen(name)
    assert status["attempts"][0]["reason"] in {"NodeLost", "PodDeleted", "Evicted", "PodLost"}, status
    kubectl("label", "node", "node-2", "headrace.dev/pool=spare", "--overwrite")

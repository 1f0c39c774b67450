"""Pods on a local node, end to end: what runs, what it finds, what is reported of it."""

from __future__ import annotations

import time

import pytest

from tests.cluster.support.waiting import eventually


class Pods:
    """Creates pods on one node and waits for what becomes of them."""

    def __init__(self, client, namespace, node):
        self.client, self.node = client, node
        self.collection = f"/api/v1/namespaces/{namespace}/pods"

    async def run(self, name, command, *, container=None, **spec):
        main = {"name": "main", "image": "none", "command": command, **(container or {})}
        body = {
            "metadata": {"name": name},
            "spec": {"nodeName": self.node, "restartPolicy": "Never", "containers": [main], **spec},
        }
        return await self.client.create(self.collection, body)

    async def get(self, name):
        return await self.client.get(f"{self.collection}/{name}")

    async def until(self, name, *phases, within_s=20):
        async def reached():
            pod = await self.get(name)
            return pod if pod["status"]["phase"] in phases else None

        return await eventually(reached, within_s=within_s, what=f"{name} is {' or '.join(phases)}")

    async def end(self, name, **wait):
        return await self.until(name, "Succeeded", "Failed", **wait)


@pytest.fixture
async def pods(client, namespace, local_node):
    return Pods(client, namespace, await local_node())


def ended(pod, index=0):
    return pod["status"]["containerStatuses"][index]["state"]["terminated"]


async def test_a_pod_runs_to_its_end(pods):
    """Exit 0 is Succeeded, with the words of a kubelet."""
    await pods.run("good", ["sh", "-c", "exit 0"])
    pod = await pods.end("good")

    assert pod["status"]["phase"] == "Succeeded"
    assert {k: ended(pod)[k] for k in ("exitCode", "reason")} == {"exitCode": 0, "reason": "Completed"}


async def test_binding_to_running_is_quick(pods):
    """Well under 300 ms from the creation of a bound pod to Running."""
    await pods.run("warm", ["sleep", "1"])
    await pods.until("warm", "Running")
    took = []
    for number in range(5):
        began = time.monotonic()
        await pods.run(f"quick-{number}", ["sleep", "60"])
        while (await pods.get(f"quick-{number}"))["status"]["phase"] != "Running":
            pass
        took.append(time.monotonic() - began)

    print(took)
    assert sorted(took)[2] < 0.3

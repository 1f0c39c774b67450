"""Nodes without machines, played by kwok: pods that the scheduler binds to them run and end at once (kwok/stages.yaml)."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from bench.gotools import KWOK
from headrace.devcluster.plane import Plane
from headrace.devcluster.processes import Processes
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.waiting import eventually

NODES = 20
PODS_A_NODE = 500
STAGES = Path(__file__).parent / "kwok" / "stages.yaml"
LEASE_S = 40
"""A node's Lease is renewed four times in it."""


async def start(plane: Plane, client: KubeClient, nodes: int = NODES) -> int:
    """The process id of kwok, when pods can be scheduled to each of its nodes."""
    command: list[str | Path] = [
        KWOK.program,
        f"--kubeconfig={plane.kubeconfig}",
        f"--config={STAGES}",
        "--manage-all-nodes",
        f"--node-lease-duration-seconds={LEASE_S}",
        "--v=ERROR",
    ]
    started = Processes(plane.directory).start("kwok", command)
    await asyncio.gather(*(_register(client, f"simulated-{number}") for number in range(nodes)))

    async def ready() -> bool | None:
        found = await client.list("/api/v1/nodes")
        return len(found) == nodes and all(_takes_pods(node) for node in found)

    _: bool = await eventually(ready, what="every simulated node takes pods")
    return started.pid


def _takes_pods(node: dict[str, Any]) -> bool:
    return bool(node["status"].get("conditions")) and not node["spec"].get("taints")


async def _register(client: KubeClient, name: str) -> None:
    room = {"cpu": "1000", "memory": "1Ti", "pods": str(PODS_A_NODE), "ephemeral-storage": "1Ti"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    status = {"capacity": room, "allocatable": room}
    await client.create("/api/v1/nodes", {"metadata": {"name": name, "labels": labels}, "status": status})

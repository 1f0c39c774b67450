"""Starts local nodes as processes of a cluster's folder, and waits until the cluster takes them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from headrace.devcluster.errors import StartFailed
from headrace.devcluster.node.options import NodeDescription
from headrace.devcluster.node.times import parse
from headrace.devcluster.plane import Plane
from headrace.devcluster.processes import Processes, Recorded
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound

READY_WITHIN_S = 30.0
POLL_S = 0.05
UNREADY = "node.kubernetes.io/not-ready"


def process_name(node: str) -> str:
    """The name under which a node's process is recorded in its cluster's folder."""
    return f"node-{node}"


def start_node(running: Plane, description: NodeDescription, directory: Path) -> Recorded:
    """
    The process of a local node, recorded in `directory`; its pods live in a folder of its name there.

    It signs in as a kubelet does, with a certificate of its own.
    """
    return Processes(directory).start(process_name(description.name), node_command(running, description, directory))


def node_command(running: Plane, description: NodeDescription, directory: Path) -> list[str]:
    """The command line of a local node of this control plane, with its kubeconfig written."""
    return [
        *(sys.executable, "-m", "headrace.devcluster.node"),
        *description.arguments(),
        f"--kubeconfig={running.node_kubeconfig(description.name)}",
        f"--directory={directory / 'nodes' / description.name}",
        f"--client-authority={running.directory / 'pki' / 'ca.crt'}",
    ]


async def wait_until_ready(client: KubeClient, node: str, processes: Processes) -> None:
    """Returns when pods can be scheduled to the node. Raises: StartFailed: its process ended, or 30 s passed."""
    name, loop = process_name(node), asyncio.get_running_loop()
    deadline = loop.time() + READY_WITHIN_S
    while True:
        process = processes.alive().get(name)
        if process and await _is_ready(client, node, process.started):
            return
        if process is None:
            raise StartFailed(name, "ended while it started", processes.log(name))
        if loop.time() > deadline:
            raise StartFailed(name, f"was not ready within {READY_WITHIN_S:.0f} s", processes.log(name))
        await asyncio.sleep(POLL_S)


async def _is_ready(client: KubeClient, name: str, since: float) -> bool:
    """
    Whether the Node is Ready and the taint that keeps pods off a new one is gone.

    Args:
        since: Start of its process, seconds since 1970: a Node may say Ready from an earlier one.
    """
    try:
        node = await client.get(f"/api/v1/nodes/{name}")
    except NotFound:
        return False
    ready = any(
        each["type"] == "Ready"
        and each["status"] == "True"
        and parse(each["lastHeartbeatTime"]).timestamp() >= int(since)
        for each in node.get("status", {}).get("conditions") or ()
    )
    return ready and not any(each["key"] == UNREADY for each in node["spec"].get("taints") or ())

"""Local nodes for a test, each in a process of its own."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headrace.devcluster.node.options import NodeDescription, parse_taint
from headrace.devcluster.nodes import process_name, start_node, wait_until_ready
from headrace.devcluster.plane import Plane
from headrace.devcluster.processes import Processes
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection


class LocalNodes:
    """Starts nodes. Call it: `await local_node(labels={…}, taints=["a=b:NoSchedule"], capacity={…})`."""

    def __init__(self, plane: Plane, client: KubeClient, directory: Path) -> None:
        self.processes = Processes(directory)
        self.names: list[str] = []
        self._plane = plane
        self._client = client

    async def __call__(
        self,
        name: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[str] = (),
        capacity: Mapping[str, str] | None = None,
    ) -> str:
        """The name of a node that is Ready; without `name` one that is its own."""
        name = name or f"local-{uuid.uuid4().hex[:6]}"
        taken = tuple(parse_taint(each) for each in taints)
        description = NodeDescription(name, labels or {}, taken, capacity or {})
        self.names.append(name)
        start_node(self._plane, description, self.processes.directory)
        await wait_until_ready(self._client, name, self.processes)
        return name

    def log(self, name: str) -> str:
        """What the node's process wrote so far."""
        return self.processes.log(process_name(name)).read_text()


@dataclass(frozen=True)
class SharedNode:
    """The node that many tests use. `pods` holds a folder a pod, named by its uid."""

    name: str
    pods: Path


async def start_shared(plane: Plane, directory: Path) -> SharedNode:
    """A Ready node on which only pods run that are bound to it by name."""
    async with KubeClient(load_connection(str(plane.kubeconfig))) as client:
        name = await LocalNodes(plane, client, directory)("shared", taints=["headrace.dev/test=shared:NoSchedule"])
    return SharedNode(name, directory / "nodes" / name / "pods")

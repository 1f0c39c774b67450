"""A cluster of real nodes, started as a whole: `with real_cluster(…) as cluster`, then `cluster.add(…)`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headrace.devcluster.binaries import Binaries
from tests.e2e.nodes.controls import ADDRESS, Controls, start_controls
from tests.e2e.nodes.machine import hierarchies, make_cgroup, make_own_cgroup
from tests.e2e.nodes.node import Place, RealNode
from tests.e2e.nodes.room import Room


class RealCluster:
    """What runs: the control plane, and the `nodes` by name."""

    def __init__(self, room: Room, controls: Controls, cgroup: str, nodes: dict[str, RealNode]) -> None:
        self._room = room
        self._cgroup = cgroup
        self.controls = controls
        self.nodes = nodes

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self.controls.kubeconfig

    def add(self, name: str, archives: Sequence[Path], *labels: str) -> RealNode:
        """One more node, with these images. Raises: RuntimeError: a part of it did not start."""
        make_cgroup(self._cgroup, name)
        node = RealNode(Place(name, len(self.nodes) + 1, self._cgroup), self.controls, self._room)
        self.nodes[name] = node
        node.start(archives, labels)
        return node


@contextmanager
def real_cluster(folder: Path, binaries: Binaries) -> Iterator[RealCluster]:
    """
    A cluster without nodes that ends with the block, and with this process, however that one ends.

    Args:
        folder: Short, for its path is part of those of sockets; etcd's data and containerd's are in it.
    Raises: RuntimeError: a part did not start.
    """
    cgroup = make_own_cgroup()
    room = Room(folder, cgroups=[each / cgroup for each in hierarchies()])
    nodes: dict[str, RealNode] = {}
    try:
        _lay_bridge(room)
        yield RealCluster(room, start_controls(room, binaries), cgroup, nodes)
    finally:
        room.close()
        for node in nodes.values():  # the end of the room has killed what is on them, but nobody has waited for it
            node.close()


def _lay_bridge(room: Room) -> None:
    room.run("ip", "link", "set", "lo", "up")
    room.run("ip", "link", "add", "hr0", "type", "bridge")
    room.run("ip", "addr", "add", f"{ADDRESS}/24", "dev", "hr0")
    room.run("ip", "link", "set", "hr0", "up")
    room.run("sysctl", "-q", "-w", "net.ipv4.ip_forward=1")

"""One node in a room of its own: containerd, kubelet, kube-proxy, and whatever pods they start."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from headrace.devcluster.errors import tail
from tests import tools
from tests.e2e.images.provided import PAUSE
from tests.e2e.nodes.controls import ADDRESS, Controls
from tests.e2e.nodes.room import Room

SOCKET = "/run/containerd/containerd.sock"
CONTAINERD_WITHIN_S = 60.0
SYSCTLS = {"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1"}
"""The kubelet insists on these values: it is shown files of its own, and the machine's stay as they are."""


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a node stands among the others.

    Attributes: `number` from 1 on; `cgroup` the path of the room's cgroup below the root of each hierarchy.
    """

    name: str
    number: int
    cgroup: str

    @property
    def address(self) -> str:
        """On the bridge; no address of 127/8 will do."""
        return f"10.99.0.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The addresses of its pods."""
        return f"10.99.{self.number}.0/24"


class RealNode:
    """A node; `close` stops it as a pulled plug does."""

    def __init__(self, place: Place, controls: Controls, plane_room: Room) -> None:
        self.place = place
        self.folder = plane_room.folder / place.name
        self.folder.mkdir()
        self.room = Room(self.folder, inside=plane_room)
        self._controls = controls
        self._plane_room = plane_room
        self._path = [each.home for each in (tools.CONTAINERD, tools.CTR, tools.SHIM, tools.RUNC)]

    def start(self, archives: Sequence[Path], labels: Sequence[str]) -> None:
        """
        Starts all of it.

        Args:
            archives: Of images that it shall have; it can fetch none.
            labels: As `key=value`.
        Raises: RuntimeError: with what failed.
        """
        self._furnish()
        self._connect()
        self._start_containerd()
        for archive in archives:
            self._ctr("images", "import", "--local", archive)
        self._start_kubelet(labels)
        self._start_proxy()

    def kill(self, container: str) -> None:
        """SIGKILL to the main process of a container, by the id that the pod's status has."""
        self._ctr("tasks", "kill", "--signal=SIGKILL", container)

    def close(self) -> None:
        """Kills everything on the node at once; nobody is told."""
        self.room.close()

    def _ctr(self, *arguments: str | Path) -> None:
        self.room.run(tools.CTR.program, "--address", SOCKET, "--namespace", "k8s.io", *arguments)

    def _furnish(self) -> None:
        self.room.run("hostname", self.place.name)
        for folder in ("/run", "/var/log", "/var/lib"):
            self.room.run("mount", "-t", "tmpfs", "tmpfs", folder)
        self.room.run("mkdir", "/var/lib/kubelet", "/run/cni")
        for name, value in SYSCTLS.items():
            own = self.folder / name.replace("/", ".")
            own.write_text(f"{value}\n")
            self.room.run("mount", "--bind", own, f"/proc/sys/{name}")

    def _connect(self) -> None:
        """A cable to the bridge, and the way to the node's pods."""
        cable, address = f"node{self.place.number}", self.place.address
        bridge, inner = self._plane_room, self.room
        bridge.run(
            *("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(inner.pid)),
            kinds=["net"],
        )
        bridge.run("ip", "link", "set", cable, "master", "hr0", "up")
        inner.run("ip", "link", "set", "lo", "up")
        inner.run("ip", "addr", "add", f"{address}/24", "dev", "eth0")
        inner.run("ip", "link", "set", "eth0", "up")
        inner.run("ip", "route", "add", "default", "via", ADDRESS)
        bridge.run("ip", "route", "add", self.place.pods, "via", address)

    def _start_containerd(self) -> None:
        config = self.folder / "containerd.toml"
        config.write_text(_containerd_toml(self.folder))
        networks = self.folder / "cni.d"
        networks.mkdir()
        (networks / "10-headrace.conflist").write_text(json.dumps(_network(self.place)))
        binaries = self.folder / "cni"
        binaries.mkdir()
        for each in (tools.PTP, tools.LOOPBACK, tools.HOST_LOCAL):
            (binaries / each.name).symlink_to(each.program)
        started = self.room.start("containerd", [tools.CONTAINERD.program, "-c", config], path=self._path)
        deadline = time.monotonic() + CONTAINERD_WITHIN_S
        while not self._containerd_answers():
            self._complain_if(started, "containerd", late=time.monotonic() > deadline)
            time.sleep(0.1)

    def _containerd_answers(self) -> bool:
        asked = [*self.room.entering(), tools.CTR.program, "--address", SOCKET, "version"]
        return subprocess.run(asked, capture_output=True, check=False).returncode == 0

    def _complain_if(self, process: subprocess.Popen[bytes], name: str, *, late: bool) -> None:
        if late or process.poll() is not None:
            msg = f"{name} of {self.place.name} did not start; its log ends:\n{tail(self.folder / f'{name}.log')}"
            raise RuntimeError(msg)

    def _start_kubelet(self, labels: Sequence[str]) -> None:
        name = self.place.name
        config = self.folder / "kubelet.yaml"
        config.write_text(yaml.safe_dump(_kubelet_config(self.place, self._controls.layout.pki / "ca.crt")))
        command = [
            tools.KUBELET.program,
            f"--config={config}",
            f"--kubeconfig={self._controls.login(name, f'system:node:{name}', 'system:nodes')}",
            f"--cert-dir={self.folder / 'kubelet-pki'}",
            f"--hostname-override={name}",
            f"--node-ip={self.place.address}",
            f"--node-labels={','.join(labels)}",
        ]
        self.room.start("kubelet", command, path=self._path)

    def _start_proxy(self) -> None:
        config = self.folder / "proxy.yaml"
        login = self._controls.login(f"proxy-{self.place.name}", "system:kube-proxy", "system:masters")
        config.write_text(yaml.safe_dump(_proxy_config(self.place, login)))
        self.room.start("proxy", [tools.KUBE_PROXY.program, f"--config={config}"])


def _containerd_toml(folder: Path) -> str:
    return f"""version = 4
root = '{folder / "containerd"}'
state = '/run/containerd'
imports = []
[grpc]
  address = '{SOCKET}'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{PAUSE}'
[plugins.'io.containerd.cri.v1.runtime']
  restrict_oom_score_adj = true
  disable_apparmor = true
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '{tools.RUNC.program}'
  SystemdCgroup = false
[plugins.'io.containerd.cri.v1.runtime'.cni]
  bin_dirs = ['{folder / "cni"}']
  conf_dir = '{folder / "cni.d"}'
"""


def _network(place: Place) -> dict[str, Any]:
    addresses = {
        "type": "host-local",
        "dataDir": "/run/cni/addresses",
        "ranges": [[{"subnet": place.pods}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    return {"cniVersion": "1.0.0", "name": "headrace", "plugins": [{"type": "ptp", "ipMasq": False, "ipam": addresses}]}


def _kubelet_config(place: Place, authority: Path) -> dict[str, Any]:
    roomy = ("memory.available", "nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": place.address,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{place.cgroup}/{place.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "clusterDNS": ["10.0.0.10"],
        "clusterDomain": "cluster.local",
        "resolvConf": "",
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 8,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "featureGates": {"EventedPLEG": True},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": dict.fromkeys(roomy, "0%"),
    }


def _proxy_config(place: Place, login: Path) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": place.name,
        "clientConnection": {"kubeconfig": str(login)},
        "clusterCIDR": "10.99.0.0/16",
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }

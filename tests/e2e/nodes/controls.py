"""The control plane of a room: as that of the local cluster, but nodes and pods reach it, and it notices soon that a node is silent."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from headrace.devcluster import components
from headrace.devcluster.binaries import Binaries
from headrace.devcluster.certificates import KUBELET_CLIENT, Authority, write_pair, write_signing_key
from headrace.devcluster.components import LOOPBACK, Layout
from headrace.devcluster.errors import tail
from headrace.devcluster.kubeconfig import write_kubeconfig
from headrace.devcluster.plane import SERVICE_ADDRESS
from tests.e2e.nodes.room import Room

ADDRESS = "10.99.0.1"
"""Of the room, on its bridge."""
PORT = 6443
READY_WITHIN_S = 120.0
NODE_SILENT_S = 12
"""A node that says nothing for so long is unreachable: by default 50 s, which is long for a test."""


@dataclass(frozen=True, slots=True)
class Controls:
    """
    A control plane that answers.

    Attributes: `kubeconfig` is the administrator's, from outside of the room; `layout` says where everything is.
    """

    layout: Layout
    kubeconfig: Path
    authority: Authority

    def login(self, name: str, user: str, *groups: str) -> Path:
        """A kubeconfig for use in the room."""
        path = self.layout.directory / f"{name}.kubeconfig"
        _write_login(self.authority, path, f"https://{ADDRESS}:{PORT}", user, *groups)
        return path


def start_controls(room: Room, binaries: Binaries) -> Controls:
    """Starts it in the room, whose bridge must be there. Raises: RuntimeError: it did not answer in time, with its log."""
    layout = Layout(room.folder, port=PORT, audit=True)
    authority = _write_files(layout)
    with socket.create_server((LOOPBACK, 0)) as listener:
        kubeconfig = layout.directory / "kubeconfig"
        outside = int(listener.getsockname()[1])
        _write_login(authority, kubeconfig, f"https://{LOOPBACK}:{outside}", "headrace-admin", "system:masters")
        _start_relay(room, listener)
    room.start("etcd", components.etcd(binaries))
    api = room.start("apiserver", [*components.apiserver(binaries, layout), *_of_apiserver()])
    _wait_until_ready(layout, outside, api)
    controls = Controls(layout, kubeconfig, authority)
    for name in ("controller-manager", "scheduler"):
        controls.login(name, f"system:kube-{name}")
    room.start("controller-manager", [*components.controller_manager(binaries, layout), *_of_controllers()])
    room.start("scheduler", components.scheduler(binaries, layout))
    return controls


def _of_apiserver() -> list[str]:
    # The room of the API server has a way to every pod, but no kube-proxy that makes addresses of Services.
    to_pods = "--enable-aggregator-routing=true"
    return [f"--bind-address={ADDRESS}", f"--advertise-address={ADDRESS}", "--endpoint-reconciler-type=lease", to_pods]


def _of_controllers() -> list[str]:
    return [f"--node-monitor-grace-period={NODE_SILENT_S}s", "--node-monitor-period=2s"]


def _start_relay(room: Room, listener: socket.socket) -> None:
    project = Path(__file__).parents[3]
    code = f"import sys; sys.path.insert(0, {str(project)!r}); import runpy; sys.argv[0] = 'relay'; "
    code += "runpy.run_module('tests.e2e.nodes.relay', run_name='__main__')"
    command = [sys.executable, "-c", code, str(listener.fileno()), ADDRESS, str(PORT)]
    room.start("relay", command, pass_fds=[listener.fileno()])


def _write_files(layout: Layout) -> Authority:
    authority = Authority(layout.pki)
    authority.server("apiserver", [LOOPBACK, ADDRESS, SERVICE_ADDRESS])
    write_pair(layout.pki, "kubelet-client", authority.client(KUBELET_CLIENT))
    write_signing_key(layout.pki, "sa")
    layout.scheduler_config.write_text(yaml.safe_dump(components.scheduler_config(layout)))
    layout.audit_policy.write_text(yaml.safe_dump(components.audit_policy()))
    return authority


def _write_login(authority: Authority, path: Path, server: str, user: str, *groups: str) -> None:
    trusted = authority.certificate.read_bytes()
    write_kubeconfig(path, server=server, authority=trusted, user=user, pair=authority.client(user, groups))


def _wait_until_ready(layout: Layout, port: int, api: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while not _is_ready(layout, port):
        if api.poll() is not None or time.monotonic() > deadline:
            msg = f"the API server did not become ready; its log ends:\n{tail(layout.directory / 'apiserver.log')}"
            raise RuntimeError(msg)
        time.sleep(0.1)


def _is_ready(layout: Layout, port: int) -> bool:
    context = ssl.create_default_context(cafile=layout.pki / "ca.crt")
    context.load_cert_chain(layout.pki / "kubelet-client.crt", layout.pki / "kubelet-client.key")
    connection = http.client.HTTPSConnection(LOOPBACK, port, timeout=READY_WITHIN_S, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()

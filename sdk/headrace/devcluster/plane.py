"""
A real control plane in a folder of its own: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

    start(folder) ──> certificates, kubeconfigs ──> etcd, API server ──> /readyz says ok ──> the controllers
    stop(folder)  ──> ends what `start` began there, and nothing else; the data stays for the next start

The processes outlive the one that starts them, unless `tie` binds them to it.
"""

from __future__ import annotations

import http.client
import json
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
from headrace.devcluster.errors import StartFailed
from headrace.devcluster.kubeconfig import write_kubeconfig
from headrace.devcluster.processes import Processes
from headrace.devcluster.progress import Progress, Silent

READY_WITHIN_S = 60.0
"""3 s on an idle machine; the rest is for one that is busy with something else."""
POLL_S = 0.05
NAMES = ("etcd", "apiserver", "controller-manager", "scheduler")
SERVICE_ADDRESS = "10.0.0.1"


@dataclass(frozen=True, slots=True)
class Plane:
    """
    A control plane that answers.

    Attributes: `kubeconfig` signs in as administrator (group system:masters); `audit_log` is None unless asked for.
    """

    directory: Path
    server: str
    kubeconfig: Path
    audit_log: Path | None

    def node_kubeconfig(self, node: str) -> Path:
        """A kubeconfig with which a node of this name signs in; it may do what a kubelet may."""
        path = self.directory / f"node-{node}.kubeconfig"
        if not path.exists():
            _write_login(self.directory / "pki", path, self.server, f"system:node:{node}", "system:nodes")
        return path


def start(directory: Path, binaries: Binaries, *, audit: bool = False, progress: Progress | None = None) -> Plane:
    """
    A control plane that runs in `directory` and answers; one that runs there already is taken as it is.

    Args:
        audit: Write every request to an audit log.
    Raises: StartFailed: a component ended, or was not ready in a minute.
    """
    shown = progress or Silent()
    directory = directory.resolve()
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    processes = Processes(directory)
    layout = _layout(directory, audit=audit, keep_port="apiserver" in processes.alive())
    if set(NAMES) <= set(processes.alive()):
        return _plane(layout)
    processes.stop(NAMES)
    _write_files(layout)
    shown.step("starting etcd and the Kubernetes API server")
    processes.start("etcd", components.etcd(binaries))
    processes.start("apiserver", components.apiserver(binaries, layout))
    _wait_until_ready(layout, processes, shown)
    processes.start("controller-manager", components.controller_manager(binaries, layout))
    processes.start("scheduler", components.scheduler(binaries, layout))
    shown.step(f"the API server answers at {layout.server}")
    return _plane(layout)


def stop(directory: Path) -> list[str]:
    """Ends the control plane that was started in `directory`; the names of what was running."""
    return Processes(directory).stop(NAMES)


def tie(directory: Path) -> subprocess.Popen[bytes]:
    """
    Binds everything that was started in `directory` to this process: it is stopped when this one ends, however.

    Returns: The guard; closing its `stdin` and waiting for it stops the processes at once.
    """
    guard = [sys.executable, "-m", "headrace.devcluster.guard", str(directory)]
    return subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)


def _layout(directory: Path, *, audit: bool, keep_port: bool) -> Layout:
    """The layout of a folder, with the port of the last start where that one is still free or ours."""
    record = directory / "layout.json"
    last = json.loads(record.read_text()) if record.exists() else {}
    if keep_port:
        return Layout(directory, port=last["port"], audit=last["audit"])
    port = last["port"] if "port" in last and _is_free(last["port"]) else _free_port()
    record.write_text(json.dumps({"port": port, "audit": audit}))
    return Layout(directory, port=port, audit=audit)


def _plane(layout: Layout) -> Plane:
    audit_log = layout.audit_log if layout.audit else None
    return Plane(layout.directory, layout.server, layout.kubeconfig, audit_log)


def _write_files(layout: Layout) -> None:
    authority = Authority(layout.pki)
    authority.server("apiserver", [LOOPBACK, SERVICE_ADDRESS])
    if not (layout.pki / "kubelet-client.key").exists():
        write_pair(layout.pki, "kubelet-client", authority.client(KUBELET_CLIENT))
    write_signing_key(layout.pki, "sa")
    _write_login(layout.pki, layout.kubeconfig, layout.server, "headrace-admin", "system:masters")
    for name in ("controller-manager", "scheduler"):
        _write_login(layout.pki, layout.component_kubeconfig(name), layout.server, f"system:kube-{name}")
    for kubeconfig in layout.directory.glob("node-*.kubeconfig"):
        kubeconfig.unlink()  # it names the port of an earlier start
    layout.scheduler_config.write_text(yaml.safe_dump(components.scheduler_config(layout)))
    layout.audit_policy.write_text(yaml.safe_dump(components.audit_policy()))


def _write_login(pki: Path, path: Path, server: str, user: str, *groups: str) -> None:
    authority = Authority(pki)
    write_kubeconfig(
        path,
        server=server,
        authority=authority.certificate.read_bytes(),
        user=user,
        pair=authority.client(user, groups),
    )


def _wait_until_ready(layout: Layout, processes: Processes, shown: Progress) -> None:
    started = time.monotonic()
    while not _is_ready(layout):
        alive = processes.alive()
        for name in ("etcd", "apiserver"):
            if name not in alive:
                raise StartFailed(name, "ended while it started", processes.log(name))
        waited_s = time.monotonic() - started
        if waited_s > READY_WITHIN_S:
            raise StartFailed("apiserver", f"was not ready within {READY_WITHIN_S:.0f} s", processes.log("apiserver"))
        shown.tick(f"waiting for the API server, {waited_s:.0f} s")
        time.sleep(POLL_S)


def _is_ready(layout: Layout) -> bool:
    context = ssl.create_default_context(cafile=layout.pki / "ca.crt")
    context.load_cert_chain(layout.pki / "kubelet-client.crt", layout.pki / "kubelet-client.key")
    connection = http.client.HTTPSConnection(LOOPBACK, layout.port, timeout=READY_WITHIN_S, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True

"""How each component of the control plane is called: pure, from paths and ports to command lines and files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.devcluster.binaries import Binaries

LOOPBACK = "127.0.0.1"
"""Nobody outside this machine reaches the cluster."""
ISSUER = "https://kubernetes.default.svc"
CLIENT_QPS = "500"
CLIENT_BURST = "1000"
"""The controllers' own throttles (20 and 50 requests a second) would be the limit of a laptop's cluster."""
AUDIT_LOG_MIB = 4096
"""Size at which the audit log goes on in another file; those who read it look at one."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folder of one control plane, and the port of its API server."""

    directory: Path
    port: int
    audit: bool

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.directory / "pki"

    @property
    def kubeconfig(self) -> Path:
        """For the cluster's administrator."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line, written before the request is answered, if `audit`."""
        return self.directory / "audit.log"

    @property
    def audit_policy(self) -> Path:
        """What `audit_log` holds."""
        return self.directory / "audit-policy.yaml"

    @property
    def scheduler_config(self) -> Path:
        """The scheduler takes these settings from a file only."""
        return self.directory / "scheduler.yaml"

    def component_kubeconfig(self, component: str) -> Path:
        """For a component, with its own user."""
        return self.directory / f"{component}.kubeconfig"


def etcd(binaries: Binaries) -> list[str | Path]:
    """
    Key-value store on Unix sockets, relative to the folder it runs in, where only the owner gets at them.

    Without fsync: a crash of the machine may lose the last seconds, a crash of a process does not.
    """
    client, peer = "unix://etcd.sock", "unix://etcd-peer.sock"
    return [
        binaries.etcd,
        "--data-dir=etcd",
        f"--listen-client-urls={client}",
        "--advertise-client-urls=http://127.0.0.1:0",  # no Unix URL is accepted here; nobody uses it
        f"--listen-peer-urls={peer}",
        "--unsafe-no-fsync",
        "--quota-backend-bytes=8589934592",
        "--log-level=warn",
    ]


def apiserver(binaries: Binaries, layout: Layout) -> list[str | Path]:
    """kube-apiserver on the loopback, with RBAC, ServiceAccount tokens and, if wanted, an audit log."""
    pki = layout.pki
    audit: list[str | Path] = [
        f"--audit-policy-file={layout.audit_policy}",
        f"--audit-log-path={layout.audit_log}",
        "--audit-log-mode=blocking",
        f"--audit-log-maxsize={AUDIT_LOG_MIB}",
    ]
    return [
        binaries.apiserver,
        "--etcd-servers=unix://etcd.sock",
        f"--bind-address={LOOPBACK}",
        f"--advertise-address={LOOPBACK}",
        f"--secure-port={layout.port}",
        "--endpoint-reconciler-type=none",  # a loopback address may not stand in an EndpointSlice
        f"--tls-cert-file={pki / 'apiserver.crt'}",
        f"--tls-private-key-file={pki / 'apiserver.key'}",
        f"--client-ca-file={pki / 'ca.crt'}",
        "--anonymous-auth=false",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        f"--kubelet-client-certificate={pki / 'kubelet-client.crt'}",
        f"--kubelet-client-key={pki / 'kubelet-client.key'}",
        "--kubelet-preferred-address-types=InternalIP",
        f"--service-account-issuer={ISSUER}",
        f"--service-account-key-file={pki / 'sa.pub'}",
        f"--service-account-signing-key-file={pki / 'sa.key'}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--allow-privileged=true",
        *(audit if layout.audit else ()),
    ]


def controller_manager(binaries: Binaries, layout: Layout) -> list[str | Path]:
    """kube-controller-manager with every default controller: garbage collection, PodGC, taint eviction, tokens."""
    return [
        binaries.controller_manager,
        f"--kubeconfig={layout.component_kubeconfig('controller-manager')}",
        f"--service-account-private-key-file={layout.pki / 'sa.key'}",
        f"--root-ca-file={layout.pki / 'ca.crt'}",
        "--use-service-account-credentials",
        "--leader-elect=false",
        "--secure-port=0",
        f"--kube-api-qps={CLIENT_QPS}",
        f"--kube-api-burst={CLIENT_BURST}",
    ]


def scheduler(binaries: Binaries, layout: Layout) -> list[str | Path]:
    """kube-scheduler with its default profile."""
    return [binaries.scheduler, f"--config={layout.scheduler_config}", "--secure-port=0"]


def scheduler_config(layout: Layout) -> dict[str, Any]:
    """The scheduler's configuration file."""
    return {
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "leaderElection": {"leaderElect": False},
        "clientConnection": {
            "kubeconfig": str(layout.component_kubeconfig("scheduler")),
            "qps": int(CLIENT_QPS),
            "burst": int(CLIENT_BURST),
        },
    }


def audit_policy() -> dict[str, Any]:
    """Everything with who, what and when; our kinds, pods and Leases with what was sent and answered."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "omitManagedFields": True,
        "rules": [
            {"level": "Metadata", "namespaces": ["kube-node-lease", "kube-system"]},
            {
                "level": "RequestResponse",
                "verbs": ["create", "update", "patch", "delete", "deletecollection"],
                "resources": [
                    {"group": "headrace.dev"},
                    {"group": "", "resources": ["pods", "pods/status"]},
                    {"group": "coordination.k8s.io", "resources": ["leases"]},
                ],
            },
            {"level": "Metadata"},
        ],
    }

"""
The programs in Go that tests call: `provide(HELM, progress).program`. A folder each names the version.

They are built once and kept in the user's cache (`tests.gotools`).
"""

from __future__ import annotations

from pathlib import Path

from tests.gotools import Tool

HERE = Path(__file__).parent
HELM = Tool("helm", HERE / "helm", "helm.sh/helm/v3", "helm.sh/helm/v3/cmd/helm")
KUBECONFORM = Tool(
    "kubeconform", HERE / "kubeconform", "github.com/yannh/kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform"
)
_PROMETHEUS = "github.com/prometheus/prometheus"
PROMTOOL, PROMETHEUS = (
    Tool(name, HERE / "prometheus", _PROMETHEUS, f"{_PROMETHEUS}/cmd/{name}", tags=("remove_all_sd",))
    for name in ("promtool", "prometheus")
)

# What a node is made of (tests/e2e). kubelet and kube-proxy are of the version of the control plane.
_CONTAINERD = "github.com/containerd/containerd/v2"
_CONTAINERD_TAGS = ("no_btrfs", "no_devmapper", "no_zfs")
CONTAINERD, CTR, SHIM = (
    Tool(name, HERE / "containerd", _CONTAINERD, f"{_CONTAINERD}/cmd/{name}", tags=_CONTAINERD_TAGS)
    for name in ("containerd", "ctr", "containerd-shim-runc-v2")
)
RUNC = Tool(
    "runc",
    HERE / "runc",
    "github.com/opencontainers/runc",
    "github.com/opencontainers/runc",
    tags=("seccomp",),
    needs_c=True,
)
KUBELET, KUBE_PROXY = (
    Tool(name, HERE / "kubernetes", "k8s.io/kubernetes", f"k8s.io/kubernetes/cmd/{name}")
    for name in ("kubelet", "kube-proxy")
)
_CNI = "github.com/containernetworking/plugins"
PTP, LOOPBACK, HOST_LOCAL = (
    Tool(path.rpartition("/")[2], HERE / "cni", _CNI, f"{_CNI}/plugins/{path}")
    for path in ("main/ptp", "main/loopback", "ipam/host-local")
)
NODE_TOOLS = (CONTAINERD, CTR, SHIM, RUNC, KUBELET, KUBE_PROXY, PTP, LOOPBACK, HOST_LOCAL)

# What a cluster that is run from Git looks like to Argo CD and to Flux: programs of ours around their code.
ARGOCD = Tool("argocd", HERE / "argocd", "github.com/argoproj/argo-cd/v3", ".")
FLUX = Tool("flux", HERE / "flux", "github.com/fluxcd/pkg/runtime", ".")

# Port-forwarding as nodes do it: a program of ours around their code.
PORTFORWARD = Tool("portforward", HERE / "portforward", "k8s.io/cri-streaming", ".")

# Its definitions tell whether what the chart asks of cert-manager is what that takes.
CERT_MANAGER = Tool(
    "certmanager", HERE / "certmanager", "github.com/cert-manager/cert-manager", ".", keep="deploy/crds"
)

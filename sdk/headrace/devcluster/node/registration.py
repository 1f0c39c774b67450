"""The Node object and its Lease: how the cluster knows that the node is there and alive."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Mapping
from typing import Any

import structlog

from headrace.devcluster.build import kubernetes_version
from headrace.devcluster.node.options import NodeDescription, machine_capacity
from headrace.devcluster.node.status import ADDRESS
from headrace.devcluster.node.times import now, now_precise
from headrace.kubeapi.client import MERGE_PATCH, STRATEGIC_MERGE_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists, ApiError, NotFound

LEASE_DURATION_S = 40
HEARTBEAT_S = 10.0
"""Both as a kubelet's: the node is taken for lost 50 s after its last heartbeat."""
NODES = "/api/v1/nodes"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
ARCHITECTURES = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
HEALTHY = {
    "MemoryPressure": ("False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    "Ready": ("True", "KubeletReady", "kubelet is posting ready status"),
}

log = structlog.get_logger()


def node_object(description: NodeDescription, port: int, instant: str) -> dict[str, Any]:
    """The Node as it registers; `port` is that of its log server."""
    amounts = capacity(description)
    conditions = [
        {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message,
            "lastHeartbeatTime": instant,
            "lastTransitionTime": instant,
        }
        for kind, (value, reason, message) in HEALTHY.items()
    ]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": description.name, "labels": labels(description)},
        "spec": {
            "taints": [{"key": each.key, "value": each.value, "effect": each.effect} for each in description.taints]
        },
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "conditions": conditions,
            "addresses": [
                {"type": "InternalIP", "address": ADDRESS},
                {"type": "Hostname", "address": description.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            "nodeInfo": _node_info(),
        },
    }


def capacity(description: NodeDescription) -> dict[str, str]:
    """What the node offers: the machine's resources, except where the description says otherwise."""
    return {**machine_capacity(), **description.capacity}


def labels(description: NodeDescription) -> dict[str, str]:
    """The labels of a kubelet, and the description's."""
    well_known = {
        "kubernetes.io/hostname": description.name,
        "kubernetes.io/os": platform.system().lower(),
        "kubernetes.io/arch": ARCHITECTURES.get(platform.machine(), platform.machine()),
    }
    return {**well_known, **description.labels}


async def register(client: KubeClient, description: NodeDescription, port: int) -> dict[str, Any]:
    """
    The Node as stored: new, or the one of the name brought up to date.

    Raises: ApiError: the API server refuses it.
    """
    node = node_object(description, port, now())
    path = f"{NODES}/{description.name}"
    try:
        return await client.create(NODES, node)
    except AlreadyExists:
        stored = await client.get(path)
    metadata: Mapping[str, Any] = {"metadata": {"labels": node["metadata"]["labels"]}}
    if set(labels(description).items()) - set(stored["metadata"].get("labels", {}).items()):
        await client.patch(path, metadata, content_type=MERGE_PATCH)
    return await client.patch(f"{path}/status", {"status": node["status"]}, content_type=STRATEGIC_MERGE_PATCH)


async def heartbeat(client: KubeClient, node: Mapping[str, Any]) -> None:
    """Renews the node's Lease; never returns, cancel it."""
    name = node["metadata"]["name"]
    while True:
        try:
            await _renew(client, node)
        except ApiError as error:
            log.warning("heartbeat_failed", node=name, error=str(error))
        await asyncio.sleep(HEARTBEAT_S)


async def _renew(client: KubeClient, node: Mapping[str, Any]) -> None:
    metadata = node["metadata"]
    spec = {"holderIdentity": metadata["name"], "leaseDurationSeconds": LEASE_DURATION_S, "renewTime": now_precise()}
    try:
        await client.patch(f"{LEASES}/{metadata['name']}", {"spec": spec})
    except NotFound:
        owner = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
        await client.create(LEASES, {"metadata": {"name": metadata["name"], "ownerReferences": [owner]}, "spec": spec})


def _node_info() -> dict[str, Any]:
    return {
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
        "kernelVersion": platform.release(),
        "osImage": platform.platform(),
        "containerRuntimeVersion": "headrace-process://1",
        "kubeletVersion": f"{kubernetes_version()}-headrace",
        "kubeProxyVersion": "",
        "operatingSystem": platform.system().lower(),
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
    }

"""Flows that run as real processes, on a local node of their own, with a folder that all of their pods mount."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.world import World, with_real_pods

NODE_LABEL = "headrace.dev/test"


@asynccontextmanager
async def a_real_world(
    client: KubeClient, kubeconfig: Path, namespace: str, folder: Path, local_node: Any
) -> AsyncIterator[World]:
    """A namespace with its operator, and a node for its pods alone."""
    await local_node("real", labels={NODE_LABEL: namespace})
    async with with_real_pods(client, kubeconfig, namespace, folder) as world:
        yield world


async def a_service_account(client: KubeClient, namespace: str, name: str, rules: Sequence[Mapping[str, Any]]) -> None:
    """A ServiceAccount with a Role of these rules."""
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    metadata = {"metadata": {"name": name}}
    await client.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", metadata)
    await client.create(f"{rbac}/roles", {**metadata, "rules": [dict(rule) for rule in rules]})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    await client.create(f"{rbac}/rolebindings", {**metadata, "roleRef": role, "subjects": [subject]})


def a_flow_with_notes(namespace: str, notes: Path, code: str, function: str, **spec: Any) -> dict[str, Any]:
    """The spec of a Flow whose pods mount the folder at /notes, and keep results there."""
    pod = {
        "nodeSelector": {NODE_LABEL: namespace},
        "volumes": [{"name": "notes", "hostPath": {"path": str(notes)}}],
        "containers": [{"name": "flow", "volumeMounts": [{"name": "notes", "mountPath": "/notes"}]}],
    }
    fields = {
        "entrypoint": f"etl.py:{function}",
        "source": {"inline": {"files": {"etl.py": code}}},
        "results": {"url": "file:///notes/results"},
        "apiAccess": "Enabled",
        "podTemplate": {"spec": pod},
    }
    return {**fields, **spec}

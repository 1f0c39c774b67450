"""Our custom resource definitions in a cluster, made from the models of this very version."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from headrace.api.crd import custom_resource_definitions
from headrace.kubeapi.client import APPLY_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists

COLLECTION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MANAGER = {"fieldManager": "headrace-dev", "force": "true"}
POLL_S = 0.05
OPERATOR_NAMESPACE = "headrace-system"
"""Where an operator that runs outside the cluster keeps its Leases, unless it is told otherwise."""


async def install_definitions(client: KubeClient) -> list[str]:
    """
    Names of our definitions, every one established: the API server serves their kinds. The operator has its namespace.

    Raises: ApiError: the cluster refuses them.
    """
    definitions = custom_resource_definitions()
    names = [definition["metadata"]["name"] for definition in definitions]
    for name, definition in zip(names, definitions, strict=True):
        await client.patch(f"{COLLECTION}/{name}", definition, content_type=APPLY_PATCH, params=MANAGER)
    with suppress(AlreadyExists):
        await client.create("/api/v1/namespaces", {"metadata": {"name": OPERATOR_NAMESPACE}})
    for name in names:
        await _wait_until_established(client, name)
    return names


async def _wait_until_established(client: KubeClient, name: str) -> None:
    while True:
        if _established(await client.get(f"{COLLECTION}/{name}")):
            return
        await asyncio.sleep(POLL_S)


def _established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

"""Our custom resource definitions in a cluster, made from the models of this very version."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from headrace.api.crd import custom_resource_definitions
from headrace.kubeapi.client import APPLY_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists, NotServed, TooManyRequests

COLLECTION = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MANAGER = {"fieldManager": "headrace-dev", "force": "true"}
POLL_S = 0.05
OPERATOR_NAMESPACE = "headrace-system"
"""Where an operator that runs outside the cluster keeps its Leases, unless it is told otherwise."""


async def install_definitions(client: KubeClient) -> list[str]:
    """
    Names of our definitions, every one of whose kinds the API server serves by now. The operator has its namespace.

    Raises: ApiError: the cluster refuses them.
    """
    definitions = custom_resource_definitions()
    names = [definition["metadata"]["name"] for definition in definitions]
    for name, definition in zip(names, definitions, strict=True):
        await client.patch(f"{COLLECTION}/{name}", definition, content_type=APPLY_PATCH, params=MANAGER)
    with suppress(AlreadyExists):
        await client.create("/api/v1/namespaces", {"metadata": {"name": OPERATOR_NAMESPACE}})
    for definition in definitions:
        await _wait_until_served(client, definition["spec"])
    return names


async def _wait_until_served(client: KubeClient, spec: Mapping[str, Any]) -> None:
    """Its condition Established is not enough: for a moment after that the API server answers 404, then 429."""
    path = f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}"
    while True:
        with suppress(NotServed, TooManyRequests):
            await client.get(path, {"limit": "1"})
            return
        await asyncio.sleep(POLL_S)

"""A Cluster that writes nothing once another operator may lead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import Resource

Fence = Callable[[], None]
"""Raises: LeadershipLostError: no write may be made any more."""

IN_FORCE: Final[ContextVar[Fence]] = ContextVar("fence in force")
"""That of the work which the running task does; tasks hand it on to those that they start."""


def check_fence() -> None:
    """
    Asks the fence of the work under way, when its request goes onto the wire.

    Raises: LeadershipLostError. LookupError: the task does nobody's work, and has no business writing.
    """
    IN_FORCE.get()()


class FencedCluster:
    """
    Passes everything on, writes only while the fence lets it.

    Args:
        fence: Raises when no write may begin any more.
    """

    def __init__(self, cluster: Cluster, fence: Fence) -> None:
        self._cluster = cluster
        self._fence = fence

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._cluster.get(resource, namespace, name)

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._cluster.list(resource, namespace, labels=labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._fence()
        return await self._cluster.create(resource, namespace, body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        self._fence()
        return await self._cluster.patch(resource, namespace, name, body, subresource=subresource)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        self._fence()
        await self._cluster.delete(resource, namespace, name, uid=uid, version=version)

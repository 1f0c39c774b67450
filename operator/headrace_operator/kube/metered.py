"""A Cluster that counts what is asked of it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from functools import cache
from typing import Any, TypeVar

from headrace.kubeapi.errors import ApiError
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import Resource
from headrace_operator.telemetry.metrics import Metrics

T = TypeVar("T")


class MeteredCluster:
    """Passes everything on, and counts it by verb, resource and outcome."""

    def __init__(self, cluster: Cluster, metrics: Metrics) -> None:
        self._cluster = cluster
        self._requests_of = cache(metrics.api_requests.labels)

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._counted("get", resource, self._cluster.get(resource, namespace, name))

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._counted("list", resource, self._cluster.list(resource, namespace, labels=labels))

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._counted("create", resource, self._cluster.create(resource, namespace, body))

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        patched = self._cluster.patch(resource, namespace, name, body, subresource=subresource)
        return await self._counted("patch", resource, patched)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        deleted = self._cluster.delete(resource, namespace, name, uid=uid, version=version)
        await self._counted("delete", resource, deleted)

    async def _counted(self, verb: str, resource: Resource, request: Awaitable[T]) -> T:
        code = "ok"
        try:
            return await request
        except ApiError as error:
            code = type(error).__name__
            raise
        finally:
            self._requests_of(verb, resource.plural, code).inc()

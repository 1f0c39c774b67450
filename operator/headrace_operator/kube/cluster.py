"""
The seam to the API server: what the operator asks of it, and the client that does it.

Every write of the operator goes through `Cluster`; tests put a fault in here, before or after each one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from headrace.kubeapi.client import JSON_PATCH, MERGE_PATCH, KubeClient
from headrace.kubeapi.errors import Conflict, NotFound
from headrace_operator.kube.resources import Resource


class Reader(Protocol):
    """Single reads, for what the streams do not hold."""

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        """The object. Raises: NotFound, ApiError."""
        ...

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        """The objects that the label selector picks. Raises: ApiError."""
        ...


class Cluster(Reader, Protocol):
    """Reads and writes."""

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The object as stored. Raises: AlreadyExists, ApiError."""
        ...

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        """The object after a merge patch (a mapping) or a JSON patch (a list). Raises: NotFound, Conflict, ApiError."""
        ...

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        """
        Asks for the deletion of exactly this object, of this resource version if one is given; one that is gone is success.

        Raises: Conflict: another object has the name, or it has changed (`is_there` tells). ApiError.
        """
        ...


async def is_there(
    reader: Reader, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
) -> bool:
    """
    Whether this very object is, in this version if one is given, though a request that named it met a Conflict.

    That is no proof of another object of the name: the API server answers so, too, where others were quicker each time that it
    tried. Raises: ApiError.
    """
    try:
        metadata = (await reader.get(resource, namespace, name))["metadata"]
    except NotFound:
        return False
    return metadata["uid"] == uid and version in {None, int(metadata["resourceVersion"])}


async def delete_this(
    cluster: Cluster, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
) -> None:
    """
    Asks for the deletion of this very object, in this version if one is given; that it is not there is success.

    Raises: Conflict: it is there, ask again. ApiError.
    """
    try:
        await cluster.delete(resource, namespace, name, uid=uid, version=version)
    except Conflict:
        if await is_there(cluster, resource, namespace, name, uid=uid, version=version):
            raise


class ApiCluster:
    """
    The Cluster of a real API server.

    Args:
        write_timeout_s: After this long a write is given up, by us and by the API server. None: the client's own bound.
    """

    def __init__(self, client: KubeClient, *, write_timeout_s: float | None = None) -> None:
        self._client = client
        self._write_timeout_s = write_timeout_s

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._client.get(resource.path(namespace, name))

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._client.list(resource.path(namespace), {"labelSelector": labels} if labels else None)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._client.create(resource.path(namespace), body, timeout_s=self._write_timeout_s)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        content_type = JSON_PATCH if isinstance(body, list) else MERGE_PATCH
        path = resource.path(namespace, name, subresource)
        return await self._client.patch(path, body, content_type=content_type, timeout_s=self._write_timeout_s)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        path = resource.path(namespace, name)
        await self._client.delete(path, uid=uid, version=version, timeout_s=self._write_timeout_s)

"""
A Cluster whose writes must come back through the watches.

A connection that died in a proxy, or an API server that stopped sending, is silent like a quiet cluster. Bookmarks tell the two apart
after a minute and a half; an answer to a write of our own tells within seconds, and costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.api.conditions import Phase
from headrace.kubeapi.stream import Stream
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import FLOW_RUNS, Resource

FINAL = frozenset(phase.value for phase in Phase if phase.finished)


class Echoes:
    """Which stream tells of which writes."""

    def __init__(self) -> None:
        self._streams: dict[Resource, tuple[Stream, str]] = {}

    def tie(self, resource: Resource, stream: Stream, *, label: str = "") -> None:
        """The stream tells of each object of the resource that has this label, and of runs that have not ended."""
        self._streams[resource] = (stream, label)

    def written(self, resource: Resource, answer: Mapping[str, Any]) -> None:
        """An object was stored, as the answer says: if its stream tells of it, it must do so soon."""
        stream, label = self._streams.get(resource, (None, ""))
        metadata = answer.get("metadata") or {}
        if stream is None or "resourceVersion" not in metadata:
            return
        if label and label not in (metadata.get("labels") or {}):
            return
        if resource is FLOW_RUNS and (answer.get("status") or {}).get("phase") in FINAL:
            return
        stream.expect(int(metadata["resourceVersion"]))


class EchoedCluster:
    """Passes everything on, and expects to see what was written."""

    def __init__(self, cluster: Cluster, echoes: Echoes) -> None:
        self._cluster = cluster
        self._echoes = echoes

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._cluster.get(resource, namespace, name)

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._cluster.list(resource, namespace, labels=labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = await self._cluster.create(resource, namespace, body)
        self._echoes.written(resource, answer)
        return answer

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        answer = await self._cluster.patch(resource, namespace, name, body, subresource=subresource)
        self._echoes.written(resource, answer)
        return answer

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        await self._cluster.delete(resource, namespace, name, uid=uid, version=version)

"""
A Cluster that writes nothing once another operator may lead.

    refused by the fence ──> nothing was sent
    answered (2xx to 4xx) ──> it took effect, or never will
    anything else ────────> it may take effect until its time is up, though nobody waits for it: `Unanswered`
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

from headrace.kubeapi.errors import ApiError
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


class Unanswered:
    """
    Writes that may take effect still: whoever gives back a Lease waits for them first.

    As a context manager it is told of one write, and how that ended.

    Args:
        timeout_s: After this long a write is given up, by us and by the API server, and takes effect no more.
        monotonic: Seconds that never go back.
    """

    def __init__(self, timeout_s: float, monotonic: Callable[[], float]) -> None:
        self.timeout_s = timeout_s
        self._monotonic = monotonic
        self._until_s = -math.inf

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if error is not None and not _is_answer(error):
            self.note()

    def note(self) -> None:
        """There may be one on its way, which nobody waits for from now on."""
        self._until_s = self._monotonic() + self.timeout_s

    @property
    def left_s(self) -> float:
        """Until none can take effect any more."""
        return max(0.0, self._until_s - self._monotonic())

    async def settled(self) -> None:
        """Returns when none of those so far can take effect any more."""
        await asyncio.sleep(self.left_s)


def _is_answer(error: BaseException) -> bool:
    """Whether the API server itself said what became of a write. A 5xx may come of a proxy, or of a store that is late."""
    return isinstance(error, ApiError) and 0 < error.status < 500


class FencedCluster:
    """
    Passes everything on, writes only while the fence lets it.

    Args:
        fence: Raises when no write may begin any more.
        unanswered: Is told of each write.
    """

    def __init__(self, cluster: Cluster, fence: Fence, unanswered: Unanswered) -> None:
        self._cluster = cluster
        self._fence = fence
        self._unanswered = unanswered

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._cluster.get(resource, namespace, name)

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._cluster.list(resource, namespace, labels=labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._fence()
        with self._unanswered:
            return await self._cluster.create(resource, namespace, body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        self._fence()
        with self._unanswered:
            return await self._cluster.patch(resource, namespace, name, body, subresource=subresource)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        self._fence()
        with self._unanswered:
            await self._cluster.delete(resource, namespace, name, uid=uid, version=version)

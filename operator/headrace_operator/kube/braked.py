"""
A Cluster whose writes slow down together when the API server has enough.

    429, or 503 with Retry-After ──> no write begins for that long ──> half as many at once as before ──> one more after each round

Without it each key would wait by itself, and the next keys would go on asking: the queues of API Priority and Fairness stay full,
and those who share them with us suffer. Reads pass: they are few, and a decision waits for each. What they are answered counts too.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

import structlog

from headrace.kubeapi.errors import ApiError, TooManyRequests
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import Resource

log = structlog.get_logger()

WRITES_AT_ONCE: Final = 48
"""Fewer than the client has connections: watches and reads have room beside them."""
PAUSE_S: Final = 1.0
"""Where the API server names no time."""
LONGEST_PAUSE_S: Final = 60.0
"""Whatever it names: a proxy's mistake must not silence us for hours."""
SPREAD: Final = 0.25
"""By which share of it the pause may be longer: others were told the same."""


class Brake:
    """
    Lets writes through, `most` at once; use it as an asynchronous context manager around each.

    Belongs to one event loop.
    """

    def __init__(self, most: int = WRITES_AT_ONCE) -> None:
        self._most = most
        self._allowed = float(most)
        self._under_way = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._release: asyncio.TimerHandle | None = None
        self._jitter = random.Random(random.random())  # noqa: S311 - spreads writes, guards nothing

    @property
    def at_once(self) -> int:
        """How many writes may be under way now; 0 during a pause."""
        return 0 if self._release is not None else int(self._allowed)

    async def __aenter__(self) -> None:
        if self._under_way < self.at_once and not self._waiting:
            self._under_way += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # its turn had come
                self._under_way -= 1
                self._let_in()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._under_way -= 1
        if isinstance(error, ApiError):
            self.heard(error)
        elif error is None and self._allowed < self._most:
            self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)
        if self._waiting:
            self._let_in()

    def heard(self, error: ApiError) -> None:
        """A request was refused: no write begins for a while if the API server has enough."""
        if self._asks_for_a_pause(error):
            self._pull(PAUSE_S if error.retry_after_s is None else error.retry_after_s)

    def close(self) -> None:
        """Drops its timer."""
        if self._release is not None:
            self._release.cancel()

    @staticmethod
    def _asks_for_a_pause(error: ApiError) -> bool:
        if isinstance(error, TooManyRequests):
            return not error.is_starting
        return error.status == 503 and error.retry_after_s is not None

    def _pull(self, pause_s: float) -> None:
        """Those that were under way are refused as well, as a rule: they make the pause longer, not the steps smaller."""
        loop = asyncio.get_running_loop()
        pause_s = min(pause_s, LONGEST_PAUSE_S) * self._jitter.uniform(1, 1 + SPREAD)
        if self._release is None:
            self._allowed = max(1.0, min(self._allowed, self._under_way + 1) / 2)
            log.warning("writes_paused", for_s=round(pause_s, 2), at_once_after=int(self._allowed))
        elif self._release.when() >= loop.time() + pause_s:
            return
        else:
            self._release.cancel()
        self._release = loop.call_later(pause_s, self._go_on)

    def _go_on(self) -> None:
        self._release = None
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self._under_way < self.at_once:
            turn = self._waiting.popleft()
            if not turn.done():  # given up meanwhile
                self._under_way += 1
                turn.set_result(None)


class BrakedCluster:
    """Passes everything on; writes as the brake lets them."""

    def __init__(self, cluster: Cluster, brake: Brake) -> None:
        self._cluster = cluster
        self._brake = brake

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        try:
            return await self._cluster.get(resource, namespace, name)
        except ApiError as error:
            self._brake.heard(error)
            raise

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        try:
            return await self._cluster.list(resource, namespace, labels=labels)
        except ApiError as error:
            self._brake.heard(error)
            raise

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        async with self._brake:
            return await self._cluster.create(resource, namespace, body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        async with self._brake:
            return await self._cluster.patch(resource, namespace, name, body, subresource=subresource)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        async with self._brake:
            await self._cluster.delete(resource, namespace, name, uid=uid, version=version)

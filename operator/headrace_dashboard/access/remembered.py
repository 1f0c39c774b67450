"""Answers that are kept for some seconds, asked for once however many want them at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """
    Answers by key. A failure is not kept.

    Args:
        ttl_s: Seconds that an answer counts.
        size: How many are kept; the oldest go first.
        clock_s: Seconds that only grow.
    """

    def __init__(self, ttl_s: float, size: int, clock_s: Callable[[], float]) -> None:
        self._ttl_s = ttl_s
        self._size = size
        self._clock_s = clock_s
        self._answers: OrderedDict[K, tuple[float, asyncio.Task[V]]] = OrderedDict()

    async def get(self, key: K, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer that is known, else the one that `ask` gives. Raises: as `ask` does."""
        known = self._answers.get(key)
        if known is not None and self._counts(*known):
            return await asyncio.shield(known[1])
        task = asyncio.ensure_future(_awaited(ask))
        self._answers[key] = (self._clock_s(), task)
        self._answers.move_to_end(key)
        while len(self._answers) > self._size:
            self._answers.popitem(last=False)
        return await asyncio.shield(task)  # whoever asked first may leave; others wait for the answer still

    def forget(self, key: K) -> None:
        """The next `get` asks."""
        self._answers.pop(key, None)

    def _counts(self, since_s: float, task: asyncio.Task[V]) -> bool:
        if not task.done():
            return True
        return not task.cancelled() and task.exception() is None and self._clock_s() - since_s < self._ttl_s


async def _awaited(ask: Callable[[], Awaitable[V]]) -> V:
    return await ask()

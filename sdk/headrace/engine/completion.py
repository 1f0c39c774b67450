"""Futures in the order in which they end, of a fixed number of them or of a map() with a bound."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from time import monotonic
from typing import Any

from headrace.engine.futures import Endings, TaskFuture
from headrace.engine.mapping import Mapped
from headrace.engine.ways import Until, Way, next_ending

Next = Callable[[Way], Coroutine[Any, Any, TaskFuture[Any] | None]]


def completion(futures: Iterable[TaskFuture[Any]] | Mapped[Any], timeout_s: float | None) -> Next:
    """
    What gives the next future that has ended, on the way it is called with; None after the last.

    Raises: TimedOut: from that, once `timeout_s` have passed since this call.
    """
    until = None if timeout_s is None else Until(monotonic() + timeout_s, timeout_s)
    if isinstance(futures, Mapped):
        return partial(futures.fetched, in_order=False, until=until)
    return _Completion(dict.fromkeys(futures), until).next


class _Completion:
    def __init__(self, futures: Iterable[TaskFuture[Any]], until: Until | None) -> None:
        self._endings = Endings()
        self._until = until
        self._left = 0
        for future in futures:
            self._left += 1
            self._endings.watch(future)

    async def next(self, way: Way) -> TaskFuture[Any] | None:
        if not self._left:
            return None
        future = self._endings.taken()
        while future is None:
            await next_ending(self._endings, way, self._until)
            future = self._endings.taken()
        self._left -= 1
        return future

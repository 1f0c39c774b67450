"""
Threads for short work, started as there is need for them.

`concurrent.futures.ThreadPoolExecutor` does the same with a future and a semaphore for each piece of work, which is
much for thousands of short tasks that have a future already.
"""

from __future__ import annotations

import atexit
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final
from weakref import WeakSet

Work = Callable[[], object]


class ThreadPool:
    """At most so many threads; each piece of work goes to a free one, or a new one, or waits for its turn."""

    __slots__ = ("__weakref__", "_calls", "_closed", "_free", "_lock", "_most", "_threads", "_waiting")

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting: deque[Work] = deque()
        self._calls: SimpleQueue[None] = SimpleQueue()
        self._free = 0
        """Threads that wait for a call."""
        self._closed = False
        self._threads: list[threading.Thread] = []
        _POOLS.add(self)

    def submit(self, work: Work) -> None:
        """Has the work done. It must not raise."""
        with self._lock:
            self._waiting.append(work)
            if self._free:
                self._free -= 1
                self._calls.put(None)
            elif len(self._threads) < self._most:
                # Daemons, so that those without work do not hold up the end of the process; it waits for the others.
                name = f"headrace_{len(self._threads)}"
                thread = threading.Thread(target=self._serve, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def close(self) -> None:
        """Lets the threads go when all the work is done. Does not wait."""
        with self._lock:
            self._closed = True
            for _ in range(self._free):
                self._calls.put(None)
            self._free = 0

    def join(self) -> None:
        """Returns when the threads have gone."""
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while (work := self._next()) is not None:
            work()
            del work  # nor what it holds, while this waits

    def _next(self) -> Work | None:
        while True:
            with self._lock:
                if self._waiting:
                    return self._waiting.popleft()
                if self._closed:
                    return None
                self._free += 1
            self._calls.get()


_POOLS: Final[WeakSet[ThreadPool]] = WeakSet()


@atexit.register
def _let_all_go() -> None:
    """A process ends after its tasks."""
    pools = tuple(_POOLS)
    for pool in pools:
        pool.close()
    for pool in pools:
        pool.join()

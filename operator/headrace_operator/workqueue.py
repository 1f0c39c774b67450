"""
A level-triggered queue of keys: one key is worked on by one worker at a time.

    add(key) ──> [ready] ──> get() ──> (being worked on) ──> done(key)
                    ^                        │ added meanwhile: ready again after done()
    add(key, after) ┘ the earliest of several instants wins

Which event added a key is not kept: whoever takes it looks at everything anew. Ready keys stand in lines that take turns (`lines.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from headrace_operator.lines import Lines

K = TypeVar("K", bound=Hashable)

FIRST_BACKOFF_S = 0.05
LAST_BACKOFF_S = 60.0


class WorkQueue(Generic[K]):
    """
    Belongs to one event loop.

    Args:
        line_of: The line that a key stands in while it is ready; None: all stand in one.

    Attributes:
        taken: How many keys were handed out so far.
    """

    def __init__(self, line_of: Callable[[K], Hashable] | None = None) -> None:
        self.taken = 0
        self._ready: Lines[K] = Lines(line_of or _one_line)
        self._working: set[K] = set()
        self._again: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._failures: dict[K, int] = {}
        self._idlers: list[asyncio.Future[None]] = []
        self._idle = asyncio.Event()
        self._idle.set()
        self._stopped = False

    def __len__(self) -> int:
        """Keys that wait for a worker; delayed ones are not counted."""
        return len(self._ready)

    def add(self, key: K, after_s: float = 0.0) -> None:
        """Have the key worked on, at once or after a delay; an earlier instant already set is kept."""
        if after_s <= 0:
            self._cancel_timer(key)
            self._make_ready(key)
        else:
            self._set_timer(key, after_s)

    def add_behind(self, key: K, *, gives_way: bool = False) -> None:
        """
        Have the key worked on in turn with those that are added at once: of many, each delays a new one little.

        Args:
            gives_way: Also if it was added at once before.
        """
        if key in self._working:
            self._again.add(key)
        else:
            self._ready.put(key, behind=True, gives_way=gives_way)
            self._wake_one()

    async def get(self) -> K:
        """The next key; pair it with `done`. None comes after `stop`."""
        while self._stopped or not len(self._ready):
            await self._idle_until_woken()
        key = self._ready.take()
        self.taken += 1
        self._working.add(key)
        self._idle.clear()
        return key

    async def stop(self) -> None:
        """Hands out no key any more; returns when those under way are done."""
        self._stopped = True
        await self._idle.wait()

    def done(self, key: K) -> None:
        """The key was worked on. If it was added meanwhile, it is ready again."""
        self._working.discard(key)
        if not self._working:
            self._idle.set()
        if key in self._again:
            self._again.discard(key)
            self._make_ready(key)

    def succeeded(self, key: K) -> None:
        """Forget its failures."""
        self._failures.pop(key, None)

    def back_off(self, key: K, at_least_s: float = 0.0) -> float:
        """Work on the key again after a delay that doubles with each failure in a row; the delay in seconds."""
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay_s: float = max(at_least_s, min(FIRST_BACKOFF_S * 2 ** min(count, 16), LAST_BACKOFF_S))
        self.add(key, delay_s)
        return delay_s

    def close(self) -> None:
        """Drops every timer."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _make_ready(self, key: K) -> None:
        if key in self._working:
            self._again.add(key)
        else:
            self._ready.put(key)
            self._wake_one()

    async def _idle_until_woken(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._idlers.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the key that it was woken for is another one's now
                self._wake_one()
            raise

    def _wake_one(self) -> None:
        """One worker for one key: the others would look, find nothing, and wait again."""
        while self._idlers:
            turn = self._idlers.pop()
            if not turn.done():
                turn.set_result(None)
                return

    def _set_timer(self, key: K, after_s: float) -> None:
        loop = asyncio.get_running_loop()
        old = self._timers.get(key)
        if old is not None:
            if old.when() <= loop.time() + after_s:
                return
            old.cancel()
        self._timers[key] = loop.call_later(after_s, self._fire(key))

    def _fire(self, key: K) -> Callable[[], None]:
        def fire() -> None:
            self._timers.pop(key, None)
            self._make_ready(key)

        return fire

    def _cancel_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()


def _one_line(_key: Hashable) -> str:
    return ""

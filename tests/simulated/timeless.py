"""
An event loop whose time passes as soon as everything in it waits: an hour of waiting takes no time.

Parts of what runs in it can be stopped like a process, with all that they are about to do, and let go on later or never.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WHOSE: ContextVar[str] = ContextVar("whose", default="")
"""The part that a task, and all that it starts, belongs to."""


class _Selector(selectors.SelectSelector):
    """Does not wait where only time is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.skipped_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.skipped_s += timeout
            timeout = 0.0
        return super().select(timeout)


class TimelessLoop(asyncio.SelectorEventLoop):
    """Begins at 0 s."""

    def __init__(self) -> None:
        self._skipping = _Selector()
        self._stopped: dict[str, list[asyncio.Handle]] = {}
        super().__init__(self._skipping)

    def time(self) -> float:
        """Seconds that were waited for so far."""
        return self._skipping.skipped_s

    def call_soon(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As every loop does it, unless the part is stopped."""
        if self._stopped:
            around = context if context is not None else copy_context()
            held = self._stopped.get(around.get(WHOSE, ""))
            if held is not None:
                handle = asyncio.Handle(callback, args, self, around)
                held.append(handle)
                return handle
        return super().call_soon(callback, *args, context=context)

    def stop_part(self, whose: str) -> None:
        """It does nothing more. What it has sent is on its way all the same."""
        self._stopped.setdefault(whose, [])

    def go_on(self, whose: str) -> None:
        """All at once: what it was about to do, and what has become due meanwhile."""
        for handle in self._stopped.pop(whose, []):
            if not handle.cancelled():
                self._ready.append(handle)  # type: ignore[attr-defined]


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns, in a loop of its own."""
    with asyncio.Runner(loop_factory=TimelessLoop) as runner:
        return runner.run(main)


def the_loop() -> TimelessLoop:
    """The one that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, TimelessLoop)
    return loop

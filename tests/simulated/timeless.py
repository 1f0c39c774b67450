"""An event loop whose time passes as soon as everything in it waits: an hour of waiting takes no time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


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
        super().__init__(self._skipping)

    def time(self) -> float:
        """Seconds that were waited for so far."""
        return self._skipping.skipped_s


def run(main: Coroutine[Any, Any, T]) -> T:
    """What `main` returns, in a loop of its own."""
    with asyncio.Runner(loop_factory=TimelessLoop) as runner:
        return runner.run(main)

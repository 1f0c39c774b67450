"""Time, as the engine sees it; tests pass a clock of their own."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Protocol


class Clock(Protocol):
    """Measures and waits."""

    def now_s(self) -> float:
        """Seconds on a clock that never goes back; only differences mean something."""

    def wall_s(self) -> float:
        """Unix time in seconds: what other computers understand."""

    def sleep(self, seconds: float) -> None:
        """Returns after that time, with the thread blocked."""

    def sleep_on_loop(self, seconds: float) -> Awaitable[None]:
        """Ends after that time, with the event loop free."""


class SystemClock:
    """The computer's clock."""

    def now_s(self) -> float:
        """Seconds on the monotonic clock."""
        return time.perf_counter()

    def wall_s(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """Returns after that time."""
        time.sleep(seconds)

    def sleep_on_loop(self, seconds: float) -> Awaitable[None]:
        """Ends after that time."""
        import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

        return asyncio.sleep(seconds)

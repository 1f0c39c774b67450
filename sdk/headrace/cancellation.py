"""
SIGTERM and SIGINT as the cancellation of a run: its `finally` blocks run, and it ends as Cancelled.

A flow written with `def` gets RunCancelled raised where its main thread stands; a flow written with `async def` has
its asyncio task cancelled. The first signal counts; of later ones only a second Ctrl-C ends the process at once.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from headrace.errors import RunCancelled

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Cancellation:
    """Whether the run was told to stop. `received` is the signal, None as long as there was none."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._redirected: Callable[[], object] | None = None

    def exit_code(self, error: BaseException) -> int:
        """As shells count it: 130 for SIGINT, 143 for SIGTERM, and for code that cancelled itself with `error`."""
        own = signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM
        return 128 + (self.received or own)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Takes the signals while the block runs; only the main thread may ask for it."""
        before = [signal.signal(number, self._take) for number in SIGNALS]
        try:
            yield
        finally:
            for number, handler in zip(SIGNALS, before, strict=True):
                signal.signal(number, handler)

    @contextmanager
    def redirected(self, cancel: Callable[[], object]) -> Iterator[None]:
        """Calls this at the signal, in place of raising RunCancelled."""
        self._redirected = cancel
        try:
            yield
        finally:
            self._redirected = None

    def _take(self, number: int, _frame: FrameType | None) -> None:
        if self.received is not None:
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            return
        self.received = signal.Signals(number)
        if self._redirected:
            self._redirected()
        else:
            raise RunCancelled(self.received.name)

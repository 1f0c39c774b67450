"""
What comes of work that goes on elsewhere: ended once, waited for from threads and event loops.

`concurrent.futures.Future` does the same with a condition of its own each, which is much for thousands of short tasks.
Here whoever has to wait brings what it waits on.

    pending ──▶ running ──▶ ended
       └──────▶ cancelled
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")

PENDING: Final = "pending"
RUNNING: Final = "running"
CANCELLED: Final = "cancelled"
ENDED: Final = "ended"

LOOK_UP_S: Final = 1.0
"""
A thread that waits looks up this often. A signal that comes when the main thread is about to wait, or that the system hands to another
thread, does not end its wait: CPython looks for signals before it, and when they interrupt the system call.
"""

_LOCK: Final = threading.RLock()
"""One for all, held for an instant; again by whoever is interrupted by a signal meanwhile."""
if hasattr(os, "register_at_fork"):  # the thread that holds it may not be in the child
    os.register_at_fork(after_in_child=_LOCK._at_fork_reinit)  # type: ignore[attr-defined]  # noqa: SLF001 - as concurrent.futures does


class Outcome(Generic[T]):
    """Safe for use from several threads. Only the first end counts."""

    __slots__ = ("_callbacks", "_error", "_phase", "_value")

    def __init__(self) -> None:
        self._phase = PENDING
        self._callbacks: tuple[Callable[[Outcome[T]], object], ...] = ()
        self._value: Any = None
        self._error: BaseException | None = None

    def done(self) -> bool:
        """Whether it has ended or was cancelled."""
        return self._phase is ENDED or self._phase is CANCELLED

    def running(self) -> bool:
        """Whether the work has begun and not ended."""
        return self._phase is RUNNING

    def cancelled(self) -> bool:
        """Whether it was taken back before it began."""
        return self._phase is CANCELLED

    def begin(self) -> bool:
        """Whether the work is to be done: False if it was taken back."""
        with _LOCK:
            if self._phase is PENDING:
                self._phase = RUNNING
            return self._phase is RUNNING

    def cancel(self) -> bool:
        """Takes the work back if it has not begun. Returns whether it is taken back."""
        with _LOCK:
            if self._phase is not PENDING:
                return self._phase is CANCELLED
            self._phase = CANCELLED
        self._tell()
        return True

    def end(self, value: T) -> None:
        """It has come to this."""
        self._end(value, None)

    def fail(self, error: BaseException) -> None:
        """It has come to nothing: whoever asks gets this raised."""
        self._end(None, error)

    def value(self) -> T:
        """What it has come to; only of one that has ended. Raises: what it failed with."""
        if self._error is not None:
            raise self._error
        value: T = self._value
        return value

    def wait(self, timeout_s: float | None = None) -> bool:
        """Returns when it is done, or after that time: whether it is. Signals are handled meanwhile, a second late at the most."""
        if self.done():
            return True
        until_s = math.inf if timeout_s is None else monotonic() + timeout_s
        gate = threading.Lock()
        gate.acquire()
        opened = _Opens(gate)
        self.when_done(opened)
        try:
            while not gate.acquire(timeout=max(0.0, min(LOOK_UP_S, until_s - monotonic()))):
                if monotonic() >= until_s:
                    return False
            return True
        finally:
            self._forget(opened)

    def on_loop(self) -> asyncio.Future[None]:
        """A future of the running event loop that ends when this is done; to cancel it changes nothing here."""
        import asyncio  # noqa: PLC0415 - whoever awaits has it

        loop, thread = asyncio.get_running_loop(), threading.get_ident()
        ended = loop.create_future()

        def tell(_: Outcome[T]) -> None:
            if threading.get_ident() == thread:
                _end_once(ended)
            elif not loop.is_closed():
                loop.call_soon_threadsafe(_end_once, ended)

        self.when_done(tell)
        return ended

    def when_done(self, then: Callable[[Outcome[T]], object]) -> None:
        """Calls it with this when it is done, in the thread that ends it; at once if it is."""
        with _LOCK:
            if not self.done():
                self._callbacks = (*self._callbacks, then)
                return
        then(self)

    def _end(self, value: T | None, error: BaseException | None) -> None:
        with _LOCK:
            if self.done():
                return
            self._value, self._error = value, error
            self._phase = ENDED
        self._tell()

    def _tell(self) -> None:
        with _LOCK:
            callbacks, self._callbacks = self._callbacks, ()
        for then in callbacks:
            then(self)

    def _forget(self, then: Callable[[Outcome[T]], object]) -> None:
        if self._callbacks:
            with _LOCK:
                self._callbacks = tuple(each for each in self._callbacks if each is not then)


class _Opens:
    __slots__ = ("_gate",)

    def __init__(self, gate: threading.Lock) -> None:
        self._gate = gate

    def __call__(self, _: object) -> None:
        self._gate.release()


def _end_once(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)

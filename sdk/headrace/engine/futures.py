"""The result of a submitted task, as far as it is there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

from headrace.errors import RunCancelled, TimedOut, UsageError
from headrace.states import Cancelled, Pending, Running, State

R = TypeVar("R")


class TaskFuture(Generic[R]):
    """A task run that was submitted. `await future` is `future.result()` without blocking the event loop."""

    __slots__ = ("_cancel", "_loop_thread", "done", "name", "seen")

    def __init__(
        self, name: str, done: Future[State[R]], *, cancel: Callable[[], object], loop_thread: int | None = None
    ) -> None:
        self.name = name
        """Of the task run, such as "extract-0"."""
        self.done = done
        self.seen = False
        """Whether somebody has asked for the outcome; one that nobody asks for fails the flow if it is bad."""
        self._cancel = cancel
        self._loop_thread = loop_thread

    def __repr__(self) -> str:
        return f"<TaskFuture {self.name} {self.state.name}>"

    def __await__(self) -> Generator[Any, None, R]:
        import asyncio  # noqa: PLC0415 - whoever awaits has it

        self.seen = True
        try:
            state = yield from asyncio.wrap_future(self.done).__await__()
        except asyncio.CancelledError:
            if not self.done.cancelled():  # the one who waits was cancelled
                raise
            state = _never_begun(self.name)
        return state.result()

    @property
    def in_thread(self) -> bool:
        """Whether it runs in a thread, and not on the flow's event loop."""
        return self._loop_thread is None

    @property
    def state(self) -> State[R]:
        """Where it is now."""
        if not self.done.done():
            return Running() if self.done.running() or not self.in_thread else Pending()
        self.seen = True
        return _never_begun(self.name) if self.done.cancelled() else self.done.result()

    def wait(self, timeout_seconds: float | None = None) -> State[R]:
        """
        Its final state, when it has one.

        Raises: TimedOut: it has none after `timeout_seconds`; UsageError: waiting would block the event loop for ever.
        """
        self.seen = True
        if not self.done.done() and self._loop_thread == threading.get_ident():
            raise UsageError(f"task run {self.name} needs the event loop that this would block: write `await future`")
        try:
            return self.done.result(timeout_seconds)
        except TimeoutError:
            raise TimedOut(f"waiting for task run {self.name}", timeout_seconds or 0.0) from None
        except CancelledError:
            return _never_begun(self.name)

    def result(self, timeout_seconds: float | None = None) -> R:
        """What the task returned, when it has. Raises: what the task raised; else as wait()."""
        return self.wait(timeout_seconds).result()

    def cancel(self) -> None:
        """Takes it back if it has not begun; on an event loop also if it has."""
        self._cancel()


def _never_begun(name: str) -> State[Any]:
    message = f"task run {name} was taken back before it began"
    return Cancelled(message=message, exception=RunCancelled("the end of its flow"))

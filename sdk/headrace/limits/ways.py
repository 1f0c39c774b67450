"""
The two ways to wait for a limit: with the thread blocked, or on an event loop.

Those over Blocking never wait for a loop, so that `engine.ways.run_to_end` can drive them by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from headrace.limits.holding import Held

T = TypeVar("T")

SLICE_S = 0.5
"""A thread that is to be broken off learns it at its next bytecode, so it must not wait in one piece."""
THREADS = 4
"""Requests that an event loop has under way at a time; they are short."""


class Notice:
    """Something that happens once. Given and awaited from any thread."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done: Future[None] = Future()

    def give(self) -> None:
        """It has happened; saying so twice is fine."""
        with suppress(InvalidStateError):  # given, or whoever waited was cancelled
            self.done.set_result(None)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why there is nothing yet: look again at the notice, or after `at_most_s` seconds (None: only at the notice)."""

    notice: Notice = field(default_factory=Notice)
    at_most_s: float | None = None


class Way(Protocol):
    """How to call what blocks, and how to wait."""

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """What the function returns; it has returned when this ends, however this ends."""

    async def until(self, notice: Notice, timeout_s: float | None) -> None:
        """Returns at the notice, or after that time."""

    def breakable(self, held: Held) -> AbstractAsyncContextManager[None]:
        """A block that is broken off when a slot is lost. Raises: ConcurrencyLost: from the block."""


class Blocking:
    """For `with`, and calls in functions written with `def`."""

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """As promised by Way."""
        return function(*arguments)

    async def until(self, notice: Notice, timeout_s: float | None) -> None:
        """As promised by Way."""
        until_s = None if timeout_s is None else monotonic() + timeout_s
        while not notice.done.done():
            left_s = SLICE_S if until_s is None else until_s - monotonic()
            if left_s <= 0:
                return
            with suppress(TimeoutError):
                notice.done.result(min(SLICE_S, left_s))

    @asynccontextmanager
    async def breakable(self, held: Held) -> AsyncIterator[None]:
        """As promised by Way."""
        from headrace.engine.interruption import breakable  # noqa: PLC0415 - it loads ctypes

        with breakable(lambda: held.lost) as break_off:
            held.when_lost(break_off)
            yield


class OnLoop:
    """For `async with` and `await`."""

    @cached_property
    def _threads(self) -> ThreadPoolExecutor:
        """Its own: the loop's threads belong to the author, who may fill them with what waits for this."""
        return ThreadPoolExecutor(THREADS, thread_name_prefix="headrace-limits")

    async def call(self, function: Callable[..., T], *arguments: Any) -> T:
        """As promised by Way."""
        import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

        work = asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            while not work.done():  # bounded by the timeouts of its requests
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([work])
            raise

    async def until(self, notice: Notice, timeout_s: float | None) -> None:
        """As promised by Way."""
        import asyncio  # noqa: PLC0415 - as above

        await asyncio.wait([asyncio.wrap_future(notice.done)], timeout=timeout_s)

    @asynccontextmanager
    async def breakable(self, held: Held) -> AsyncIterator[None]:
        """As promised by Way."""
        import asyncio  # noqa: PLC0415 - as above

        stretch = _Stretch()
        loop = asyncio.get_running_loop()
        held.when_lost(lambda: loop.call_soon_threadsafe(stretch.break_off))
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if stretch.is_sole_cause() and held.lost:
                raise held.lost.with_traceback(cancelled.__traceback__) from None
            raise
        finally:
            stretch.end()


class _Stretch:
    """Code of the running asyncio task that can be cancelled from outside; as asyncio.timeout() does it."""

    def __init__(self) -> None:
        import asyncio  # noqa: PLC0415 - as above

        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._open = True
        self._sent = False

    def break_off(self) -> None:
        if self._open and self._task and not self._sent:
            self._sent = True
            self._task.cancel()

    def is_sole_cause(self) -> bool:
        """Whether nobody else has cancelled the task."""
        if not self._sent or self._task is None:
            return False
        self._sent = False
        return self._task.uncancel() <= self._cancelling

    def end(self) -> None:
        """What was sent and has not arrived, as the block was about to end, must not arrive later."""
        self._open = False
        if self._sent and self._task:
            self._task.uncancel()


BLOCKING = Blocking()
ON_LOOP = OnLoop()

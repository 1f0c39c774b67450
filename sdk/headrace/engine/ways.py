"""
The two ways to run a function: with its thread blocked, or on an event loop.

The engine is written once, as coroutines over a Way. Those over Blocking never wait for a loop, so that
`run_to_end` can drive them by hand: a function written with `def` needs no event loop, and may be called inside one.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from headrace.engine.clock import Clock
from headrace.engine.futures import Endings, Notice, TaskFuture, refuse_blocking
from headrace.engine.interruption import Expired, time_limit
from headrace.errors import RunCancelled, TimedOut

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

T = TypeVar("T")
Waited = TaskFuture[Any] | Notice
Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]

OFF_LOOP_THREADS = 16
"""Tasks of an event loop whose results are on their way at once."""


class Way(Protocol):
    """How to call, to sleep and to wait."""

    async def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """What the function returns."""

    def limit(self, timeout_s: float, what: str) -> AbstractAsyncContextManager[None]:
        """A block that is broken off after that time. Raises: TimedOut: from the block; `what` names it."""

    async def off_loop(self, function: Callable[..., T], *args: Any) -> T:
        """What a function returns that waits for a disk or a network; an event loop goes on meanwhile."""

    async def sleep(self, clock: Clock, seconds: float) -> None:
        """Returns after that time."""

    async def ended(self, futures: Sequence[Waited], timeout_s: float | None = None) -> None:
        """
        Returns when these have ended, however they did, or after that time.

        Raises: UsageError: they need the event loop that this way would block.
        """


class Blocking:
    """For functions written with `def`."""

    async def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """As promised by Way."""
        return function(*arguments[0], **arguments[1])

    @asynccontextmanager
    async def limit(self, timeout_s: float, what: str) -> AsyncIterator[None]:
        """As promised by Way."""
        with time_limit(timeout_s, what):
            yield

    async def off_loop(self, function: Callable[..., T], *args: Any) -> T:
        """As promised by Way."""
        return function(*args)

    async def sleep(self, clock: Clock, seconds: float) -> None:
        """As promised by Way."""
        clock.sleep(seconds)

    async def ended(self, futures: Sequence[Waited], timeout_s: float | None = None) -> None:
        """As promised by Way."""
        until_s = None if timeout_s is None else monotonic() + timeout_s
        for future in futures:
            refuse_blocking(future)
            left_s = None if until_s is None else max(0.0, until_s - monotonic())
            future.done.wait(left_s)


class OnLoop:
    """For functions written with `async def`."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    async def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """As promised by Way."""
        return await function(*arguments[0], **arguments[1])

    @asynccontextmanager
    async def limit(self, timeout_s: float, what: str) -> AsyncIterator[None]:
        """As promised by Way."""
        import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

        timeout = asyncio.timeout(timeout_s)
        try:
            async with timeout:
                yield
        except TimeoutError as error:
            if not timeout.expired():  # the function raised one itself
                raise
            # Where the function stood when its time was up is in the cancellation that broke it off.
            raise TimedOut(what, timeout_s).with_traceback((error.__cause__ or error).__traceback__) from None

    async def off_loop(self, function: Callable[..., T], *args: Any) -> T:
        """As promised by Way."""
        import asyncio  # noqa: PLC0415 - as above

        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - many flows keep nothing

            # Not the loop's own: a loop that closes waits for its threads, and a cancelled flow must not wait for a storage.
            self._pool = ThreadPoolExecutor(OFF_LOOP_THREADS, thread_name_prefix="headrace-off-loop")
        work = partial(copy_context().run, function, *args)
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    async def sleep(self, clock: Clock, seconds: float) -> None:
        """As promised by Way."""
        await clock.sleep_on_loop(seconds)

    async def ended(self, futures: Sequence[Waited], timeout_s: float | None = None) -> None:
        """As promised by Way."""
        import asyncio  # noqa: PLC0415 - as above

        # Those that have ended are left out: waiting for nothing costs no turn of the loop.
        running = [future.done.on_loop() for future in futures if not future.done.done()]
        if running:
            await asyncio.wait(running, timeout=timeout_s)


BLOCKING = Blocking()
ON_LOOP = OnLoop()


class Until(NamedTuple):
    """An instant on the monotonic clock, `timeout_s` after the waiting began."""

    at_s: float
    timeout_s: float


async def next_ending(endings: Endings, way: Way, until: Until | None) -> None:
    """Returns when one of the futures has ended. Raises: TimedOut: none has `until` then."""
    notice = endings.notice()
    await way.ended([notice], None if until is None else max(0.0, until.at_s - monotonic()))
    if until is not None and not notice.done.done():
        raise TimedOut("waiting for the next task run to end", until.timeout_s)


def run_to_end(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine over Blocking returns."""
    try:
        work.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    work.close()
    raise RuntimeError("a coroutine over Blocking waited for an event loop")


def is_cancellation(error: BaseException) -> bool:
    """Whether this is how running code is told to stop: by a signal, a loop, or a flow around it that is over."""
    if isinstance(error, KeyboardInterrupt | RunCancelled | Expired):
        return True
    asyncio = sys.modules.get("asyncio.exceptions")  # not imported: then nobody can have raised it
    return asyncio is not None and isinstance(error, asyncio.CancelledError)

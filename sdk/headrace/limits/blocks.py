"""`concurrency` and `rate_limit`, as authors write them."""

from __future__ import annotations

import inspect
import sys
from _thread import get_ident
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from dataclasses import replace
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.errors import UsageError

if TYPE_CHECKING:
    from headrace.limits.demand import Demand
    from headrace.limits.holding import Held
    from headrace.limits.ways import Way

T = TypeVar("T")
Owner = tuple[int, int]
"""A thread, and the asyncio task that runs in it."""

_OPEN: ContextVar[tuple[tuple[Owner, Demand], ...]] = ContextVar("headrace_blocks", default=())
"""The blocks around the running code; those of other owners were copied when a task was started."""


def concurrency(names: str | Mapping[str, int], *, slots: int = 1, timeout_seconds: float | None = None) -> Concurrency:
    """
    Holds slots of ConcurrencyLimits while a block of code runs: write it in a `with` or `async with` statement.

    Args:
        names: A limit, or slots by limit, {"postgres": 2, "api": 1}: taken together or not at all.
        slots: How many of the one limit.
        timeout_seconds: How long to wait for them. None: as long as it takes.
    Raises: UsageError: at once; TimedOut, LimitUnusable: at the start of the block; ConcurrencyLost: from the block, which
        is broken off, or at its end.
    """
    from headrace.limits.demand import demanded  # noqa: PLC0415 - what waits is loaded by the first block

    return Concurrency(demanded(names, slots), timeout_seconds)


class Concurrency:
    """What `concurrency()` returns; write it in the `with` statement. `as held` gives a Held."""

    def __init__(self, demand: Demand, timeout_s: float | None) -> None:
        self._demand = demand
        self._timeout_s = timeout_s
        self._block: AbstractAsyncContextManager[Held] | None = None

    def __enter__(self) -> Held:
        from headrace.limits.ways import BLOCKING  # noqa: PLC0415 - as above

        refuse_coroutine(inspect.currentframe(), "async with concurrency(…)")
        return _to_end(self._opened(BLOCKING).__aenter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return _to_end(self._closed().__aexit__(kind, error, trace))

    async def __aenter__(self) -> Held:
        from headrace.limits.ways import ON_LOOP  # noqa: PLC0415 - as above

        return await self._opened(ON_LOOP).__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._closed().__aexit__(kind, error, trace)

    def _opened(self, way: Way) -> AbstractAsyncContextManager[Held]:
        if self._block is not None:
            raise UsageError("this concurrency() is in use already; write concurrency(…) in each `with` statement")
        self._block = _block(self._demand, self._timeout_s, way)
        return self._block

    def _closed(self) -> AbstractAsyncContextManager[Held]:
        block, self._block = self._block, None
        assert block is not None
        return block


class RateLimit:
    """Waits until one more may start: `rate_limit("api")`, in an `async def` `await rate_limit.aio("api")`."""

    def __call__(self, name: str, *, count: int = 1, timeout_seconds: float | None = None) -> None:
        """
        Returns when `count` more may start by the rate of this ConcurrencyLimit; they are counted then.

        Args:
            name: Of a ConcurrencyLimit with a rate; without a cluster, of HEADRACE_LOCAL_LIMITS.
            count: How many are to start, at least 1.
            timeout_seconds: How long to wait. None: as long as it takes.
        Raises: UsageError: called in an `async def`, or an argument cannot be one. TimedOut. LimitUnusable: there is no
            such limit, or it has no rate that allows so many.
        """
        from headrace.limits.ways import BLOCKING  # noqa: PLC0415 - what waits is loaded by the first call

        refuse_coroutine(inspect.currentframe(), "await rate_limit.aio(…)")
        _to_end(_start(name, count, timeout_seconds, BLOCKING))

    async def aio(self, name: str, *, count: int = 1, timeout_seconds: float | None = None) -> None:
        """The same for `async def`: the event loop stays free."""
        from headrace.limits.ways import ON_LOOP  # noqa: PLC0415 - as above

        await _start(name, count, timeout_seconds, ON_LOOP)


rate_limit = RateLimit()


@asynccontextmanager
async def _block(demand: Demand, timeout_s: float | None, way: Way) -> AsyncIterator[Held]:
    from headrace.limits.choice import limits_here  # noqa: PLC0415 - as above

    limits = limits_here()
    blocks, owner = _OPEN.get(), _owner()
    around = tuple(each for of, block in blocks if of == owner for each in block.slots)
    held = await limits.acquire(replace(demand, around=around), timeout_s, way)
    try:
        async with way.breakable(held):
            token = _OPEN.set((*blocks, (owner, demand)))
            try:
                yield held
            finally:
                _OPEN.reset(token)
            held.check()
    finally:
        await limits.release(held, way)


async def _start(name: str, count: int, timeout_s: float | None, way: Way) -> None:
    from headrace.limits.choice import limits_here  # noqa: PLC0415 - as above
    from headrace.limits.demand import counted, named  # noqa: PLC0415 - as above

    limit, starts = named("rate_limit", name), counted("count", count)
    await limits_here().start(limit, starts, timeout_s, way)


def _to_end(work: Coroutine[Any, Any, T]) -> T:
    from headrace.engine.ways import run_to_end  # noqa: PLC0415 - as above

    return run_to_end(work)


def _owner() -> Owner:
    asyncio = sys.modules.get("asyncio")  # not imported: then no loop runs
    running: Callable[[], object] | None = getattr(asyncio, "_get_running_loop", None)
    task = asyncio.current_task() if asyncio and running and running() else None
    return get_ident(), id(task)


def refuse_coroutine(frame: FrameType | None, instead: str) -> None:
    """Raises: UsageError: the caller of this frame is an `async def`, whose event loop this would block."""
    caller = frame.f_back if frame else None
    if caller and caller.f_code.co_flags & inspect.CO_COROUTINE:
        raise UsageError(f"this would block the event loop of {caller.f_code.co_name}(): write `{instead}`")

"""Waiting for futures of submitted tasks: for all of them, or for each as it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from headrace.engine.futures import TaskFuture
    from headrace.engine.mapping import Mapped


class Waited(NamedTuple):
    """The futures that have ended, and those that have not."""

    done: list[TaskFuture[Any]]
    not_done: list[TaskFuture[Any]]


class Wait:
    """Waits for futures of submitted tasks: `wait(futures)`, in an `async def` `await wait.aio(futures)`."""

    def __call__(self, futures: Iterable[TaskFuture[Any]], timeout_seconds: float | None = None) -> Waited:
        """
        The futures, when all have ended, however they did: `done` and `not_done`.

        Args:
            timeout_seconds: How long to wait; what has not ended then is in `not_done`. None: as long as it takes.
        Raises: UsageError: it would block the event loop that they need.
        """
        from headrace.engine.ways import BLOCKING, run_to_end  # noqa: PLC0415 - the engine is loaded by the first call

        each = list(futures)
        run_to_end(BLOCKING.ended(each, timeout_seconds))
        return _sorted(each)

    async def aio(self, futures: Iterable[TaskFuture[Any]], timeout_seconds: float | None = None) -> Waited:
        """The same for `async def`: the event loop stays free."""
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        each = list(futures)
        await ON_LOOP.ended(each, timeout_seconds)
        return _sorted(each)


wait = Wait()


def as_completed(futures: Iterable[TaskFuture[Any]] | Mapped[Any], timeout_seconds: float | None = None) -> AsCompleted:
    """
    The futures as they end, to iterate over with `for` or `async for`; also those of a map() with a bound.

    Args:
        timeout_seconds: From now. None: as long as it takes.
    Raises: TimedOut: from the loop, if some have not ended by then.
    """
    return AsCompleted(futures, timeout_seconds)


class AsCompleted:
    """Futures in the order in which they end."""

    def __init__(self, futures: Iterable[TaskFuture[Any]] | Mapped[Any], timeout_s: float | None) -> None:
        from headrace.engine.completion import completion  # noqa: PLC0415 - as above

        self._next = completion(futures, timeout_s)

    def __iter__(self) -> Iterator[TaskFuture[Any]]:
        from headrace.engine.ways import BLOCKING, run_to_end  # noqa: PLC0415 - as above

        while (future := run_to_end(self._next(BLOCKING))) is not None:
            yield future

    async def __aiter__(self) -> AsyncIterator[TaskFuture[Any]]:
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        while (future := await self._next(ON_LOOP)) is not None:
            yield future


def _sorted(futures: list[TaskFuture[Any]]) -> Waited:
    done = [future.done.done() for future in futures]
    return Waited(
        [future for future, ended in zip(futures, done, strict=True) if ended],
        [future for future, ended in zip(futures, done, strict=True) if not ended],
    )

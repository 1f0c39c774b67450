"""
A task over many inputs: the arguments of each call, and the calls a bounded number at a time.

    inputs ──▶ under way (at most max_concurrency) ──▶ ended, not fetched ──▶ fetched by the flow
               └────────── at most twice max_concurrency ──────────┘

Inputs are taken in the thread that fetches, so that a generator may hold what belongs to its thread, such as a cursor
of SQLite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from typing import Any, Generic, TypeVar

from headrace.engine.futures import Endings, TaskFuture
from headrace.engine.inputs import Arguments
from headrace.engine.marks import FailureAllowed, Unmapped
from headrace.engine.ways import BLOCKING, ON_LOOP, Until, Way, next_ending, run_to_end
from headrace.errors import UsageError, shown
from headrace.states import Succeeded

R = TypeVar("R")

AHEAD = 2
"""How many times max_concurrency may have begun and not be fetched: one slow task does not hold up the others at once."""


ONE = (Unmapped, str, bytes, bytearray)
"""What could be walked, and is one value."""


class Mapped(Generic[R]):
    """
    The task runs of a map() with a bound: iterate over it, with `for` or `async for`, for their futures.

    They come in the order of the inputs, each when it has ended. What is not fetched runs when the flow ends.
    """

    def __init__(
        self,
        rows: Iterator[Arguments],
        submit: Callable[[Arguments], TaskFuture[R]],
        *,
        max_concurrency: int,
        forget: Callable[[TaskFuture[R]], None],
    ) -> None:
        self._rows = rows
        self._submit = submit
        self._forget = forget
        self._most = max_concurrency
        self._running = 0
        self._has_more = True
        self._unfetched: dict[TaskFuture[R], None] = {}
        self._endings = Endings()
        self._fill()

    def __iter__(self) -> Iterator[TaskFuture[R]]:
        while (future := run_to_end(self.fetched(BLOCKING))) is not None:
            yield future

    async def __aiter__(self) -> AsyncIterator[TaskFuture[R]]:
        while (future := await self.fetched(ON_LOOP)) is not None:
            yield future

    def result(self) -> list[R]:
        """All results that were not fetched, in the order of the inputs. Raises: what the first that failed raised."""
        return [future.result() for future in self]

    def cancel(self) -> None:
        """Takes no further input, and takes back what has not begun."""
        self._has_more = False
        for future in self._unfetched:
            future.cancel()

    async def fetched(self, way: Way, *, in_order: bool = True, until: Until | None = None) -> TaskFuture[R] | None:
        """
        The next future, when it has ended: of the inputs, or `in_order=False` of those that end. None after the last.

        Raises: what the iterator over the inputs raises; UsageError: this way would block the event loop for ever;
            TimedOut: none has ended `until` then.
        """
        while True:
            self._note_ended()
            self._fill()
            future = self._ended_one(in_order=in_order)
            if future:
                del self._unfetched[future]
                if not future.done.cancelled() and isinstance(future.done.value(), Succeeded):
                    self._forget(future)
                return future
            if not self._unfetched and not self._has_more:
                return None
            await next_ending(self._endings, way, until)

    def _note_ended(self) -> None:
        while self._endings.taken():
            self._running -= 1

    def _fill(self) -> None:
        while self._has_more and self._running < self._most and len(self._unfetched) < AHEAD * self._most:
            row = next(self._rows, None)
            if row is None:
                self._has_more = False
                return
            future = self._submit(row)
            self._running += 1
            self._unfetched[future] = None
            self._endings.watch(future)

    def _ended_one(self, *, in_order: bool) -> TaskFuture[R] | None:
        for future in self._unfetched:
            if future.done.done():
                return future
            if in_order:
                return None
        return None


def rows_of(label: str, arguments: Arguments) -> Iterator[Arguments]:
    """
    The arguments of each call: what can be walked is walked side by side, the rest is the same for each.

    Raises: UsageError: there is nothing to walk, or a dict, or (while it is walked) the inputs differ in length.
    """
    args, kwargs = arguments
    names = [*(None for _ in args), *kwargs]
    columns = [
        _column(label, name or f"argument {at + 1}", value)
        for at, (name, value) in enumerate(zip(names, (*args, *kwargs.values()), strict=True))
    ]
    walked = [at for at, column in enumerate(columns) if column is not None]
    if not walked:
        raise UsageError(f"{label}: map() needs something to map over, such as .map([1, 2, 3])")
    constants = [_constant(value) for value in (*args, *kwargs.values())]
    return _rows(label, [column for column in columns if column is not None], walked, (constants, len(args), [*kwargs]))


def _rows(
    label: str, columns: list[Iterable[Any]], walked: list[int], fixed: tuple[list[Any], int, list[str]]
) -> Iterator[Arguments]:
    constants, args, names = fixed
    sides = zip(*columns, strict=True)
    while True:
        try:
            values = next(sides, None)
        except ValueError as error:
            if not str(error).startswith("zip()"):  # an iterator's own
                raise
            raise UsageError(f"{label}: map() walks its inputs side by side: {error}") from None
        if values is None:
            return
        row = constants.copy()
        for at, value in zip(walked, values, strict=True):
            row[at] = value
        yield tuple(row[:args]), dict(zip(names, row[args:], strict=True))


def _column(label: str, name: str, value: Any) -> Iterable[Any] | None:
    """What to walk; None for what is the same for each call."""
    if isinstance(value, FailureAllowed):
        inner = _column(label, name, value.value)
        return None if inner is None else (FailureAllowed(item) for item in inner)
    if isinstance(value, TaskFuture):
        return _column(label, name, value.result())
    if isinstance(value, Mapping):
        raise UsageError(
            f"{label}: map() got a dict for {name}: write unmapped(…) to give it to each call, or list(…) to walk its keys"
        )
    if isinstance(value, ONE) or not hasattr(value, "__iter__") or hasattr(type(value), "model_fields"):
        return None
    walked: Iterable[Any] = value
    return walked


def _constant(value: Any) -> Any:
    return value.value if isinstance(value, Unmapped) else value


def bounded(label: str, max_concurrency: object) -> int:
    """The bound of a map(). Raises: UsageError: it is no whole number of at least 1."""
    if isinstance(max_concurrency, int) and not isinstance(max_concurrency, bool) and max_concurrency >= 1:
        return max_concurrency
    raise UsageError(f"{label}: max_concurrency is {shown(max_concurrency)}, expected a whole number of at least 1")

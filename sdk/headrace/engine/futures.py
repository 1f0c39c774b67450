"""The result of a submitted task, as far as it is there."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any, Generic, TypeVar

from headrace.engine.outcomes import Outcome
from headrace.errors import RunCancelled, TimedOut, UsageError
from headrace.states import Cancelled, Pending, Running, State

R = TypeVar("R")


class TaskFuture(Generic[R]):
    """A task run that was submitted. `await future` is `future.result()` without blocking the event loop."""

    __slots__ = ("_cancel", "done", "loop_thread", "name", "seen")

    def __init__(
        self,
        name: str,
        done: Outcome[State[R]],
        *,
        cancel: Callable[[], object] | None = None,
        loop_thread: int | None = None,
    ) -> None:
        self.name = name
        """Of the task run, such as "extract-0"."""
        self.done = done
        self.seen = False
        """Whether somebody has asked for the outcome; one that nobody asks for fails the flow if it is bad."""
        self._cancel = cancel
        # What is not given one is taken back, which only what has not begun can be.
        self.loop_thread = loop_thread
        """The thread of the event loop that it runs on. None: it runs in a thread."""

    def __repr__(self) -> str:
        return f"<TaskFuture {self.name} {self.state.name}>"

    def __await__(self) -> Generator[Any, None, R]:
        self.seen = True
        yield from self.ending()
        return self.state.result()

    def ending(self) -> Generator[Any, None, None]:
        """To be awaited: ends when the task run has ended, however it did."""
        if not self.done.done():
            yield from self.done.on_loop().__await__()

    @property
    def in_thread(self) -> bool:
        """Whether it runs in a thread, and not on the flow's event loop."""
        return self.loop_thread is None

    @property
    def state(self) -> State[R]:
        """Where it is now."""
        if not self.done.done():
            return Running() if self.done.running() or not self.in_thread else Pending()
        self.seen = True
        return self._final()

    def wait(self, timeout_seconds: float | None = None) -> State[R]:
        """
        Its final state, when it has one.

        Raises: TimedOut: it has none after `timeout_seconds`; UsageError: waiting would block the event loop for ever.
        """
        self.seen = True
        refuse_blocking(self)
        if not self.done.wait(timeout_seconds):
            raise TimedOut(f"waiting for task run {self.name}", timeout_seconds or 0.0)
        return self._final()

    def result(self, timeout_seconds: float | None = None) -> R:
        """What the task returned, when it has. Raises: what the task raised; else as wait()."""
        return self.wait(timeout_seconds).result()

    def cancel(self) -> None:
        """Takes it back if it has not begun; on an event loop also if it has."""
        if (self._cancel or self.done.cancel)():  # whoever takes it back knows how it ends
            self.seen = True

    def release(self) -> None:
        """It has ended: what could cancel it is let go, and the flow run that this would keep alive in a circle."""
        self._cancel = None

    def _final(self) -> State[R]:
        return _never_begun(self.name) if self.done.cancelled() else self.done.value()


class FutureList(list[TaskFuture[R]]):
    """The futures of a map(), in the order of its inputs. `await futures` is `futures.result()` on an event loop."""

    def result(self, timeout_seconds: float | None = None) -> list[R]:
        """The results, in the order of the inputs. Raises: what the first task that failed raised; else as wait()."""
        return [state.result() for state in self.wait(timeout_seconds)]

    def wait(self, timeout_seconds: float | None = None) -> list[State[R]]:
        """
        The final states, when all have one.

        Raises: TimedOut: one has none after `timeout_seconds`; UsageError: waiting would block the event loop for ever.
        """
        until_s = None if timeout_seconds is None else monotonic() + timeout_seconds
        return [each.wait(None if until_s is None else max(0.0, until_s - monotonic())) for each in self]

    def __await__(self) -> Generator[Any, None, list[R]]:
        for future in self:
            future.seen = True
        for future in self:
            yield from future.ending()
        return [future.state.result() for future in self]


class Notice:
    """Something that happens once, as one can wait for it like for a future."""

    __slots__ = ("done", "loop_thread", "name")

    def __init__(self, name: str, loop_thread: int | None) -> None:
        self.done: Outcome[None] = Outcome()
        self.name = name
        self.loop_thread = loop_thread


class Endings:
    """Futures in the order in which they end; they may end in any thread, and one takes them."""

    __slots__ = ("_ended", "_lock", "_loop_thread", "_notice")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ended: deque[TaskFuture[Any]] = deque()
        self._notice: Notice | None = None
        self._loop_thread: int | None = None

    def watch(self, future: TaskFuture[Any]) -> None:
        """Takes it up when it ends; at once if it has."""
        self._loop_thread = future.loop_thread or self._loop_thread
        future.done.when_done(lambda _: self._put(future))

    def taken(self) -> TaskFuture[Any] | None:
        """The next one that has ended; None if there is none yet."""
        return self._ended.popleft() if self._ended else None

    def notice(self) -> Notice:
        """What to wait for before the next taken()."""
        with self._lock:
            self._notice = notice = Notice("that is waited for", self._loop_thread)
            if self._ended:
                notice.done.end(None)
                self._notice = None
        return notice

    def _put(self, future: TaskFuture[Any]) -> None:
        with self._lock:
            self._ended.append(future)
            notice, self._notice = self._notice, None
        if notice:
            notice.done.end(None)


def refuse_blocking(waited_for: TaskFuture[Any] | Notice) -> None:
    """Raises: UsageError: it needs the event loop of this thread, which waiting for it would block."""
    if waited_for.loop_thread == threading.get_ident() and not waited_for.done.done():
        raise UsageError(
            f"task run {waited_for.name} needs the event loop that this would block: write `await future`, "
            "`async for` or `await wait.aio(futures)`"
        )


def _never_begun(name: str) -> State[Any]:
    message = f"task run {name} was taken back before it began"
    return Cancelled(message=message, exception=RunCancelled("the end of its flow"))

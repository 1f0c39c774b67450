"""
Breaks off code that runs in a thread, from outside it.

The main thread is interrupted by a signal, which ends blocking system calls too. Another thread can only be handed
an exception that it raises at its next bytecode: a call that blocks in C returns first.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from types import FrameType
from typing import Any, Self

from headrace.errors import TimedOut


class Expired(BaseException):
    """Raised inside code whose time is up. Not an Exception, so that `except Exception` does not hold it up."""

    def __init__(self, deadline: Deadline | None = None) -> None:
        super().__init__()
        self.deadline = deadline


class Interruptible:
    """A stretch of code of this thread that another thread can break off."""

    __slots__ = ("_lock", "_open", "_thread", "sent")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = False
        self._thread = 0
        self.sent = False
        """Whether it was broken off."""

    def __enter__(self) -> Self:
        self._thread = threading.get_ident()
        self._open = True
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open = False
        if self.sent:  # what was sent and has not arrived must not arrive later, in somebody else's code
            _raise_in_thread(self._thread, None)

    def interrupt(self, exception: type[BaseException]) -> None:
        """Raises the exception inside the stretch at its next bytecode; once, and only while it runs."""
        with self._lock:
            if self._open and not self.sent:
                self.sent = True
                _raise_in_thread(self._thread, exception)


def _raise_in_thread(thread: int, exception: type[BaseException] | None) -> None:
    pointer = None if exception is None else ctypes.py_object(exception)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), pointer)


def time_limit(seconds: float, what: str) -> AbstractContextManager[None]:
    """
    A block of synchronous code that is broken off after that time.

    Raises: TimedOut: from the block; `what` names it.
    """
    if threading.current_thread() is threading.main_thread() and hasattr(signal, "setitimer"):
        return _limited_by_signal(seconds, what)
    return _limited_by_thread(seconds, what)


@contextmanager
def _limited_by_thread(seconds: float, what: str) -> Iterator[None]:
    stretch = Interruptible()
    timer = threading.Timer(seconds, stretch.interrupt, args=(Expired,))
    timer.daemon = True
    try:
        with stretch:
            timer.start()
            yield
    except Expired as expired:
        if not stretch.sent:  # the time of a block around this one is up
            raise
        raise TimedOut(what, seconds).with_traceback(expired.__traceback__) from None
    finally:
        timer.cancel()


class Deadline:
    """An instant on the monotonic clock; told apart by identity."""

    __slots__ = ("at_s",)

    def __init__(self, at_s: float) -> None:
        self.at_s = at_s


class _Alarm:
    """
    The process's one interval timer, shared by blocks inside each other; the main thread alone uses it.

    A deadline fires once: it leaves the list before its exception is raised. Whoever used the timer before gets it
    back.
    """

    def __init__(self) -> None:
        self._deadlines: list[Deadline] = []
        self._handler: Any = None
        self._rings_at_s: float | None = None

    def add(self, deadline: Deadline) -> None:
        if self._handler is None:
            left_s = signal.getitimer(signal.ITIMER_REAL)[0]
            self._rings_at_s = monotonic() + left_s if left_s else None
            self._handler = signal.signal(signal.SIGALRM, self._ring)
        self._deadlines.append(deadline)
        self._wind()

    def remove(self, deadline: Deadline) -> None:
        if deadline in self._deadlines:
            self._deadlines.remove(deadline)
        if self._deadlines:
            self._wind()
        elif self._handler is not None:
            handler, self._handler = self._handler, None
            _set_timer(None)
            signal.signal(signal.SIGALRM, handler)
            _set_timer(self._rings_at_s)

    def _wind(self) -> None:
        _set_timer(min((deadline.at_s for deadline in self._deadlines), default=None))

    def _ring(self, _signal: int, _frame: FrameType | None) -> None:
        now_s = monotonic()
        for deadline in self._deadlines:  # the outermost first: it ends the blocks inside it too
            if deadline.at_s <= now_s:
                self._deadlines.remove(deadline)
                self._wind()
                raise Expired(deadline)
        self._wind()


def _set_timer(at_s: float | None) -> None:
    # 0 would switch the timer off.
    signal.setitimer(signal.ITIMER_REAL, 0 if at_s is None else max(at_s - monotonic(), 1e-6))


_ALARM = _Alarm()


@contextmanager
def _limited_by_signal(seconds: float, what: str) -> Iterator[None]:
    deadline = Deadline(monotonic() + seconds)
    try:
        try:
            _ALARM.add(deadline)
            yield
        finally:
            _ALARM.remove(deadline)
    except Expired as expired:
        if expired.deadline is not deadline:
            raise
        raise TimedOut(what, seconds).with_traceback(expired.__traceback__) from None

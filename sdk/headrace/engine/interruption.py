"""
Breaks off code that runs in a thread, from outside it.

The main thread is interrupted by a signal, which ends blocking system calls too. Another thread can only be handed
an exception that it raises at its next bytecode: a call that blocks in C returns first.
"""

from __future__ import annotations

import ctypes
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic
from types import FrameType
from typing import Any, Self

from headrace.errors import TimedOut

FAR_S = 1e9
"""Thirty years: a deadline that is there to be moved."""


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


@contextmanager
def breakable(cause: Callable[[], BaseException | None]) -> Iterator[Callable[[], None]]:
    """
    A block of synchronous code that another thread can break off, by calling what this yields.

    Raises: what `cause` returns: from the block, once it was broken off.
    """
    on_main_thread = threading.current_thread() is threading.main_thread() and hasattr(signal, "pthread_kill")
    stretch = _AlarmedStretch() if on_main_thread else _ThreadStretch()
    try:
        with stretch:
            yield stretch.break_off
    except Expired as expired:
        error = cause() if stretch.broke_off(expired) else None
        if error is None:
            raise
        raise error.with_traceback(expired.__traceback__) from None


class _ThreadStretch(Interruptible):
    __slots__ = ()

    def break_off(self) -> None:
        self.interrupt(Expired)

    def broke_off(self, expired: Expired) -> bool:
        return self.sent and expired.deadline is None


class _AlarmedStretch:
    """On the main thread: rings the alarm by hand, which ends blocking system calls too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._deadline = Deadline(monotonic() + FAR_S)
        self._open = False

    def __enter__(self) -> None:
        _ALARM.add(self._deadline)
        self._open = True

    def __exit__(self, *_: object) -> None:
        with self._lock:  # a signal that nobody handles any more would end the process
            self._open = False
        _ALARM.remove(self._deadline)

    def break_off(self) -> None:
        with self._lock:
            if self._open:
                self._deadline.at_s = 0.0
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)

    def broke_off(self, expired: Expired) -> bool:
        return expired.deadline is self._deadline

"""
print() as log lines, for the code of runs that ask for it (`log_prints=True`), and for nobody else.

`print` is replaced while such a run is under way; the replacement asks the context of its caller what to do.
"""

from __future__ import annotations

import builtins
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import StringIO
from typing import Any

_WANTED: ContextVar[bool] = ContextVar("headrace_log_prints", default=False)
_print = builtins.print


class _Replacement:
    """Counts who needs the replacement: the last one to leave puts `print` back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            builtins.print = _print_or_log

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                builtins.print = _print


_REPLACEMENT = _Replacement()


@contextmanager
def printing_to_log(*, wanted: bool) -> Iterator[None]:
    """Whether what is printed inside to standard output becomes a log line."""
    token = _WANTED.set(wanted)
    try:
        with _REPLACEMENT:
            yield
    finally:
        _WANTED.reset(token)


def wanted() -> bool:
    """Whether what the running code prints becomes log lines."""
    return _WANTED.get()


def _print_or_log(*values: object, file: Any = None, **options: Any) -> None:
    if not _WANTED.get() or file not in {None, sys.stdout}:
        _print(*values, file=file, **options)
        return
    from headrace.engine.logs import run_logger  # noqa: PLC0415 - logging is not loaded for those who do not log

    text = StringIO()
    _print(*values, file=text, **options)
    run_logger().info("%s", text.getvalue().rstrip("\n"))

"""
The way of log lines from many threads to one stream, without a thread that waits for another.

Whoever writes to a stream lets go of the interpreter, and gets it back behind all threads that compute. If the others
waited meanwhile for their turn to write, thousands of short tasks would spend their time on handing these two around.
So a line is put down, and whoever holds the pen writes all that is there:

    thread A    puts a line, takes the pen, writes it ┄┄┄ writes what B and C have put down, lets the pen go
    thread B              puts a line; the pen is taken: goes on
    thread C                   puts a line; the pen is taken: goes on

With one thread, a line is written before the call that logs it returns.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from contextlib import suppress
from itertools import islice
from typing import IO

MOST_WAITING = 1_000
"""Lines: whoever puts down one more waits for the pen, so that a reader who is slow does not fill the memory."""
MOST_AT_ONCE = 1_000
"""Lines of one write."""
MOST_TURNS = 10
"""Writes for others before a thread of its own goes on with them: a task must not become the writer of all."""


class LineHandler(logging.StreamHandler[IO[str]]):
    """Writes each record as a line, in the order in which they come. An interruption may repeat a line, never lose one."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._waiting: deque[str] = deque()
        self._pen = threading.Lock()
        self._writer = 0
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._begin_anew)

    def handle(self, record: logging.LogRecord) -> bool:
        """As of any handler, without its lock."""
        passed = self.filter(record)
        if passed:  # from Python 3.12 on, a filter may give another record in place of this one
            self.emit(passed if isinstance(passed, logging.LogRecord) else record)
        return passed

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record, or leaves it to the thread that writes now."""
        try:
            self._waiting.append(self.format(record) + self.terminator)
            self._write_out(patiently=len(self._waiting) > MOST_WAITING)
        except RecursionError:
            raise
        except Exception:  # noqa: BLE001 - logging's own way: what cannot be logged does not end the program
            self.handleError(record)

    def flush(self) -> None:
        """Returns when all that was put down before is written."""
        self._write_out(patiently=True)
        super().flush()

    def _write_out(self, *, patiently: bool) -> None:
        turns = 0
        while self._waiting:
            # Whoever holds the pen looks for lines once more after letting it go.
            if self._pen.locked() and not (patiently and self._writer != threading.get_ident()):
                return
            with self._pen:
                self._writer = threading.get_ident()
                self._write()
            turns += 1
            if turns == MOST_TURNS and not patiently:
                with suppress(RuntimeError):  # no thread can be had at the end of the process
                    threading.Thread(target=self.flush, name="headrace-log", daemon=True).start()
                    return

    def _write(self) -> None:
        lines = list(islice(self._waiting, MOST_AT_ONCE))
        try:
            self.stream.write("".join(lines))
        except Exception:
            self._waiting.clear()
            raise
        for _ in lines:
            self._waiting.popleft()
        self.stream.flush()

    def _begin_anew(self) -> None:
        """In a forked process: these lines are the parent's, and the thread that holds the pen is not here."""
        self._waiting = deque()
        self._pen = threading.Lock()

"""
On a worker of the cluster: does one errand, and answers with its outcome and the lines of its log.

The worker is not ours: others use it, and it may run several tasks at a time, each in a thread. So only what is
logged by the errand's own code is taken.
"""

from __future__ import annotations

import logging
import pickle
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from headrace.engine import logs
from headrace.engine.clusters.parcels import Answer, Parcel, versions
from headrace.engine.processes.worker import LineSender, outcome_of
from headrace.engine.showcase import RELAY_LOGGER

MOST_LINES = 10_000
"""So many lines of one errand come back, the last ones; all are in the log of the worker."""


class Lines:
    """The lines of one errand."""

    def __init__(self) -> None:
        self.kept: deque[bytes] = deque(maxlen=MOST_LINES)

    def send_bytes(self, line: bytes) -> None:
        """Keeps the line, and drops the oldest one where there are too many."""
        self.kept.append(line)


_LINES: ContextVar[Lines | None] = ContextVar("headrace_lines", default=None)


def answer_to(parcel: bytes) -> bytes:
    """The answer. The errand of another version is not unpacked."""
    sent: Parcel = pickle.loads(parcel)  # noqa: S301 - from a flow; whoever reaches a cluster may run code there
    if sent.versions != versions():
        return pickle.dumps(Answer(other_versions=versions()))
    lines = Lines()
    with _taking(lines):
        outcome = outcome_of(sent.errand)
    return pickle.dumps(Answer(tuple(lines.kept), outcome))


@contextmanager
def _taking(lines: Lines) -> Iterator[None]:
    token = _LINES.set(lines)
    collector, printer = LineSender(lines), logging.StreamHandler(sys.stderr)
    printer.setFormatter(logs.JsonLines())
    printer.addFilter(lambda record: record.name != RELAY_LOGGER)
    root = logging.getLogger()
    handlers = (collector, printer)
    for handler in handlers:
        handler.addFilter(lambda _: _LINES.get() is lines)
        root.addHandler(handler)
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
        _LINES.reset(token)

"""What the tests of runs share: a clock that does not wait, and the log as events."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from headrace.engine.session import Session


class FakeClock:
    """Passes a second with every look; sleeping is noted, and takes no time."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self._now_s = 0.0

    def now_s(self) -> float:
        self._now_s += 1
        return self._now_s

    def wall_s(self) -> float:
        return 1_800_000_000.0 + self._now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    async def sleep_on_loop(self, seconds: float) -> None:
        self.slept.append(seconds)


def a_session(**changes) -> Session:
    """A laptop's session whose clock does not wait."""
    return Session(**{"clock": FakeClock(), **changes})


class Collected(logging.Handler):
    """Keeps the records that come."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def events(self) -> list[str]:
        """In order, such as "task_started extract-0"."""
        return [f"{each.event} {getattr(each, 'task_run', '')}".strip() for each in self.records]


@contextmanager
def log_of_runs() -> Iterator[Collected]:
    """The records of runs inside the block."""
    logger, handler = logging.getLogger("headrace.run"), Collected()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)

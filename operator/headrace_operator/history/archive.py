"""
The history store as the event loop sees it: one for all of the process, on a thread of its own, one call at a time.

SQLite's fsync and a slow network stop that thread, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from headrace.history import HistoryError, HistoryStore, HistoryUnavailable, Record
from headrace.history.store import Written
from headrace_operator.telemetry.history import HistoryMetrics

log = structlog.get_logger()

CLEAN_EVERY_S = 3600.0
CLEANED_AT_ONCE = 1000
"""Records of one transaction: it must not keep new ones waiting."""
PAUSE_S = 0.1
"""Between two of them."""
CALL_TIMEOUT_S = 60.0
"""A database that hangs does not close its connections. Longer than what it is given for a statement; a long migration is told as an outage."""

T = TypeVar("T")


class Archive:
    """
    Belongs to one event loop; close it when nobody calls any more.

    A call that has no answer in time goes on in its thread, and the next ones wait for that: what it does is harmless when it is done again.
    """

    def __init__(self, store: HistoryStore, metrics: HistoryMetrics, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        self.shown = store.shown
        self.is_down = False
        """Whether the last call has failed."""
        self._store = store
        self._metrics = metrics
        self._timeout_s = timeout_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history")

    async def write(self, records: Sequence[Record]) -> Written:
        """As of HistoryStore. Raises: HistoryError."""
        with self._metrics.batch_duration.time():
            return await self._called(lambda: self._store.write(records))

    async def known(self, uids: Sequence[str]) -> set[str]:
        """As of HistoryStore. Raises: HistoryError."""
        return await self._called(lambda: self._store.known(uids))

    async def keep_clean(self, days: int, clock: Callable[[], datetime]) -> None:
        """Deletes records of runs that ended more days ago, for ever; 0 keeps all of them."""
        while days:
            try:
                deleted = await self._cleaned(clock() - timedelta(days=days))
                log.info("history_cleaned", records=deleted, older_than_days=days)
            except HistoryError as error:
                log.warning("history_not_cleaned", error=str(error), retry_in_s=CLEAN_EVERY_S)
            await asyncio.sleep(CLEAN_EVERY_S)

    async def close(self) -> None:
        """Waits for the call that is under way, which the store bounds, and closes the connection."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._store.close)
        self._thread.shutdown(wait=False)

    async def _cleaned(self, before: datetime) -> int:
        total = 0
        while True:
            deleted = await self._called(lambda: self._store.delete_finished_before(before, CLEANED_AT_ONCE))
            total += deleted
            if deleted < CLEANED_AT_ONCE:
                return total
            await asyncio.sleep(PAUSE_S)

    async def _called(self, call: Callable[[], T]) -> T:
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except TimeoutError as error:
            self._failed()
            problem = f"no answer within {self._timeout_s:.0f} s; look whether its server, or its volume, hangs"
            raise HistoryUnavailable(self.shown, problem) from error
        except Exception:  # of whatever kind: who waits for the store to take something must be told
            self._failed()
            raise
        self.is_down = False
        return result

    def _failed(self) -> None:
        self.is_down = True
        self._metrics.failures.inc()

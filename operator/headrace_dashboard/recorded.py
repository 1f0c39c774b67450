"""
The history store as pages ask it: in threads of its own, for so long at most, and once however many want the same.

A store that is away costs nobody more than a moment: for some seconds after a failure nothing is asked, and the pages of what is in the
cluster never ask.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from typing import Any, Final, TypeVar

import structlog

from headrace.history import HistoryError, HistoryRefused, HistoryStore, open_history
from headrace_dashboard.access.remembered import Remembered

log = structlog.get_logger()

T = TypeVar("T")
AT_ONCE: Final = 2
"""Connections: a search that takes long must not hold up all others."""
PATIENCE_S: Final = 8.0
"""A person waits; the database itself gives a statement up after 20 s."""
PAUSE_S: Final = 10.0
TTL_S: Final = 15.0
KEPT: Final = 32
"""Answers; a record may be a megabyte."""


class HistoryAway(Exception):
    """The history store has no answer now; its text is for visitors, and the log has the reason."""


class Recorded:
    """
    A history store that is only read.

    Args:
        clock_s: Seconds that only grow.
    Raises: UsageError: the URL names no store.
    """

    def __init__(self, url: str, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._idle: asyncio.Queue[HistoryStore] = asyncio.Queue()
        for _ in range(AT_ONCE):
            self._idle.put_nowait(open_history(url, is_reader=True))
        self._answers: Remembered[Hashable, Any] = Remembered(TTL_S, KEPT, clock_s)
        self._away_until_s = float("-inf")

    async def ask(self, key: Hashable, work: Callable[[HistoryStore], T], *, patience_s: float = PATIENCE_S) -> T:
        """
        What the work returns, or has returned some seconds ago.

        Args:
            key: Of the question: whose it is, if the answer depends on that.
            work: Asks the store; it runs in a thread.
            patience_s: Seconds to wait for it at most.
        Raises: HistoryAway.
        """
        found: T = await self._answers.get(key, lambda: self._asked(work, patience_s))
        return found

    async def _asked(self, work: Callable[[HistoryStore], T], patience_s: float) -> T:
        if self._clock_s() < self._away_until_s:
            raise HistoryAway("The history store cannot be asked at the moment; the dashboard's log says why.")
        deadline_s = asyncio.get_running_loop().time() + patience_s
        try:
            async with asyncio.timeout_at(deadline_s):
                store = await self._idle.get()  # a question that nobody waits for any more is never put
        except TimeoutError:
            raise _too_slow(patience_s) from None
        working = asyncio.create_task(self._worked(store, work))
        done, _ = await asyncio.wait({working}, timeout=deadline_s - asyncio.get_running_loop().time())
        if not done:
            working.add_done_callback(lambda late: late.cancelled() or late.exception())  # nobody asks for it
            raise _too_slow(patience_s)
        try:
            return working.result()
        except HistoryRefused as error:  # it is there: whoever asks for something else gets an answer
            log.info("history_question_refused", error=str(error))
            raise HistoryAway("The history store cannot look for that; change the filters.") from error
        except HistoryError as error:
            self._away_until_s = self._clock_s() + PAUSE_S
            log.warning("history_unavailable", error=str(error), asked_again_in_s=PAUSE_S)
            raise HistoryAway(
                "The history store cannot be asked at the moment; the dashboard's log says why."
            ) from error

    async def _worked(self, store: HistoryStore, work: Callable[[HistoryStore], T]) -> T:
        try:
            return await asyncio.to_thread(work, store)
        finally:
            self._idle.put_nowait(store)


def _too_slow(patience_s: float) -> HistoryAway:
    log.warning("history_too_slow", waited_s=patience_s)
    return HistoryAway(f"The history store has not answered within {patience_s:g} s; narrow down what is asked.")

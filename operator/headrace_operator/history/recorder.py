"""
Brings what waits in the outbox into the store, a batch at a time.

| step | if the process dies just before | just after |
| --- | --- | --- |
| the batch is committed | the runs are in the API, and are listed by the next operator | the same; it finds that the store knows them |
| they are taken out of the outbox | as above | retention may delete them |

A batch without an answer is written again: the uid is the primary key, so a run has one record whoever wrote it first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import structlog

from headrace.history import HistoryError, Record
from headrace.kubeapi.errors import ApiError, NotFound
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.history.archive import Archive
from headrace_operator.history.outbox import BATCH_BYTES, Outbox, Waiting
from headrace_operator.telemetry.history import HistoryMetrics

log = structlog.get_logger()

READ_AT_ONCE = 16
FIRST_RETRY_S = 0.5
LAST_RETRY_S = 30.0


@dataclass(frozen=True, slots=True)
class Manner:
    """How records are made and written; the settings HEADRACE_HISTORY_… in docs/operations.md."""

    batch_size: int = 500
    batch_delay_s: float = 1.0
    log_tail: Literal["failed", "all", "none"] = "failed"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the recorder reads what it does not have."""

    run: Callable[[ObjectKey], Awaitable[Mapping[str, Any]]]
    """A FlowRun. Raises: NotFound, ApiError."""
    log: Callable[[str, str], Awaitable[str]]
    """The end of the log of a pod, by namespace and name. Raises: ApiError, TimeoutError."""


class Recorder:
    """
    Works for one outbox.

    Args:
        told: Is given the runs whose records are committed.
    """

    def __init__(
        self,
        outbox: Outbox,
        archive: Archive,
        sources: Sources,
        manner: Manner,
        *,
        told: Callable[[Iterable[FinishedRun]], None],
        metrics: HistoryMetrics,
    ) -> None:
        self.outbox = outbox
        self._archive = archive
        self._sources = sources
        self._manner = manner
        self._told = told
        self._metrics = metrics
        self._failures = 0
        self._batch_bytes = 0
        self._has_moved = asyncio.Event()
        self._reading = asyncio.Semaphore(READ_AT_ONCE)
        outbox.on_lost = lambda: metrics.count(lost=1)

    async def run(self) -> None:
        """Writes what waits, until it is cancelled."""
        while True:
            await self.outbox.is_waited_for.wait()
            await self._gather()
            await self._try()

    def close(self) -> None:
        """Others look after the runs that wait here, and nobody waits for room among them."""
        self.outbox.close()
        self._has_moved.set()

    async def known(self, uids: Sequence[str]) -> set[str]:
        """
        Those that the store has, as far as it answers: while it cannot be used none are known, and each is asked about later.

        Waits until there is room for the records of as many runs, unless the store cannot be used.
        """
        room = self.outbox.room
        while not self._archive.is_down and not room.holds(len(uids)) and len(self.outbox):
            self._has_moved.clear()
            await self._has_moved.wait()
        if self._archive.is_down:
            return set()
        try:
            return await self._archive.known(uids)
        except HistoryError as error:
            log.warning("history_unavailable", error=str(error))
            return set()

    async def flush(self) -> None:
        """Writes one batch. Raises: HistoryError, ApiError: it waits on."""
        # Less after each failure: what was too much for the store at once must not be so for ever.
        batch = self.outbox.batch(max(1, self._manner.batch_size >> min(self._failures, 16)))
        self._batch_bytes = sum(each.size for each in batch)
        missing = [each for each in batch if each.record is None]
        if missing:
            known = await self._archive.known([each.run.uid for each in missing])
            self._told(self.outbox.recorded(known))
            answers = await asyncio.gather(*(self._read(each) for each in missing if each.run.uid not in known))
            faults = [answer for answer in answers if answer is not None]
            if faults and len(faults) == len(batch):
                raise faults[0]
        await asyncio.gather(*(self._add_tail(each) for each in batch if self._wants_tail(each)))
        records = [each.record for each in batch if each.record is not None]
        if records:
            await self._write(records)

    async def _write(self, records: list[Record]) -> None:
        written = await self._archive.write(records)
        uids = [record.uid for record in records]
        for uid, why in (*written.bare.items(), *written.lost.items()):
            log.warning("record_refused", uid=uid, is_kept_in_part=uid in written.bare, error=why)
        self._metrics.count(recorded=len(uids) - len(written.bare) - len(written.lost), bare=len(written.bare))
        self._metrics.count(lost=len(written.lost))
        self._told(self.outbox.recorded(uids))

    async def _gather(self) -> None:
        """Until there is a whole batch, or the first of it has waited long enough."""
        manner, waited_s = self._manner, 0.0
        step_s = manner.batch_delay_s / 4
        while len(self.outbox) < manner.batch_size and waited_s < manner.batch_delay_s:
            await asyncio.sleep(step_s)
            waited_s += step_s

    async def _try(self) -> None:
        try:
            await self.flush()
        except (HistoryError, ApiError) as error:
            await self._back_off(error)
        except Exception as error:  # a fault of ours here must not stop what does not need the store
            log.exception("recording_failed", error=type(error).__name__)
            await self._back_off(error)
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._failures:
            log.info("history_available", store=self._archive.shown, failures=self._failures)
        self._failures = 0
        self._has_moved.set()

    async def _back_off(self, error: Exception) -> None:
        self._failures += 1
        longest_s = min(FIRST_RETRY_S * 2 ** min(self._failures, 16), LAST_RETRY_S)
        delay_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311 - spreads retries, guards nothing
        self._has_moved.set()
        log.warning(
            "history_unavailable",
            error=str(error),
            waiting=len(self.outbox),
            is_full=self.outbox.is_full,
            retry_in_s=round(delay_s, 2),
        )
        await asyncio.sleep(delay_s)

    async def _read(self, waiting: Waiting) -> ApiError | None:
        """
        The object of a run of which only the name is known, unless the batch is large enough without it.

        Returns why it cannot be read; it is asked for again then.
        """
        async with self._reading:
            if self._batch_bytes > BATCH_BYTES:
                return None
            try:
                obj = await self._sources.run(waiting.run.key)
            except NotFound:
                self.outbox.gone(waiting.run.uid)
                return None
            except ApiError as error:
                self.outbox.put_off(waiting.run.uid)
                return error
        if obj["metadata"]["uid"] == waiting.run.uid:
            self.outbox.read(waiting.run.uid, obj)
            self._batch_bytes += waiting.size
        else:  # another run has its name
            self.outbox.gone(waiting.run.uid)
        return None

    def _wants_tail(self, waiting: Waiting) -> bool:
        record, which = waiting.record, self._manner.log_tail
        if record is None or record.pod is None or waiting.has_tail or which == "none":
            return False
        return which == "all" or not record.is_good

    async def _add_tail(self, waiting: Waiting) -> None:
        """A log that is not to be had is left out: its pod may be gone, or have said nothing."""
        waiting.has_tail = True
        record = waiting.record
        if record is None or record.pod is None:
            return
        async with self._reading:
            try:
                text = await self._sources.log(record.namespace, record.pod)
            except (ApiError, TimeoutError) as error:
                log.info("log_not_read", namespace=record.namespace, pod=record.pod, error=str(error))
                return
        if text:
            self.outbox.add_tail(record.uid, text)

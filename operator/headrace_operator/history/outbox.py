"""
Finished runs of which the history store is not known to have a record. Whoever is in here is not deleted.

    finished() ──> waits, with its record while there is room for it, else with its name only ──> recorded() ──> forgotten

Etcd is the buffer: a run that waits is still in the API, so what is in here may be lost at any time and is found again by listing.
That is bounded too: of more runs than `Room.max_held` the later ones are given up, which lets them go at the end of their time to live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson
import structlog

from headrace.history.records import GOOD_ENDS, Record, record_of, stamp
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey

log = structlog.get_logger()

FlowOf = Callable[[ObjectKey], str | None]
"""Name of the Flow that a Deployment runs, if that is known."""

MAX_BYTES = 64 << 20
"""Of records in memory. They have a few KiB each, but parameters and results may have a thousand."""
BATCH_BYTES = 8 << 20
"""Of one batch, unless its first record alone has more: the store gets it into its disk in seconds."""


class Room:
    """
    How much may wait, of all outboxes of the process together.

    Args:
        max_held: Runs that are held back in the API.
        max_records: Records in memory; of further runs only the names are.
        max_bytes: Of these records together; the one that goes beyond it is the last.
    """

    def __init__(self, max_held: int, max_records: int, max_bytes: int = MAX_BYTES) -> None:
        self.max_held = max_held
        self.max_records = max_records
        self.max_bytes = max_bytes
        self.held = 0
        self.records = 0
        self.bytes = 0
        self.listeners: list[Callable[[], None]] = []
        """Are told when it is full no more."""

    def keep(self, record: Record, *, instead_of: Record | None = None) -> None:
        """A run that waits has a record now, or another one."""
        self.records += instead_of is None
        self.bytes += len(record.document) - (len(instead_of.document) if instead_of is not None else 0)

    def leave(self, record: Record | None) -> None:
        """A run waits no more, nor does its record."""
        was_full = self.is_full
        self.held -= 1
        if record is not None:
            self.records -= 1
            self.bytes -= len(record.document)
        if was_full and not self.is_full:
            for tell in self.listeners:
                tell()

    @property
    def is_full(self) -> bool:
        """Whether as many runs wait as may be held back."""
        return self.held >= self.max_held

    def holds(self, count: int) -> bool:
        """Whether so many runs more may wait with their records, and none of them be given up."""
        return self.takes(count) and self.held + count <= self.max_held

    def takes(self, count: int) -> bool:
        """Whether so many records more may be in memory."""
        return self.records + count <= self.max_records and self.bytes < self.max_bytes


@dataclass(slots=True)
class Waiting:
    """A run that waits for its record."""

    run: FinishedRun
    since_s: float
    """On the monotonic clock."""
    record: Record | None
    has_tail: bool = False
    """Whether the end of its log was asked for."""

    @property
    def size(self) -> int:
        """Bytes of its record."""
        return 0 if self.record is None else len(self.record.document)


class Outbox:
    """Belongs to one event loop; in the order in which the runs came."""

    def __init__(self, room: Room, *, flow_of: FlowOf, monotonic: Callable[[], float]) -> None:
        self.room = room
        self.is_waited_for = asyncio.Event()
        """Set while anything waits."""
        self.on_lost: Callable[[], None] = lambda: None
        """Is told of each run that went without a record."""
        self._flow_of = flow_of
        self._monotonic = monotonic
        self._waiting: dict[str, Waiting] = {}
        self._given_up: set[str] = set()
        self._is_closed = False

    def __contains__(self, uid: object) -> bool:
        """Whether this run waits."""
        return self._is_closed or uid in self._waiting

    def __len__(self) -> int:
        """How many runs wait."""
        return len(self._waiting)

    @property
    def given_up(self) -> Container[str]:
        """Those that came when as many waited as may be held back."""
        return self._given_up

    @property
    def is_full(self) -> bool:
        """Whether so many wait that no runs should be made which can be made later."""
        return self.room.is_full

    @property
    def oldest_s(self) -> float | None:
        """Since when the first one waits, on the monotonic clock; None if none does."""
        waiting = list(self._waiting.values())  # metrics are read from another thread, and this takes no turns with it
        return min((each.since_s for each in waiting), default=None)

    def finished(self, run: FinishedRun, obj: Mapping[str, Any] | None) -> None:
        """It has ended; `obj` is the whole of it, if that is at hand."""
        if run.uid in self:
            return
        if self.room.is_full:
            self._given_up.add(run.uid)
        self.room.held += 1
        self._waiting[run.uid] = Waiting(run, self._monotonic(), None)
        if obj is not None and self.room.takes(1):
            self.read(run.uid, obj)
        self.is_waited_for.set()

    def deleted(self, run: FinishedRun) -> None:
        """It is not in the API any more. If its record is in memory it will still be written."""
        waiting = self._waiting.get(run.uid)
        if waiting is not None and waiting.record is None:
            self.gone(run.uid)

    def read(self, uid: str, obj: Mapping[str, Any]) -> None:
        """Its object, of which its record is made. One that cannot be understood is recorded as far as it is."""
        waiting = self._waiting.get(uid)
        if waiting is None or waiting.record is not None:
            return
        run = waiting.run
        flow = self._flow_of(ObjectKey(run.key.namespace, run.deployment)) if run.deployment else None
        try:
            waiting.record = record_of(obj, flow=flow)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            waiting.record = _known_of(run).bare(f"its object cannot be understood: {error!r}")
            log.warning("run_not_understood", namespace=run.key.namespace, name=run.key.name, error=repr(error))
        self.room.keep(waiting.record)

    def add_tail(self, uid: str, text: str) -> None:
        """The end of its log, for its record."""
        waiting = self._waiting.get(uid)
        if waiting is not None and waiting.record is not None:
            bare, waiting.record = waiting.record, waiting.record.with_log_tail(text)
            self.room.keep(waiting.record, instead_of=bare)

    def gone(self, uid: str) -> None:
        """It has left the API, and nothing is left to make a record of."""
        waiting = self._waiting.get(uid)
        if waiting is not None:
            self.on_lost()
            log.warning("run_gone_unrecorded", namespace=waiting.run.key.namespace, name=waiting.run.key.name, uid=uid)
            self._forget(uid)

    def put_off(self, uid: str) -> None:
        """It cannot be read now: others come first."""
        waiting = self._waiting.pop(uid, None)
        if waiting is not None:
            self._waiting[uid] = waiting

    def batch(self, size: int) -> list[Waiting]:
        """The first that wait, at most `size` or BATCH_BYTES; they wait on until it is known that they are recorded."""
        chosen: list[Waiting] = []
        total = 0
        for waiting in islice(self._waiting.values(), size):
            total += waiting.size
            if chosen and total > BATCH_BYTES:
                break
            chosen.append(waiting)
        return chosen

    def recorded(self, uids: Iterable[str]) -> list[FinishedRun]:
        """The store has records of them. Returns those that had waited."""
        found = [waiting.run for uid in uids if (waiting := self._waiting.get(uid)) is not None]
        for run in found:
            self._forget(run.uid)
        return found

    def close(self) -> None:
        """Others look after these runs now. Whoever still asks is told that every run waits, so that none is deleted from here."""
        self._is_closed = True
        for uid in list(self._waiting):
            self._forget(uid)

    def _forget(self, uid: str) -> None:
        waiting = self._waiting.pop(uid)
        self._given_up.discard(uid)
        self.room.leave(waiting.record)
        if not self._waiting:
            self.is_waited_for.clear()


def _known_of(run: FinishedRun) -> Record:
    finished = stamp(run.finished_at)
    document = {
        "uid": run.uid,
        "namespace": run.key.namespace,
        "name": run.key.name,
        "deployment": run.deployment,
        "phase": run.phase,
        "reason": run.reason,
        "finished_at": finished,
    }
    return Record(run.uid, *run.key, is_good=run.phase in GOOD_ENDS, pod=None, document=orjson.dumps(document))

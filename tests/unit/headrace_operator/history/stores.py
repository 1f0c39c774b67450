"""A history store in memory that fails when it is told to, and an API that holds finished runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from prometheus_client import CollectorRegistry

from headrace.history import HistoryStore, HistoryUnavailable, Record
from headrace.history.store import Written
from headrace.kubeapi.errors import ApiError, NotFound
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.history.archive import Archive
from headrace_operator.history.outbox import Outbox, Room
from headrace_operator.history.recorder import Manner, Recorder, Sources
from headrace_operator.observe.history import History
from headrace_operator.observe.parse import run_from
from headrace_operator.telemetry.history import HistoryMetrics
from tests.unit.headrace.history.finished import a_finished_run


@dataclass
class MemoryStore:
    """As HistoryStore; `inserted` counts by uid what a primary key lets in."""

    shown: str = "memory"
    records: dict[str, Record] = field(default_factory=dict)
    is_down: bool = False
    loses_answers: bool = False
    """Whether a batch is kept, and the answer is lost."""
    takes: int = 1000
    """Records of one batch; it breaks down over more."""
    written: list[list[str]] = field(default_factory=list)
    asked: list[list[str]] = field(default_factory=list)

    def write(self, records: Sequence[Record]) -> Written:
        self._fail_if(self.is_down or len(records) > self.takes)
        self.written.append([record.uid for record in records])
        for record in records:
            self.records.setdefault(record.uid, record)
        self._fail_if(self.loses_answers)
        return Written()

    def known(self, uids: Sequence[str]) -> set[str]:
        self._fail_if(self.is_down)
        self.asked.append(list(uids))
        return self.records.keys() & set(uids)

    def close(self) -> None:
        """Nothing is open."""

    def _fail_if(self, condition: bool) -> None:
        if condition:
            raise HistoryUnavailable(self.shown, "no route to host")


class World:
    """One operator after another, as far as it records, with what outlives them: the API and the store."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        max_held: int = 1000,
        max_records: int = 1000,
        max_bytes: int = 1 << 20,
        **manner: Any,
    ) -> None:
        self.store = store
        self.runs: dict[ObjectKey, dict[str, Any]] = {}
        self.logs: dict[tuple[str, str], str] = {}
        self.logs_asked: list[str] = []
        self.reads = 0
        self.is_api_down = False
        self.now_s = 0.0
        self.told: list[FinishedRun] = []
        self.registry = CollectorRegistry()
        self.metrics = HistoryMetrics(self.registry)
        self._bounds = (max_held, max_records, max_bytes)
        self._manner = Manner(**{"batch_delay_s": 0.0, **manner})
        self.archive: Archive
        self.outbox: Outbox
        self.history: History
        self.recorder: Recorder

    def start(self, *, timeout_s: float = 60.0) -> None:
        """An operator that knows nothing yet."""
        self.archive = Archive(cast("HistoryStore", self.store), self.metrics, timeout_s=timeout_s)
        self.outbox = Outbox(Room(*self._bounds), flow_of=lambda _: "etl", monotonic=lambda: self.now_s)
        self.history = History(self.outbox)
        sources = Sources(self._run, self._log)
        self.recorder = Recorder(
            self.outbox, self.archive, sources, self._manner, told=self._note, metrics=self.metrics
        )

    def finish(self, name: str, **status: Any) -> dict[str, Any]:
        """A run ends while the operator looks on."""
        obj = a_finished_run(name, **status)
        self.runs[ObjectKey("team-a", name)] = obj
        self.history.put(run_from(obj), obj)
        return obj

    @property
    def lost(self) -> float | None:
        """Runs that are told to have gone without a record: 0 from the start, so that the first one is an increase."""
        return self.registry.get_sample_value("headrace_history_records_total", {"outcome": "lost"})

    async def list_all(self) -> None:
        """What an operator does at its start with runs that have finished before."""
        known = await self.recorder.known([obj["metadata"]["uid"] for obj in self.runs.values()])
        for obj in self.runs.values():
            self.history.put(run_from(obj), obj, is_recorded=obj["metadata"]["uid"] in known)

    async def _run(self, key: ObjectKey) -> Mapping[str, Any]:
        self.reads += 1
        if self.is_api_down:
            raise ApiError(503, "ServiceUnavailable", "no", request="GET")
        if key not in self.runs:
            raise NotFound(404, "NotFound", "gone", request="GET")
        return self.runs[key]

    async def _log(self, namespace: str, pod: str) -> str:
        self.logs_asked.append(pod)
        if (namespace, pod) not in self.logs:
            raise NotFound(404, "NotFound", "gone", request="GET")
        return self.logs[namespace, pod]

    def _note(self, runs: Iterable[FinishedRun]) -> None:
        self.told += runs


@asynccontextmanager
async def a_world(store: MemoryStore | None = None, **bounds: Any) -> AsyncIterator[World]:
    """With its first operator started."""
    world = World(store or MemoryStore(), **bounds)
    world.start()
    try:
        yield world
    finally:
        await world.archive.close()


async def until(look: Callable[[], bool]) -> None:
    """Lets other tasks and the store's thread go on until it is so."""
    async with asyncio.timeout(10):
        while not look():  # noqa: ASYNC110 - it may look at anything
            await asyncio.sleep(0)

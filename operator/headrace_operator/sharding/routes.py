"""
From one watch a kind to the engines of the shards that are held.

Every replica hears of every object. Those of other shards are dropped while they are bytes still: a look for their namespace costs
a hundredth of reading them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import structlog

from headrace.kubeapi.errors import ApiError
from headrace.slots import LIMIT_LABEL
from headrace_operator.decide.sharding import shard_of
from headrace_operator.engine import Engine
from headrace_operator.kube.resources import CLUSTER_SCOPED, LEASES, Resource
from headrace_operator.observe.parse import object_key
from headrace_operator.observe.rooms import Rooms
from headrace_operator.observe.slots import Slots

log = structlog.get_logger()

MARK: Final = b'"namespace":"'
"""Within a string of JSON the quotation marks would be escaped: this is a field. Of which object, it does not say."""


class Routes:
    """
    Which engine is told of which namespace.

    Args:
        count: How many shards there are.
    """

    def __init__(self, count: int, engines: Iterable[Engine] = ()) -> None:
        self._count = count
        self._engines = {engine.share.index: engine for engine in engines}
        self._verdicts: dict[bytes, bool] = {}
        self._listings = 0
        self._gone: set[str] = set()
        self._listed: dict[int, dict[Resource, int]] = {}

    @contextmanager
    def listing(self) -> Iterator[None]:
        """Lists are read beside the watches: what goes meanwhile is remembered, as a list may be older and name it still."""
        self._listings += 1
        try:
            yield
        finally:
            self._listings -= 1
            if not self._listings:
                self._gone.clear()

    def went(self, obj: dict[str, Any]) -> None:
        """A watch has told that it is gone."""
        if self._listings:
            self._gone.add(obj["metadata"]["uid"])

    def is_gone(self, obj: dict[str, Any]) -> bool:
        """Whether a watch has told that it is gone, while lists were read."""
        return obj["metadata"]["uid"] in self._gone

    def listed(self, engine: Engine, resource: Resource, version: int) -> None:
        """The engine was given a complete list of this version; the watch may be far behind it."""
        if self._engines.get(engine.share.index) is engine:
            self._listed.setdefault(engine.share.index, {})[resource] = version

    def is_news(self, engine: Engine, resource: Resource, obj: dict[str, Any]) -> bool:
        """Whether it is newer than the list that the engine was given: what an old event tells of may have ended since."""
        if engine.share.index not in self._listed:
            return True
        version = self._listed[engine.share.index].get(resource, 0)
        return int(obj["metadata"]["resourceVersion"]) > version

    @property
    def engines(self) -> list[Engine]:
        """All that are told of anything."""
        return list(self._engines.values())

    def add(self, engine: Engine) -> None:
        """Tell it of its share from now on."""
        self._engines[engine.share.index] = engine
        self._verdicts.clear()

    def remove(self, engine: Engine) -> None:
        """Tell it of nothing any more."""
        if self._engines.get(engine.share.index) is engine:
            del self._engines[engine.share.index]
            self._listed.pop(engine.share.index, None)
            self._verdicts.clear()

    def of_shard(self, shard: int) -> Engine | None:
        """Its engine; None where another replica holds it."""
        return self._engines.get(shard)

    def of(self, namespace: str) -> Engine | None:
        """Whose namespace it is; None where another replica looks after it."""
        return self._engines.get(shard_of(namespace, self._count))

    def keep(self, line: bytes) -> bool:
        """
        Whether a line of a watch may tell of an object of ours.

        A line names its object's namespace, and perhaps others (in labels, in references); if one of them is ours, it is read.
        One that names none tells of the watch itself.
        """
        at = line.find(MARK)
        if at < 0:
            return True
        while at >= 0:
            begin = at + len(MARK)
            end = line.find(b'"', begin)
            namespace = line[begin:end]
            verdict = self._verdicts.get(namespace)
            if self._judge(namespace) if verdict is None else verdict:
                return True
            at = line.find(MARK, end)
        return False

    def _judge(self, namespace: bytes) -> bool:
        verdict = self._verdicts[namespace] = self.of(namespace.decode(errors="replace")) is not None
        return verdict


class RoomsFeed:
    """The sink of the stream of pools' Leases: all engines book in them."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def seen(self, obj: dict[str, Any]) -> None:
        """A Lease is there, or has changed."""
        for rooms in self._rooms():
            rooms.seen(obj)

    def gone(self, obj: dict[str, Any]) -> None:
        """A Lease was deleted."""
        for rooms in self._rooms():
            rooms.gone(obj)

    def synced(self, uids: set[str], version: int) -> None:
        """A complete list was read."""
        for rooms in self._rooms():
            rooms.synced(uids, version)

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke; it is taken up again by itself."""
        log.warning("stream_broken", kind="WorkPool's Lease", error=str(error), retry_in_s=round(retry_in_s, 2))

    def _rooms(self) -> list[Rooms]:
        return [engine.intake.gate.rooms for engine in self._routes.engines if engine.intake.gate.rooms is not None]


class SlotsFeed:
    """
    The sink of the stream of limits' Leases: all engines look into one store.

    Args:
        monotonic: Seconds that never go back.
    """

    def __init__(self, slots: Slots, routes: Routes, monotonic: Callable[[], float]) -> None:
        self._slots = slots
        self._routes = routes
        self._monotonic = monotonic

    def seen(self, obj: dict[str, Any]) -> None:
        """A Lease is there, or has changed. One that cannot be read affects itself alone."""
        try:
            self._slots.seen(obj, self._monotonic())
        except (KeyError, TypeError, ValueError, AttributeError):
            log.exception("object_not_understood", kind=LEASES.kind, key=str(object_key(obj)))
        self._tell((obj["metadata"].get("labels") or {}).get(LIMIT_LABEL))

    def gone(self, obj: dict[str, Any]) -> None:
        """A Lease was deleted, or is none of a limit any more."""
        self._slots.gone(object_key(obj), obj["metadata"]["uid"])
        self._tell(None)

    def synced(self, uids: set[str], version: int) -> None:
        """A complete list was read."""
        for record in list(self._slots.held.values()):
            if record.uid not in uids and record.version <= version:
                self._slots.gone(record.key, record.uid)
        self._tell(None)
        for engine in self._routes.engines:
            engine.feeds[LEASES].is_synced.set()

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke; it is taken up again by itself."""
        log.warning("stream_broken", kind=LEASES.kind, error=str(error), retry_in_s=round(retry_in_s, 2))

    def _tell(self, limit: str | None) -> None:
        """An answer to a write of one engine is news to the others when its event comes: they need not look twice."""
        for engine in self._routes.engines:
            engine.intake.gate.slots_told(limit)


class RoutedFeed:
    """
    The sink of one stream: passes on to the engines whose object it is; to all of them what belongs to the cluster.

    Attributes:
        is_for_all: Whether each engine needs each object.
    """

    def __init__(self, resource: Resource, routes: Routes) -> None:
        self.is_for_all = resource in CLUSTER_SCOPED
        self._resource = resource
        self._routes = routes

    def seen(self, obj: dict[str, Any]) -> None:
        """An object was listed, added or modified."""
        for engine in self._of(obj):
            if self._routes.is_news(engine, self._resource, obj):
                engine.feeds[self._resource].seen(obj)

    def gone(self, obj: dict[str, Any]) -> None:
        """An object was deleted, or no longer matches the stream's selector."""
        self._routes.went(obj)
        for engine in self._of(obj):
            engine.feeds[self._resource].gone(obj)

    def synced(self, uids: set[str], version: int) -> None:
        """A complete list was read."""
        for engine in self._routes.engines:
            engine.feeds[self._resource].synced(uids, version)

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream broke; it is taken up again by itself."""
        log.warning("stream_broken", kind=self._resource.kind, error=str(error), retry_in_s=round(retry_in_s, 2))

    def _of(self, obj: dict[str, Any]) -> list[Engine]:
        if self.is_for_all:
            return self._routes.engines
        engine = self._routes.of(obj["metadata"].get("namespace") or "")
        return [] if engine is None else [engine]


class ListedFeed(RoutedFeed):
    """
    The sink of a list that is read for some engines beside the watch.

    Args:
        routes: To these engines.
        watched: To all that the watch tells.
    """

    def __init__(self, resource: Resource, routes: Routes, watched: Routes) -> None:
        super().__init__(resource, routes)
        self._watched = watched

    def seen(self, obj: dict[str, Any]) -> None:
        """An object was listed."""
        if not self._watched.is_gone(obj):
            super().seen(obj)

    def synced(self, uids: set[str], version: int) -> None:
        """The list is complete."""
        super().synced(uids, version)
        for engine in self._routes.engines:
            self._watched.listed(engine, self._resource, version)

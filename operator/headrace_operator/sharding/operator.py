"""
An operator whose replicas share the work.

    a shard is taken ──> its engine is told of all that comes ──> everything is listed, newer wins ──> its keys are worked on
    a shard is given ──> no key is begun any more ──> those under way end ──> no write can take effect any more ──> its engine is
                         dropped ──> its Lease names nobody

Each engine works as an operator without shards does, and knows nothing of the others: what it shares with them is in the API, in this process as
between replicas.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from headrace.api.keys import OPERATOR_LABEL
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import ApiError
from headrace.kubeapi.stream import Sink, Stream
from headrace_operator.decide.shard_load import load_from
from headrace_operator.decide.shard_spread import Give, Take
from headrace_operator.decide.sharding import Share
from headrace_operator.engine import Engine
from headrace_operator.errors import LeadershipLostError
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.fenced import IN_FORCE, Unanswered
from headrace_operator.kube.resources import LEASES
from headrace_operator.observe.tallies import load_told
from headrace_operator.probes import unready
from headrace_operator.settings import Settings
from headrace_operator.sharding.ring import Ring
from headrace_operator.sharding.routes import ListedFeed, RoomsFeed, RoutedFeed, Routes, SlotsFeed
from headrace_operator.wiring import LEADER_LEASE, OUTSIDE, Outside, Watched, Workshop, all_watched

log = structlog.get_logger()

COUNTS_EVERY_S: Final = 5.0
"""Statuses that count over all shards are behind by this much, and each shard writes no oftener."""
CALM_S: Final = 60.0
"""After a shard was given, until another one is for no more than a somewhat uneven load."""
RETRY_S: Final = 0.5
"""After a fault of the API, until Leases are moved or lists are read again."""


class Gauge:
    """
    Reads how much work a shard is.

    Args:
        told: As its former holder told it.
        at_s: When its engine began: a monotonic second.
    """

    def __init__(self, told: float, at_s: float) -> None:
        self._load = load_from(told)
        self._taken = 0
        self._at_s = at_s

    def read(self, taken: int, at_s: float) -> float:
        """What is to be told now, when so many keys were worked on since its engine began."""
        if at_s > self._at_s:
            self._load = self._load.after(taken - self._taken, at_s - self._at_s)
            self._taken, self._at_s = taken, at_s
        return self._load.told


class ShardedOperator:
    """
    One replica: `run` until `rest`, then `close`.

    Args: as a Workshop's.
    """

    def __init__(
        self,
        settings: Settings,
        connection: Connection,
        *,
        registry: CollectorRegistry,
        outside: Outside = OUTSIDE,
        seam: Callable[[Cluster], Cluster] | None = None,
    ) -> None:
        self._shop = Workshop(settings, connection, registry=registry, outside=outside, seam=seam)
        self._count = settings.shards
        path = (settings.operator_namespace, LEADER_LEASE)
        self.ring = Ring(
            self._shop.lease_client, path, settings.identity, count=settings.shards, timing=self._shop.timing
        )
        self._routes = Routes(settings.shards)
        self._taken: list[int] = []
        self._gauges: dict[int, Gauge] = {}
        self._now_s = self._shop.outside.monotonic
        self._calm_at_s = -math.inf
        self._works: dict[int, asyncio.Task[None]] = {}
        self._streams_run = False
        self._predecessor = self._shop.unanswered(self.ring.write_timeout_s)
        self._unanswered: dict[int, Unanswered] = {}
        self._sharing: asyncio.Task[None] | None = None
        self.is_ready = asyncio.Event()
        self.metrics = metrics = self._shop.metrics
        metrics.queue_length.set_function(lambda: sum(len(engine.queue) for engine in self._routes.engines))
        metrics.shards(settings.namespace, settings.shards, lambda: len(self.ring.held))
        self._shop.tell_of(lambda: self._routes.engines)

    async def run(self) -> None:
        """
        Joins the other replicas, then works on the shards that fall to it until it is cancelled.

        Raises: what broke one of its parts; the process must then be started anew.
        """
        await self.ring.join()
        if self.ring.member.succeeds_itself:
            self._predecessor.note()
        async with asyncio.TaskGroup() as group:
            group.create_task(self.ring.keep(), name="leadership")
            group.create_task(self.ring.watch(), name="watch of the shards")
            await self.ring.seen.is_synced.wait()
            self.is_ready.set()
            if self._shop.recording is not None:
                group.create_task(self._shop.recording.keep_clean(), name="old records")
            group.create_task(self._tell_counts(), name="counts")
            self._sharing = group.create_task(self._share(group), name="sharing")

    def unready(self) -> str | None:
        """Why it does not do its part at the moment; None if it does."""
        ring, works = self.ring, self.is_ready.is_set()
        silent_s = min(ring.number.silent_s, ring.member.silent_s)
        return unready(leads=ring.is_alive, works=works, silent_s=silent_s, lease_s=self._shop.settings.leader_lease_s)

    async def rest(self) -> None:
        """What is under way is finished, nothing new is begun, and other replicas may take the shards at once."""
        if self._sharing is not None:
            self._sharing.cancel()
            await asyncio.gather(self._sharing, return_exceptions=True)
        engines = self._routes.engines
        in_time = await asyncio.gather(*(self._drained(engine) for engine in engines))
        if not all(in_time):  # a write may be on its way: others wait for the end of the lease
            return
        for each in [self._predecessor, *self._unanswered.values()]:
            await each.settled()
        given = await asyncio.gather(*(self.ring.give(shard) for shard in list(self.ring.held)), return_exceptions=True)
        for error in given:
            if isinstance(error, BaseException):
                log.warning("shard_not_given_back", error=str(error))
        await self.ring.leave()

    async def close(self) -> None:
        """Closes timers and connections."""
        for engine in self._routes.engines:
            engine.close()
        await self._shop.close()

    async def _share(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                has_moved = await self._move(group)
            except ApiError as error:
                log.warning("shards_not_moved", error=str(error), retry_in_s=RETRY_S)
                await asyncio.sleep(RETRY_S)
                continue
            if not has_moved:
                await self.ring.seen.news(self.ring.next_change_s())

    async def _tell_counts(self) -> None:
        """Each shard's counts go into its Lease when they have changed; the holder of the first adds them up."""
        while True:
            await asyncio.sleep(COUNTS_EVERY_S)
            try:
                for engine in self._routes.engines:
                    if engine.share.index in self._works:
                        load = self._gauges[engine.share.index].read(engine.queue.taken, self._now_s())
                        await self.ring.tell(engine.share.index, engine.tally(load))
            except ApiError as error:
                log.warning("counts_not_told", error=str(error))
            first = self._routes.of_shard(0)
            if first is not None:
                first.hear({shard: counts for shard, counts in self.ring.told().items() if shard})

    async def _move(self, group: asyncio.TaskGroup) -> bool:
        """One step towards an even spread. Returns whether there was one. Raises: ApiError."""
        for shard in self.ring.lost():
            log.warning(
                "shard_lost", shard=shard, next_step="its Lease was edited or deleted; its objects are let go of"
            )
            self.ring.held.discard(shard)  # the fence is closed at once: another one may hold it
            await self._retire(shard)
            return True
        if await self.ring.bury():
            return True
        match self.ring.spread(is_calm=self._now_s() >= self._calm_at_s).step():
            case Take(shard):
                if await self.ring.take(shard):
                    self._taken.append(shard)
                return True
            case Give(shard):
                self._calm_at_s = self._now_s() + CALM_S
                await self._retire(shard)
                await self._give(shard)
                return True
        return await self._settle(group)

    async def _settle(self, group: asyncio.TaskGroup) -> bool:
        """All that falls to this replica is taken: work on it, and tidy up. Returns whether there was anything to do."""
        if self._taken:
            engines = [self._engine(shard) for shard in self._taken]
            self._taken = []
            self._shop.slots.begin_at(min(self.ring.held, default=0) / self._count)
            group.create_task(self._adopt(engines, group), name="adoption")
            return True
        for shard in self.ring.strays():
            await self._give(shard)
            return True
        if 0 in self.ring.held:
            await self.ring.sweep()
        return False

    def _engine(self, shard: int) -> Engine:
        fence = partial(self.ring.fence, shard)
        share = Share(shard, self._count, self.ring.number.term)
        self._unanswered[shard] = self._shop.unanswered(self.ring.write_timeout_s)
        engine = self._shop.engine(fence, self._unanswered[shard], share=share)
        self._gauges[shard] = Gauge(load_told(self.ring.told().get(shard, "")), self._now_s())
        self._routes.add(engine)
        return engine

    async def _adopt(self, engines: list[Engine], group: asyncio.TaskGroup) -> None:
        """They are told of all that comes already; what was there before is listed, and then they begin."""
        if self._streams_run:
            await self._list_for(engines)
        else:
            self._streams_run = True
            await self._start_streams(engines, group)
        batch = [engine for engine in engines if self._has(engine)]
        for engine in batch:
            held = engine.intake.cache
            log.info("shard_begun", shard=engine.share.index, runs=len(held.runs), pods=len(held.pods))
            self._works[engine.share.index] = group.create_task(self._work(engine), name=f"shard {engine.share.index}")
        routes = Routes(self._count, batch)
        await self._shop.read_history(routes.of)
        for engine in batch:
            engine.intake.history_listed()

    async def _start_streams(self, engines: Iterable[Engine], group: asyncio.TaskGroup) -> None:
        """Listed only now: what the shards' former holders did last is in these lists."""
        watched = list(all_watched(self._shop.settings))
        for each in watched:
            stream = self._stream(each)
            group.create_task(stream.run(), name=f"stream of {each.resource.plural}")
        rooms = self._rooms_stream(RoomsFeed(self._routes))
        group.create_task(rooms.run(), name="stream of pools' Leases")
        for engine in engines:
            for each in watched:
                await engine.feeds[each.resource].is_synced.wait()

    def _stream(self, watched: Watched) -> Stream:
        if watched.resource is LEASES:
            return self._shop.stream(watched, self._slots_feed())
        feed = RoutedFeed(watched.resource, self._routes)
        return self._shop.stream(watched, feed, keep=None if feed.is_for_all else self._routes.keep)

    def _slots_feed(self) -> SlotsFeed:
        return SlotsFeed(self._shop.slots, self._routes, self._shop.outside.monotonic)

    async def _list_for(self, engines: Iterable[Engine]) -> None:
        """One list of each collection for all of them. Whether a stream has listed meanwhile says nothing: it may have begun before."""
        routes = Routes(self._count, engines)
        with self._routes.listing():
            for each in all_watched(self._shop.settings):
                is_shared = each.resource is LEASES
                feed = self._slots_feed() if is_shared else ListedFeed(each.resource, routes, self._routes)
                await self._list(Stream(self._shop.client, each.path, each.selectors, feed), feed)
        rooms = RoomsFeed(routes)
        await self._list(self._rooms_stream(rooms), rooms)

    def _rooms_stream(self, sink: Sink) -> Stream:
        path = LEASES.path(self._shop.settings.operator_namespace)
        return Stream(self._shop.lease_client, path, {"labelSelector": f"{OPERATOR_LABEL}=pool"}, sink)

    @staticmethod
    async def _list(stream: Stream, sink: Sink) -> None:
        while True:
            try:
                await stream.read()
            except ApiError as error:  # Gone among them: the list took longer than the API server remembers
                sink.failed(error, RETRY_S)
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def _work(self, engine: Engine) -> None:
        shard = engine.share.index
        IN_FORCE.set(partial(self.ring.fence, shard))
        try:
            async with asyncio.TaskGroup() as group:
                engine.start(group)
        except BaseExceptionGroup as error:
            _, others = error.split(LeadershipLostError)
            if others is not None or not self.ring.is_alive or shard in self.ring.held:
                raise

    async def _retire(self, shard: int) -> None:
        """Returns when nothing is under way for the shard, here or on its way to the API server, and nothing is known of it."""
        engine = self._routes.of_shard(shard)
        if engine is None:  # taken, and not begun
            self._taken = [taken for taken in self._taken if taken != shard]
            return
        await self._drained(engine)
        self.ring.held.discard(shard)  # the fence is closed from here on
        work = self._works.pop(shard, None)
        if work is not None:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        await self._unanswered[shard].settled()
        self._routes.remove(engine)
        self._shop.drop(engine)

    async def _give(self, shard: int) -> None:
        """To whoever wants it; nothing of ours is under way for it. Raises: ApiError."""
        await self._predecessor.settled()
        await self.ring.give(shard)

    async def _drained(self, engine: Engine) -> bool:
        """Whether what was under way has ended, after as long as one write may take."""
        try:
            async with asyncio.timeout(self.ring.write_timeout_s):
                await engine.queue.stop()
        except TimeoutError:
            log.warning("work_not_finished", shard=engine.share.index, in_s=self.ring.write_timeout_s)
            return False
        return True

    def _has(self, engine: Engine) -> bool:
        return self._routes.of_shard(engine.share.index) is engine

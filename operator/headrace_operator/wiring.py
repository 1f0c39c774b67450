"""The one place that builds clients, clock and parts, and hands them out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from prometheus_client import CollectorRegistry

from headrace.api.conditions import Phase
from headrace.api.keys import FLOW_RUN_LABEL
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import ApiError
from headrace.kubeapi.stream import Sink, Stream
from headrace.slots import LIMIT_LABEL
from headrace_operator.decide.sharding import EVERYTHING, Share
from headrace_operator.engine import Engine
from headrace_operator.handlers.context import Clock, Context
from headrace_operator.holdings import Holdings
from headrace_operator.kube.braked import Brake, BrakedCluster
from headrace_operator.kube.cluster import ApiCluster, Cluster
from headrace_operator.kube.echoed import EchoedCluster, Echoes
from headrace_operator.kube.fenced import IN_FORCE, Fence, FencedCluster, Unanswered, check_fence
from headrace_operator.kube.metered import MeteredCluster
from headrace_operator.kube.resources import (
    AUTOMATIONS,
    BACKFILLS,
    CLUSTER_SCOPED,
    CONCURRENCY_LIMITS,
    DEPLOYMENTS,
    EVENTS,
    FLOW_RUNS,
    FLOWS,
    LEASES,
    NAMESPACES,
    NODES,
    PODS,
    WORK_POOLS,
    Resource,
)
from headrace_operator.leadership import Leadership, Timing
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.kubernetes_events import KubernetesEvents
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.slots import Slots
from headrace_operator.observe.workkeys import WorkKey
from headrace_operator.probes import unready
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.telemetry.spans import run_spans
from headrace_operator.workqueue import WorkQueue

if TYPE_CHECKING:
    from headrace_operator.history.recording import Recording

log = structlog.get_logger()

UNFINISHED = ",".join(f"status.phase!={phase}" for phase in Phase if phase.finished)
FINISHED = ",".join(f"status.phase!={phase}" for phase in ("", *(phase for phase in Phase if not phase.finished)))
"""Field selectors; the CRD declares status.phase as selectable, and a run without a status has the phase ""."""
HISTORY_RETRY_S = 5.0
LEADER_LEASE = "headrace-operator"
"""Name of the Lease; an operator that serves one namespace adds its name."""


def utc_now() -> datetime:
    """The machine's clock of the day; nothing else in the operator reads it."""
    return datetime.now(UTC)  # noqa: TID251 - this is the one


def monotonic() -> float:
    """Seconds that never go back, and go on while the process is stopped or, where it can be told, the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic()


class Connect(Protocol):
    """Opens a client; KubeClient is one of these."""

    def __call__(
        self, connection: Connection, *, user_agent: str, check: Callable[[], None] | None = None
    ) -> KubeClient: ...


@dataclass(frozen=True, slots=True)
class Outside:
    """
    What an operator has of the world beside its settings.

    Attributes:
        clock: The time of day, which may jump.
        monotonic: Seconds that never go back.
        connect: How it reaches the API.
    """

    clock: Clock = utc_now
    monotonic: Callable[[], float] = monotonic
    connect: Connect = KubeClient


OUTSIDE = Outside()


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """A collection, and which of its objects are watched."""

    resource: Resource
    path: str
    selectors: Mapping[str, str]


class Workshop:
    """
    What all engines of a process share, and how they are built.

    Args:
        outside: The clocks and the way to the API; those of the machine, unless a simulation gives its own.
        seam: Wraps the Cluster that every write goes through; tests put faults in there.
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
        self.metrics = Metrics(registry)
        self.metrics.spans = run_spans()
        self.settings = settings
        self.outside = outside
        self.timing = Timing(settings.leader_lease_s, outside.clock, outside.monotonic)
        agent = f"headrace-operator/{settings.identity}"
        self.lease_client = outside.connect(connection, user_agent=agent)  # renewals wait for no other request
        self.client = outside.connect(connection, user_agent=agent, check=check_fence)
        self._seam = seam
        self._brake = Brake()
        self._echoes = Echoes()
        self.slots = Slots()
        self.recording = self._records() if settings.history_url else None

    def unanswered(self, timeout_s: float) -> Unanswered:
        """What tells when the writes of an engine can take effect no more; as Unanswered has it."""
        return Unanswered(timeout_s, self.outside.monotonic)

    def engine(self, fence: Fence, unanswered: Unanswered, *, share: Share = EVERYTHING) -> Engine:
        """
        What works on a share, once it is fed.

        Args:
            fence: Raises when no write may be made for this share any more.
            unanswered: Is told of its writes.
        """
        api = ApiCluster(self.client, write_timeout_s=unanswered.timeout_s)
        metered = MeteredCluster(FencedCluster(api, fence, unanswered), self.metrics)
        real: Cluster = BrakedCluster(EchoedCluster(metered, self._echoes), self._brake)
        cluster = self._seam(real) if self._seam else real
        clock, monotonic = self.outside.clock, self.outside.monotonic
        engine = Engine(
            self.settings,
            cluster,
            metrics=self.metrics,
            clock=clock,
            monotonic=monotonic,
            cache=Cache(share, self.slots),
        )
        engine.events = KubernetesEvents(engine.intake.automations, self._events_stream, clock)
        if self.recording is not None:
            engine.recorder = self.recording.recorder(engine.intake, cluster)
        return engine

    def drop(self, engine: Engine) -> None:
        """Its share is another replica's: what only it knew is forgotten."""
        engine.close()
        self._tell_no_more(engine)
        if self.recording is not None and engine.recorder is not None:
            self.recording.drop(engine.recorder)

    def _tell_no_more(self, engine: Engine) -> None:
        cache = engine.intake.cache
        for deployment in cache.deployments:
            self.metrics.circuit(deployment, is_open=None)
            self.metrics.budgets.told(deployment, None, None)
        for backfill in engine.intake.backfills.held:
            self.metrics.backfills.gone(backfill)
        for automation in engine.intake.automations.held:
            self.metrics.automations.gone(automation)
        if engine.share.keeps_cluster:
            for pool in cache.pools:
                self.metrics.pools.gone(pool.name)
            for limit in cache.limits:
                self.metrics.limits.gone(limit.name)

    def tell_of(self, engines: Callable[[], Iterable[Engine]]) -> None:
        """Gauges are over what these hold, whenever they are asked for."""
        keeps_history = bool(self.settings.history_url)
        self.metrics.watch(Holdings(engines), keeps_history=keeps_history, clock=self.outside.clock)

    def stream(self, watched: Watched, sink: Sink, keep: Callable[[bytes], bool] | None = None) -> Stream:
        """
        Feeds the sink from a collection.

        Args:
            keep: Whether a line of the watch is worth reading.
        """
        stream = Stream(self.client, watched.path, watched.selectors, sink, keep=keep)
        self._echoes.tie(watched.resource, stream, label=watched.selectors.get("labelSelector", ""))
        return stream

    def _events_stream(self, namespace: str, event_type: str, sink: Sink) -> Stream:
        return Stream(self.client, EVENTS.path(namespace), {"fieldSelector": f"type={event_type}"}, sink)

    async def read_history(self, engine_of: Callable[[str], Engine | None]) -> None:
        """
        Finished runs, once, a page at a time, while the work goes on: retention and circuit breakers wait for them.

        Args:
            engine_of: Whom to tell of the runs of a namespace; None for nobody.
        """
        path = FLOW_RUNS.path(self.settings.namespace)
        while True:
            try:
                count = 0
                async for page in self.client.pages(path, {"fieldSelector": FINISHED}):
                    count += await _tell_finished(page.get("items") or (), engine_of)
                break
            except ApiError as error:
                log.warning("history_not_read", error=str(error), retry_in_s=HISTORY_RETRY_S)
                await asyncio.sleep(HISTORY_RETRY_S)
        log.info("history_read", runs=count)

    async def close(self) -> None:
        """Closes timers and connections."""
        if self.recording is not None:
            await self.recording.close()
        self._brake.close()
        if self.metrics.spans is not None:
            await asyncio.to_thread(self.metrics.spans.close)
        await self.client.close()
        await self.lease_client.close()

    def _records(self) -> Recording:
        from headrace_operator.history.recording import Recording  # noqa: PLC0415 - nothing of it where no store is set

        clock, monotonic = self.outside.clock, self.outside.monotonic
        return Recording(self.settings, self.client, self.metrics, clock=clock, monotonic=monotonic)


async def _tell_finished(items: Iterable[dict[str, Any]], engine_of: Callable[[str], Engine | None]) -> int:
    """How many runs of a page were told of."""
    told: dict[Engine, list[dict[str, Any]]] = {}
    for item in items:
        engine = engine_of(item["metadata"]["namespace"])
        if engine is not None:
            told.setdefault(engine, []).append(item)
    for engine, runs in told.items():
        recorded = await engine.known_records([run["metadata"]["uid"] for run in runs])
        for run in runs:
            is_recorded = run["metadata"]["uid"] in recorded
            engine.intake.finished_run_listed(run_from(run), run, is_recorded=is_recorded)
    return sum(map(len, told.values()))


class Operator:
    """
    An operator that does all the work while it leads: `run` until `rest`, then `close`.

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
        self.metrics = self._shop.metrics
        path = (settings.operator_namespace, lease_name(settings))
        self.leadership = Leadership(self._shop.lease_client, path, settings.identity, timing=self._shop.timing)
        self._unanswered = self._shop.unanswered(self.leadership.write_timeout_s)
        self.engine = self._shop.engine(self.leadership.fence, self._unanswered)
        self.metrics.queue_length.set_function(lambda: len(self.engine.queue))
        self.metrics.shards(settings.namespace, settings.shards, lambda: int(self.leadership.leads))
        self._shop.tell_of(lambda: [self.engine])
        self.is_ready = asyncio.Event()

    @property
    def queue(self) -> WorkQueue[WorkKey]:
        """What is to be looked at."""
        return self.engine.queue

    @property
    def intake(self) -> Intake:
        """What the operator knows of the cluster, and how news of it come in."""
        return self.engine.intake

    @property
    def context(self) -> Context:
        """What reconciles are given."""
        return self.engine.context

    async def run(self) -> None:
        """
        Stands by until it leads, then works until it is cancelled.

        Raises: what broke one of its parts; the process must then be started anew.
        """
        await self.leadership.acquire()
        if self.leadership.succeeds_itself:
            self._unanswered.note()
        IN_FORCE.set(self.leadership.fence)
        async with asyncio.TaskGroup() as group:
            group.create_task(self.leadership.keep(), name="leadership")
            # Listed only now: what a former leader did last is in these lists.
            feeds = {watched: self.engine.feeds[watched.resource] for watched in all_watched(self._shop.settings)}
            for watched, feed in feeds.items():
                stream = self._shop.stream(watched, feed)
                group.create_task(stream.run(), name=f"stream of {watched.resource.plural}")
            for feed in feeds.values():
                await feed.is_synced.wait()
            log.info("caches_synced", runs=len(self.intake.cache.runs), pods=len(self.intake.cache.pods))
            self.engine.start(group)
            if self._shop.recording is not None:
                group.create_task(self._shop.recording.keep_clean(), name="old records")
            self.is_ready.set()
            await self._shop.read_history(lambda _: self.engine)
            self.intake.history_listed()

    def unready(self) -> str | None:
        """Why it does not do its part at the moment; None if it does."""
        held, works = self.leadership, self.is_ready.is_set()
        return unready(
            leads=held.leads, works=works, silent_s=held.silent_s, lease_s=self._shop.settings.leader_lease_s
        )

    async def rest(self) -> None:
        """What is under way is finished, nothing new is begun, and another replica may lead at once."""
        try:
            async with asyncio.timeout(self.leadership.write_timeout_s):
                await self.queue.stop()
        except TimeoutError:  # a write may be on its way still: the next leader waits until the lease is over
            log.warning("work_not_finished", in_s=self.leadership.write_timeout_s)
            return
        await self._unanswered.settled()
        await self.leadership.release()

    async def close(self) -> None:
        """Closes timers and connections."""
        self.engine.close()
        await self._shop.close()


def lease_name(settings: Settings) -> str:
    """Of the leader's Lease; an operator that serves one namespace has one of its own."""
    return LEADER_LEASE + (f".{settings.namespace}" if settings.namespace else "")


def all_watched(settings: Settings) -> Iterator[Watched]:
    """The collections that an operator watches, one stream each."""
    served = settings.namespace
    selectors: Mapping[Resource, Mapping[str, str]] = {
        FLOWS: {},
        DEPLOYMENTS: {},
        BACKFILLS: {},
        AUTOMATIONS: {},
        FLOW_RUNS: {"fieldSelector": UNFINISHED},
        PODS: {"labelSelector": FLOW_RUN_LABEL},
        CONCURRENCY_LIMITS: {},
        LEASES: {"labelSelector": LIMIT_LABEL},
        WORK_POOLS: {},
        NODES: {},
        NAMESPACES: {"fieldSelector": f"metadata.name={served}"} if served else {},
    }
    ignored = CLUSTER_SCOPED if settings.cluster_objects == "ignore" else frozenset[Resource]()
    for resource, chosen in selectors.items():
        if resource in ignored:
            continue
        namespace = "" if resource in CLUSTER_SCOPED else served
        if resource is LEASES:
            namespace = settings.operator_namespace
        yield Watched(resource, resource.path(namespace), chosen)

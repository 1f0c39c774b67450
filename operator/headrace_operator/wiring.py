"""The one place that builds clients, clock and parts, and hands them out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog
from prometheus_client import CollectorRegistry

from headrace.api.conditions import Phase
from headrace.api.keys import FLOW_RUN_LABEL
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import Connection
from headrace.kubeapi.errors import ApiError
from headrace.kubeapi.stream import Stream
from headrace.slots import LIMIT_LABEL
from headrace_operator.engine import Engine
from headrace_operator.handlers.context import Clock, Context
from headrace_operator.kube.braked import Brake, BrakedCluster
from headrace_operator.kube.cluster import ApiCluster, Cluster
from headrace_operator.kube.echoed import EchoedCluster, Echoes
from headrace_operator.kube.fenced import FencedCluster
from headrace_operator.kube.metered import MeteredCluster
from headrace_operator.kube.resources import (
    CLUSTER_SCOPED,
    CONCURRENCY_LIMITS,
    DEPLOYMENTS,
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
from headrace_operator.observe.feeds import Feed
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.workkeys import WorkKey
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics
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
    """The machine's clock; nothing else in the operator reads one."""
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


class Operator:
    """
    The operator's parts, and their life: `start`, then `failed` if a part breaks, `stop`.

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
        self._settings = settings
        agent = f"headrace-operator/{settings.identity}"
        self._lease_client = outside.connect(connection, user_agent=agent)  # renewals wait for no other request
        self.leadership = self._leadership(outside)
        self._client = outside.connect(connection, user_agent=agent, check=self.leadership.fence)
        api = ApiCluster(self._client, write_timeout_s=self.leadership.write_timeout_s)
        metered = MeteredCluster(FencedCluster(api, self.leadership.fence), self.metrics)
        self._brake = Brake()
        self._echoes = Echoes()
        real: Cluster = BrakedCluster(EchoedCluster(metered, self._echoes), self._brake)
        cluster = seam(real) if seam else real
        self.engine = Engine(settings, cluster, metrics=self.metrics, clock=outside.clock, monotonic=outside.monotonic)
        self._recording = self._records(outside) if settings.history_url else None
        if self._recording is not None:
            self.engine.recorder = self._recording.recorder(self.intake, cluster)
        self.metrics.queue_length.set_function(lambda: len(self.engine.queue))
        self.is_ready = asyncio.Event()

    @property
    def queue(self) -> WorkQueue[WorkKey]:
        """What is to be looked at."""
        return self.engine.queue

    @property
    def intake(self) -> Intake:
        """What is known."""
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
        async with asyncio.TaskGroup() as group:
            group.create_task(self.leadership.keep(), name="leadership")
            # Listed only now: what a former leader did last is in these lists.
            feeds = [self._feed(resource, **selectors) for resource, selectors in self._streams()]
            for feed, stream in feeds:
                group.create_task(stream.run(), name=f"stream of {feed}")
            for feed, _ in feeds:
                await feed.is_synced.wait()
            log.info("caches_synced", runs=len(self.intake.cache.runs), pods=len(self.intake.cache.pods))
            self.engine.start(group)
            if self._recording is not None:
                group.create_task(self._recording.keep_clean(), name="old records")
            self.is_ready.set()
            await self._read_history()

    async def rest(self) -> None:
        """What is under way is finished, nothing new is begun, and another replica may lead at once."""
        try:
            async with asyncio.timeout(self.leadership.write_timeout_s):
                await self.queue.stop()
        except TimeoutError:  # a write may be on its way still: the next leader waits until the lease is over
            log.warning("work_not_finished", in_s=self.leadership.write_timeout_s)
            return
        await self.leadership.release()

    async def close(self) -> None:
        """Closes timers and connections."""
        self.queue.close()
        if self._recording is not None:
            await self._recording.close()
        self._brake.close()
        await self._client.close()
        await self._lease_client.close()

    def _records(self, outside: Outside) -> Recording:
        from headrace_operator.history.recording import Recording  # noqa: PLC0415 - nothing of it where no store is set

        return Recording(self._settings, self._client, self.metrics, clock=outside.clock, monotonic=outside.monotonic)

    def _leadership(self, outside: Outside) -> Leadership:
        settings = self._settings
        served = f".{settings.namespace}" if settings.namespace else ""
        return Leadership(
            self._lease_client,
            (settings.operator_namespace, LEADER_LEASE + served),
            settings.identity,
            timing=Timing(settings.leader_lease_s, outside.clock, outside.monotonic),
        )

    def _streams(self) -> Iterator[tuple[Resource, Mapping[str, str]]]:
        yield FLOWS, {}
        yield DEPLOYMENTS, {}
        yield FLOW_RUNS, {"fieldSelector": UNFINISHED}
        yield PODS, {"labelSelector": FLOW_RUN_LABEL}
        yield CONCURRENCY_LIMITS, {}
        yield LEASES, {"labelSelector": LIMIT_LABEL}
        yield WORK_POOLS, {}
        yield NODES, {}
        served = self._settings.namespace
        yield NAMESPACES, {"fieldSelector": f"metadata.name={served}"} if served else {}

    def _feed(self, resource: Resource, **selectors: str) -> tuple[Feed, Stream]:
        feed = Feed(resource.kind, self.intake.doors[resource])
        namespace = "" if resource in CLUSTER_SCOPED else self._settings.namespace
        if resource is LEASES:
            namespace = self._settings.operator_namespace
        stream = Stream(self._client, resource.path(namespace), selectors, feed)
        self._echoes.tie(resource, stream, label=selectors.get("labelSelector", ""))
        return feed, stream

    async def _read_history(self) -> None:
        """Finished runs, once, a page at a time, while the work goes on: retention and circuit breakers wait for them."""
        path = FLOW_RUNS.path(self._settings.namespace)
        count = 0
        while True:
            try:
                async for page in self._client.pages(path, {"fieldSelector": FINISHED}):
                    items = page.get("items") or ()
                    recorded = await self.engine.known_records([item["metadata"]["uid"] for item in items])
                    for item in items:
                        is_recorded = item["metadata"]["uid"] in recorded
                        self.intake.finished_run_listed(run_from(item), item, is_recorded=is_recorded)
                    count += len(items)
                break
            except ApiError as error:
                log.warning("history_not_read", error=str(error), retry_in_s=HISTORY_RETRY_S)
                await asyncio.sleep(HISTORY_RETRY_S)
        log.info("history_read", runs=count)
        self.intake.history_listed()

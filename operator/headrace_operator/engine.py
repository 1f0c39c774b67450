"""What works on one share of the namespaces: what is known of them, what is to be done, and who does it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from headrace_operator.apply.flow_run import RunApplier
from headrace_operator.apply.queries import Queries
from headrace_operator.apply.webhooks import Webhooks
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.context import Clock, Context
from headrace_operator.handlers.worker import work
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import Resource
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.feeds import Feed
from headrace_operator.observe.flow_run import RunObserver
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.kubernetes_events import KubernetesEvents
from headrace_operator.observe.revisions import Revisions
from headrace_operator.observe.tallies import tally
from headrace_operator.observe.workkeys import Kind, WorkKey, line_of
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.workqueue import WorkQueue

if TYPE_CHECKING:
    from headrace_operator.history.recorder import Recorder


class Engine:
    """
    Knows nothing of other engines, be they of this process or of another one: what they share is in the API.

    Args:
        cluster: Every write goes through it; it refuses those that may not be made any more.
        monotonic: Seconds that never go back.
        cache: Empty; its share is whose objects it is fed with.
    """

    def __init__(
        self,
        settings: Settings,
        cluster: Cluster,
        *,
        metrics: Metrics,
        clock: Clock,
        monotonic: Callable[[], float],
        cache: Cache,
    ) -> None:
        self.share = share = cache.share
        self.queue: WorkQueue[WorkKey] = WorkQueue(line_of)
        self.intake = Intake(
            cache,
            History(),
            self.queue,
            status_delay_s=settings.status_delay_s,
            autosize_delay_s=settings.autosize_delay_s,
            monotonic=monotonic,
        )
        self.feeds: Mapping[Resource, Feed] = {
            resource: Feed(resource.kind, door) for resource, door in self.intake.doors.items()
        }
        gate = self.intake.gate
        revisions = Revisions(cluster)
        self._settings = settings
        self.recorder: Recorder | None = None
        """None: there is no history store."""
        self.events: KubernetesEvents | None = None
        """None: nobody watches Events of Kubernetes for it."""
        self.context = Context(
            settings=settings,
            cluster=cluster,
            clock=clock,
            monotonic=monotonic,
            intake=self.intake,
            revisions=revisions,
            runs=RunObserver(
                cluster,
                self.intake,
                revisions,
                start_deadline_s=settings.start_deadline_s,
                slots_namespace=settings.operator_namespace,
            ),
            applier=RunApplier(cluster, self.intake, gate, default_image=settings.default_image, clock=clock),
            metrics=metrics,
            webhooks=Webhooks(cluster, clock, settings.webhook_targets, self.intake.automations.wake),
            queries=Queries(
                cluster, clock, monotonic=monotonic, hosts=settings.webhook_targets, done=self._query_ended
            ),
            share=share,
        )

    def start(self, group: asyncio.TaskGroup) -> None:
        """What it was fed with is complete: have all of it looked at, and go on."""
        self.intake.gate.slots_told(None)
        self.intake.wake_everything()
        if self.recorder is not None:
            group.create_task(self.recorder.run(), name="recorder")
        if self.events is not None:
            group.create_task(self.events.run(), name="Events of Kubernetes")
        for number in range(self._settings.workers):
            group.create_task(work(self.queue, self.context), name=f"worker {number}")

    def _query_ended(self, automation: ObjectKey, is_answered: bool) -> None:  # noqa: FBT001 - an outcome, not a choice
        self.context.metrics.automations.asked(automation, is_answered=is_answered)
        self.intake.automations.wake(automation)

    def tally(self, load: float) -> str:
        """What it counts of pools and limits, for the first shard, which adds them up itself; and how much work it is, for all replicas."""
        cache, is_first = self.intake.cache, self.share.keeps_cluster
        pools, limits = (
            ([], []) if is_first else ([key.name for key in cache.pools], [key.name for key in cache.limits])
        )
        return tally(self.context.board, pools, limits, load=load)

    def hear(self, counts: Mapping[int, str]) -> None:
        """What the other shards count: statuses that tell of all follow."""
        news = [shard for shard, text in counts.items() if self.context.tallies.tell(shard, text)]
        if news:
            for pool in self.intake.cache.pools:
                self.queue.add(WorkKey(Kind.POOL, pool))
            for limit in self.intake.cache.limits:
                self.queue.add(WorkKey(Kind.LIMIT, limit))

    def close(self) -> None:
        """Drops every timer; nobody waits any more for what it is to be told."""
        self.queue.close()
        self.intake.gate.close()
        self.context.webhooks.close()
        self.context.queries.close()
        for feed in self.feeds.values():
            feed.is_synced.set()

    async def known_records(self, uids: list[str]) -> set[str]:
        """Those of these runs that the history store has records of; none where it does not answer."""
        return await self.recorder.known(uids) if self.recorder is not None else set()

"""What is recorded in this process: one store, and an outbox for each share of the namespaces that is worked on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from headrace.api.keys import FLOW_CONTAINER
from headrace.history import open_history
from headrace.kubeapi.client import KubeClient
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.history.archive import Archive
from headrace_operator.history.outbox import Outbox, Room
from headrace_operator.history.recorder import Manner, Recorder, Sources
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import FLOW_RUNS, PODS
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.intake import Intake
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics

log = structlog.get_logger()

MAX_RECORDS = 5_000
"""In memory: more wait only while the store cannot be used."""
LOG_BYTES = 1 << 20
"""That are read of the last lines of a log."""
LOG_CHARACTERS = 1 << 16
"""That are kept of them, the last ones."""
LOG_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 5.0


class Recording:
    """
    Belongs to one event loop.

    Args:
        client: Reads logs of pods.
        monotonic: Seconds that never go back.
    Raises: UsageError: the URL in the settings names no store, or its driver is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        client: KubeClient,
        metrics: Metrics,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._client = client
        self._metrics = metrics
        self._clock = clock
        self._monotonic = monotonic
        self._outboxes: list[Outbox] = []
        self._room = Room(settings.history_max_held, MAX_RECORDS)
        self._archive = Archive(open_history(settings.history_url), metrics.history)
        metrics.history.watch(
            lambda: self._room.held,
            lambda: [each.oldest_s for each in self._outboxes if each.oldest_s is not None],
            monotonic,
            lambda: self._room.is_full,
        )
        log.info("history_store_set", store=self._archive.shown)

    def recorder(self, intake: Intake, cluster: Cluster) -> Recorder:
        """One for all that comes in there from now on; it waits to be run."""
        cache = intake.cache
        outbox = Outbox(self._room, flow_of=lambda deployment: _flow_of(cache, deployment), monotonic=self._monotonic)
        self._outboxes.append(outbox)
        self._room.listeners.append(intake.backfills.wake_all)
        intake.history.unrecorded = outbox

        async def run(key: ObjectKey) -> Mapping[str, Any]:
            return await cluster.get(FLOW_RUNS, key.namespace, key.name)

        settings = self._settings
        manner = Manner(settings.history_batch_size, settings.history_batch_delay_s, settings.history_log_tail)
        return Recorder(
            outbox,
            self._archive,
            Sources(run, self._log),
            manner,
            told=intake.runs_recorded,
            metrics=self._metrics.history,
        )

    def drop(self, recorder: Recorder) -> None:
        """What it recorded is another replica's from now on."""
        at = self._outboxes.index(recorder.outbox)
        del self._outboxes[at], self._room.listeners[at]
        recorder.close()

    async def keep_clean(self) -> None:
        """Deletes records that are older than the settings say, for ever."""
        await self._archive.keep_clean(self._settings.history_retention_days, self._clock)

    async def close(self) -> None:
        """Nothing is recorded any more; a batch that is under way is waited for, within bounds."""
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._archive.close()
        except TimeoutError:
            log.warning("history_not_closed", in_s=CLOSE_TIMEOUT_S)

    async def _log(self, namespace: str, pod: str) -> str:
        """As promised by Sources."""
        lines = str(self._settings.history_log_lines)
        params = {"container": FLOW_CONTAINER, "tailLines": lines, "limitBytes": str(LOG_BYTES)}
        async with asyncio.timeout(LOG_TIMEOUT_S):
            text = await self._client.text(PODS.path(namespace, pod, "log"), params)
        self._metrics.api_requests.labels("get", "pods/log", "ok").inc()
        return text[-LOG_CHARACTERS:]


def _flow_of(cache: Cache, deployment: ObjectKey) -> str | None:
    record = cache.deployments.get(deployment)
    return record.spec.flow_ref.name if record is not None and record.spec is not None else None

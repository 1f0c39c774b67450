"""
What becomes of a request.

    who sent it? ──> what does it tell? ──> is it news? ──> claimed in the Automation's status ──> 202
                                                 └── no: 202, and nothing is written

The sender is told 202 when the claim is in the API, and not before: what it sends again after any other answer is the same request. The
one that leads, or holds the namespace's shard, sees the claim and acts on it.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from headrace.api.automation import AutomationStatus
from headrace.kubeapi.errors import ApiError, Conflict
from headrace_operator.decide.automation.judging import Judgement, Outcome, judged
from headrace_operator.decide.automation.occurrences import Occurrence
from headrace_operator.decide.automation.payloads import InvalidPayload, occurrences_of
from headrace_operator.decide.automation.progress import with_counts, with_judgement
from headrace_operator.decide.automation.signatures import problem_of, request_id
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.inbound.buckets import Buckets
from headrace_operator.inbound.lookup import Found, Lookup, TooManyReads
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import AUTOMATIONS
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.automations import AutomationRecord
from headrace_operator.telemetry.automations import AutomationMetrics

log = structlog.get_logger()

TRIES: Final = 10
"""Of a claim: each lost race was won by another one, which may have claimed the very same."""
COUNTED_EVERY_S: Final = 30.0
PER_S: Final = 100.0
AT_ONCE: Final = 300.0
"""Requests to one Automation that this replica looks at."""
ONE_BYTES: Final = 16 * 1024
"""What a large one has beyond that counts as further requests: reading it takes as long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What the sender is told.

    Attributes:
        retry_after_s: When to send it again; None: not at all.
    """

    status: int
    told: Mapping[str, object] = field(default_factory=dict)
    retry_after_s: int | None = None


UNKNOWN: Final = Answer(401, {"error": "no Automation of this name takes this request, or its signature is wrong"})
LATER: Final = Answer(503, {"error": "it cannot be taken just now; send it again"}, retry_after_s=5)
# 503 rather than 429, after which Alertmanager does not try again at once.
SLOWER: Final = Answer(503, {"error": "too many requests; send it again"}, retry_after_s=2)


class Receiver:
    """
    Belongs to one event loop.

    Args:
        cluster: The API; writes need no lead, as each rests on the version that it was judged by.
        clock: Aware UTC; monotonic: seconds that never go back.
    """

    def __init__(
        self,
        cluster: Cluster,
        metrics: AutomationMetrics,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._metrics = metrics
        self._clock = clock
        self._lookup = Lookup(cluster, monotonic)
        self._rates = Buckets(PER_S, AT_ONCE, monotonic)
        self._locks: defaultdict[ObjectKey, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._counts: defaultdict[ObjectKey, Counter[Outcome]] = defaultdict(Counter)
        self._flushing: dict[ObjectKey, asyncio.Task[None]] = {}

    async def receive(self, key: ObjectKey, headers: Mapping[str, str], body: bytes) -> Answer:
        """
        What its sender is told.

        Args:
            headers: Names in lower case.
        """
        try:
            found = await self._lookup.find(key)
            return await self._from_sender(key, found, headers, body)
        except TooManyReads:
            return SLOWER
        except ApiError as error:
            log.warning("inbound_not_claimed", namespace=key.namespace, automation=key.name, error=str(error))
            return LATER

    async def _from_sender(self, key: ObjectKey, found: Found, headers: Mapping[str, str], body: bytes) -> Answer:
        record = found.record
        hook = record.rules.spec.trigger.webhook if record is not None and record.rules is not None else None
        if record is None or hook is None:
            return UNKNOWN
        if found.secret is None:
            return LATER
        now = self._clock()
        problem = problem_of(hook.scheme, headers, body, secret=found.secret, now=now)
        if problem is not None:
            log.info("inbound_refused", namespace=key.namespace, automation=key.name, problem=problem)
            return UNKNOWN
        if not self._rates.takes(key, max(1.0, len(body) / ONE_BYTES)):
            return SLOWER
        name = request_id(hook.scheme, headers, body) or uuid.uuid4().hex
        try:
            occurrences = occurrences_of(hook.content, headers, body, request_id=name, now=now)
        except InvalidPayload as error:
            return Answer(400, {"error": str(error)})
        return await self._claimed(key, record, occurrences)

    async def _claimed(self, key: ObjectKey, record: AutomationRecord, occurrences: Sequence[Occurrence]) -> Answer:
        """Raises: ApiError: it is not known whether it is claimed."""
        judgement = self._judged(record, occurrences)
        if judgement.fresh:
            async with self._locks[key]:  # of this process: one in a flood is enough
                judgement = await self._claim(key, occurrences)
        outcomes = judgement.outcomes
        self._metrics.judged(key, outcomes)
        if not judgement.fresh:
            self._count(key, outcomes)
        if outcomes[Outcome.DEFERRED]:
            return LATER
        return Answer(202, {outcome.value: count for outcome, count in outcomes.items()})

    async def _claim(self, key: ObjectKey, occurrences: Sequence[Occurrence]) -> Judgement:
        found = await self._lookup.find(key)
        for _ in range(TRIES):
            record = found.record
            if record is None:  # deleted meanwhile
                return Judgement((), Counter({Outcome.FILTERED: len(occurrences)}))
            judgement = self._judged(record, occurrences)
            if not judgement.fresh:
                return judgement
            status = with_judgement(record.status, judgement)
            try:
                await self._write_counted(key, record, status, judgement.outcomes)
            except Conflict:
                found = await self._lookup.afresh(key)
                continue
            log.info("inbound_claimed", namespace=key.namespace, automation=key.name, firings=len(judgement.fresh))
            return judgement
        raise Conflict(409, "Conflict", "others were quicker each time")

    def _judged(self, record: AutomationRecord, occurrences: Sequence[Occurrence]) -> Judgement:
        if record.rules is None:
            return Judgement(record.status.firings)
        return judged(record.rules, record.status, occurrences, uid=record.uid, now=self._clock())

    async def _write_counted(
        self, key: ObjectKey, record: AutomationRecord, status: AutomationStatus, outcomes: Counter[Outcome]
    ) -> None:
        """The status with these outcomes, and those that are in none yet. Raises: ApiError: it may not be written."""
        counts = self._counts.pop(key, Counter())  # while it is written, others are counted
        try:
            await self._write(key, record, with_counts(status, counts + outcomes))
        except ApiError:
            self._counts[key].update(counts)
            raise

    async def _write(self, key: ObjectKey, record: AutomationRecord, status: AutomationStatus) -> None:
        told = status.model_dump(mode="json", by_alias=True, exclude_none=True)
        patch = status_changes(record.stored, told, resource_version=record.version)
        if patch is not None:
            stored = await self._cluster.patch(AUTOMATIONS, *key, patch, subresource="status")
            self._lookup.seen(key, stored)

    def _count(self, key: ObjectKey, outcomes: Counter[Outcome]) -> None:
        """Told in the status with the next claim, or in a while."""
        counts = self._counts[key]
        counts.update(outcomes)
        if key not in self._flushing and with_counts(AutomationStatus(), counts) != AutomationStatus():
            task = asyncio.get_running_loop().create_task(self._flush(key), name=f"counts of {key}")
            self._flushing[key] = task
            task.add_done_callback(lambda _: self._flushing.pop(key, None))

    async def _flush(self, key: ObjectKey) -> None:
        while key in self._counts:
            await asyncio.sleep(COUNTED_EVERY_S)
            try:
                async with self._locks[key]:
                    record = (await self._lookup.afresh(key)).record
                    if record is None:
                        self._counts.pop(key, None)
                    else:
                        await self._write_counted(key, record, record.status, Counter())
            except ApiError as error:  # the next time, or the next claim, takes them along
                log.info("inbound_counts_kept", namespace=key.namespace, automation=key.name, error=str(error))

    def close(self) -> None:
        """Counts that no status tells yet are lost; the metrics had them."""
        for task in list(self._flushing.values()):
            task.cancel()

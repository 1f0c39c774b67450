"""What requests for Automations cost, and what is counted of them."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from headrace.kubeapi.errors import Conflict
from headrace_operator.decide.automation.judging import Outcome
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.inbound.lookup import MAX_HELD, READS_AT_ONCE, Lookup, TooManyReads
from headrace_operator.inbound.receiver import AT_ONCE, ONE_BYTES, Answer, Receiver
from headrace_operator.kube.resources import AUTOMATIONS, SECRETS, Resource
from headrace_operator.telemetry.automations import AutomationMetrics
from tests.builders import NAMESPACE, NOW
from tests.fake_cluster import FakeCluster

KEY = ObjectKey(NAMESPACE, "auto")
SPEC = {
    "trigger": {"webhook": {"secretRef": {"name": "sender", "key": "key"}, "scheme": "Bearer", "content": "JSON"}},
    "groupBy": ["event.body.group"],
    "actions": [{"name": "look", "event": {"message": "x"}}],
}


class SlowCluster(FakeCluster):
    """One that answers when everybody has asked."""

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        found = await super().get(resource, namespace, name)
        for _ in range(5):
            await asyncio.sleep(0)
        return found


class Desk:
    """A replica's receiver and what it stores."""

    def __init__(self) -> None:
        self.cluster = SlowCluster()
        self.cluster.put(AUTOMATIONS, {"metadata": {"name": "auto", "namespace": NAMESPACE}, "spec": SPEC})
        data = {"key": base64.b64encode(b"secret").decode()}
        self.cluster.put(SECRETS, {"metadata": {"name": "sender", "namespace": NAMESPACE}, "data": data})
        self.seconds = 0.0
        self.receiver = Receiver(
            self.cluster, AutomationMetrics(CollectorRegistry()), clock=lambda: NOW, monotonic=lambda: self.seconds
        )

    async def takes(self, group: str = "a", filling: int = 0, secret: str = "secret") -> Answer:
        body = json.dumps({"group": group, "filling": "x" * filling}).encode()
        return await self.receiver.receive(KEY, {"authorization": f"Bearer {secret}"}, body)

    def counts(self) -> Mapping[str, int]:
        found = self.cluster.find(AUTOMATIONS, NAMESPACE, "auto")
        assert found is not None
        counts: Mapping[str, int] = found["status"]["counts"]
        return counts


async def test_a_flood_reads_once_writes_once_and_is_counted():
    """Whatever comes in while the first one is looked up and written."""
    desk = Desk()
    answers = await asyncio.gather(*(desk.takes() for _ in range(100)))
    assert {answer.status for answer in answers} == {202}
    assert desk.cluster.asked("get") == ["auto", "sender"]
    assert desk.cluster.asked("patch") == ["auto"]
    desk.receiver.close()


async def test_what_is_counted_while_another_claim_is_written_is_not_lost():
    """It is told with the next one."""
    desk = Desk()
    await desk.takes("a")
    await asyncio.gather(desk.takes("b"), *(desk.takes("a") for _ in range(20)))
    await desk.takes("c")
    assert desk.counts() == {
        "matched": 23,
        "fired": 3,
        "deduplicated": 20,
        "suppressed": 0,
        "throttled": 0,
        "failed": 0,
    }
    desk.receiver.close()


async def test_a_claim_that_meets_another_one_counts_what_it_has_counted():
    """A conflict costs nothing but another read."""
    desk = Desk()
    await desk.takes("a")
    await desk.takes("a")
    desk.cluster.fail_next("patch", AUTOMATIONS, Conflict(409, "Conflict", "changed"))
    assert (await desk.takes("b")).told == {Outcome.FIRED.value: 1}
    assert desk.counts()["deduplicated"] == 1
    desk.receiver.close()


async def test_large_requests_count_as_several():
    """Reading them takes as long."""
    desk = Desk()
    several = 10
    answers = [await desk.takes(filling=several * ONE_BYTES) for _ in range(int(AT_ONCE / several) + 1)]
    assert [answer.status for answer in answers].count(503) == 2
    desk.receiver.close()


async def test_whoever_guesses_names_takes_nothing_from_known_ones():
    """Neither their place nor their reads."""
    desk = Desk()
    lookup = Lookup(desk.cluster, lambda: desk.seconds)
    await lookup.find(KEY)
    for number in range(2 * MAX_HELD):
        desk.seconds += 0.05
        await lookup.find(ObjectKey(NAMESPACE, f"guess-{number}"))
    with pytest.raises(TooManyReads):
        await asyncio.gather(*(lookup.find(ObjectKey(NAMESPACE, f"more-{at}")) for at in range(int(READS_AT_ONCE) + 1)))
    assert (await lookup.find(KEY)).record is not None

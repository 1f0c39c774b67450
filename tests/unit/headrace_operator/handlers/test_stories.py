"""Stories of runs that share limits and pools, from end to end against a cluster in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace import slots
from headrace_operator.kube.resources import (
    CONCURRENCY_LIMITS,
    DEPLOYMENTS,
    FLOW_RUNS,
    FLOWS,
    LEASES,
    PODS,
    WORK_POOLS,
    Resource,
)
from tests.builders import NAMESPACE, NOW, ended, running
from tests.unit.headrace_operator.handlers.test_worker import INLINE
from tests.unit.headrace_operator.handlers.test_worker import Operator as Worker

EVERYTHING = (CONCURRENCY_LIMITS, WORK_POOLS, FLOWS, DEPLOYMENTS, FLOW_RUNS, PODS, LEASES)


class Operator(Worker):
    """Streams that bring everything whenever nothing else is to be done."""

    def everywhere(self, resource: Resource, name: str, **spec: Any) -> None:
        """A cluster-scoped object, applied and heard of."""
        self.cluster.put(resource, {"metadata": {"name": name}, "spec": spec, "status": {}})
        self.hear(resource)

    def hear(self, *resources: Resource) -> None:
        """The streams bring what there is, and tell what is gone."""
        for resource in resources or EVERYTHING:
            door = self.intake.doors[resource]
            there = {obj["metadata"]["uid"] for obj in self.cluster.all(resource)}
            for record in list(door.held.values()):
                if record.uid not in there:
                    door.gone(record.key, record.uid)
            for obj in self.cluster.all(resource):
                door.seen(obj)

    async def goes_on(self, seconds: float = 0) -> None:
        """`seconds` later, with all that was put off done, as often as anything could still come of it."""
        self.now += timedelta(seconds=seconds)
        for _ in range(6):
            self.hear()
            await self.what_is_delayed()

    def runs(self, *names: str, **spec: Any) -> None:
        for age, name in enumerate(names):
            due = (NOW + timedelta(seconds=age)).strftime("%Y-%m-%dT%H:%M:%SZ")
            self.apply(FLOW_RUNS, name, {"flowRef": {"name": "etl"}, "scheduledTime": due, **spec})

    async def change(self, name: str, **spec: Any) -> None:
        await self.cluster.patch(FLOW_RUNS, NAMESPACE, name, {"spec": spec})
        self.hear(FLOW_RUNS)

    def holders(self) -> dict[str, str]:
        return {obj["metadata"]["name"]: slots.holder_of(obj).rpartition("/")[0] for obj in self.cluster.all(LEASES)}

    def reason(self, name: str) -> str | None:
        reason: str | None = self.status(name=name).get("reason")
        return reason


@pytest.fixture
async def operator() -> Any:
    made = Operator()
    yield made
    made.queue.close()


async def flow(operator: Operator, name: str = "etl", **spec: Any) -> None:
    operator.apply(FLOWS, name, {**INLINE, **spec})
    await operator.goes_on()


async def test_who_stands_behind_a_run_that_is_suspended_goes_on(operator: Operator) -> None:
    """A run that needs all slots keeps others waiting only while it waits itself."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=2)
    await flow(operator, "small", limits=[{"name": "db"}])
    await flow(operator, "large", limits=[{"name": "db", "slots": 2}])
    operator.runs("a", flowRef={"name": "small"})
    await operator.rests()
    operator.runs("b", flowRef={"name": "large"})
    await operator.rests()
    operator.runs("c", flowRef={"name": "small"}, scheduledTime="2026-03-05T00:00:00Z")
    await operator.goes_on()
    assert operator.pods() == ["a-1"]
    await operator.change("b", suspend=True)
    await operator.rests()
    assert operator.reason("b") == "Suspended"
    assert operator.pods() == ["a-1", "c-1"]


async def test_a_run_that_was_outranked_is_not_sent_away_once_more_when_its_turn_has_come(operator: Operator) -> None:
    """Its status says Outranked until its next pod runs; that is of the attempt before."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=1)
    await flow(operator, limits=[{"name": "db"}], retries={"limit": 3, "delaySeconds": 1000})
    operator.apply(DEPLOYMENTS, "urgent", {"flowRef": {"name": "etl"}, "preemption": "LowerPriority", "priority": 9})
    operator.runs("v")
    await operator.goes_on()
    await operator.pod_is("v-1", ended(1))
    operator.apply(FLOW_RUNS, "b", {"deploymentRef": {"name": "urgent"}})
    await operator.goes_on()
    assert operator.reason("v") == "Outranked"
    await operator.pod_is("b-1", ended(0))
    await operator.goes_on(2000)
    await operator.pod_is("v-2", running())
    await operator.goes_on()
    assert operator.reason("v") == "Running"
    assert operator.pods() == ["b-1", "v-1", "v-2"]

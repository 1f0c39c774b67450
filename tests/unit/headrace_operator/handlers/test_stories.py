"""Stories of runs that share limits and pools, from end to end against a cluster in memory."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace import slots
from headrace.kubeapi.errors import Forbidden, Unreachable
from headrace_operator.decide.snapshot import ObjectKey
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
from headrace_operator.observe.workkeys import Kind, WorkKey
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

    async def goes_on(self, seconds: float = 2) -> None:
        """`seconds` later, which is enough for a wait to be told, with all that was put off done, as often as anything could still come of it."""
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


async def test_the_labels_of_a_deployment_hold_its_runs_to_a_limit(operator: Operator) -> None:
    """Those that are there, and those that come later."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=1, selector={"matchLabels": {"database": "postgres"}})
    operator.everywhere(CONCURRENCY_LIMITS, "closed", slots=0, selector={"matchLabels": {"database": "none"}})
    await flow(operator)
    operator.apply(DEPLOYMENTS, "daily", {"flowRef": {"name": "etl"}}, labels={"database": "postgres"})
    for name in ("a", "b"):
        operator.apply(FLOW_RUNS, name, {"deploymentRef": {"name": "daily"}})
    await operator.goes_on()
    assert operator.pods() == ["a-1"]
    labels = {"metadata": {"labels": {"database": "none"}}}
    await operator.cluster.patch(DEPLOYMENTS, NAMESPACE, "daily", labels)
    await operator.goes_on()
    assert '"closed"' in operator.status(name="b")["message"]


class TestAnswersThatAreLost:
    """The pod was created, and nobody here knows: neither an answer nor an event has come."""

    @pytest.fixture
    async def operator(self, operator: Operator) -> Operator:
        """The slot is taken for a; b waits."""
        operator.everywhere(CONCURRENCY_LIMITS, "db", slots=1)
        await flow(operator, limits=[{"name": "db"}])
        operator.cluster.lose_next(PODS)
        operator.runs("a", "b")
        await operator.rests()
        assert operator.pods() == ["a-1"]
        assert operator.intake.cache.pods == {}
        return operator

    async def without_pods(self, operator: Operator) -> None:
        for _ in range(4):
            operator.hear(FLOW_RUNS, LEASES)
            await operator.what_is_delayed()

    async def test_a_run_that_is_cancelled_keeps_its_slot_until_its_pod_has_ended(self, operator: Operator) -> None:
        await operator.change("a", cancel=True)
        await self.without_pods(operator)
        pod = operator.cluster.find(PODS, NAMESPACE, "a-1")
        assert pod is not None
        assert pod["metadata"].get("deletionTimestamp")
        assert "b-1" not in operator.pods()

    async def test_a_second_try_that_would_be_refused_is_not_made(self, operator: Operator) -> None:
        """The namespace's quota is used up, by that very pod."""
        operator.cluster.fail_next("create", PODS, Forbidden(403, "Forbidden", "exceeded quota"))
        await self.without_pods(operator)
        assert operator.pods() == ["a-1"]


async def test_a_run_that_is_suspended_before_it_has_a_pod_lets_others_go_first(operator: Operator) -> None:
    """It had taken its slot when the API server went away."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=1)
    await flow(operator, limits=[{"name": "db"}])
    operator.cluster.fail_next("create", PODS, Unreachable(0, "Unreachable", "refused"))
    operator.runs("a", "b")
    await operator.rests()
    await operator.change("a", suspend=True)
    await operator.goes_on()
    assert operator.pods() == ["b-1"]


@pytest.mark.parametrize(
    ("spec", "reason"),
    [({"slots": 1}, "WaitingForLimit"), ({"rate": {"count": 1, "perSeconds": 9}}, "WaitingForRate")],
)
async def test_a_run_says_what_it_waits_for_while_its_limit_has_no_leases(
    operator: Operator, spec: dict[str, Any], reason: str
) -> None:
    """They cannot be made, say for want of rights: nothing is tried over and over, and it goes on when they can."""
    operator.cluster.fail_next("create", LEASES, *[Forbidden(403, "Forbidden", "may not create leases")] * 99)
    operator.everywhere(CONCURRENCY_LIMITS, "db", **spec)
    await flow(operator, limits=[{"name": "db"}])
    operator.runs("a")
    await operator.rests()
    assert operator.reason("a") == reason
    assert WorkKey(Kind.FLOW_RUN, ObjectKey(NAMESPACE, "a")) not in operator.queue._timers
    operator.cluster.fails_no_more()
    await operator.goes_on()
    assert operator.pods() == ["a-1"]


async def test_a_start_that_a_wrong_clock_noted_holds_nobody_back_for_years(operator: Operator) -> None:
    """Any pod may note it: it counts as made when it is seen, and leaves the window with the others."""
    operator.everywhere(CONCURRENCY_LIMITS, "api", rate={"count": 1, "perSeconds": 300})
    await flow(operator, limits=[{"name": "api"}])
    (lease,) = operator.cluster.all(LEASES)
    noted = {"metadata": {"annotations": {slots.STARTS_ANNOTATION: "9" * 15}}}
    await operator.cluster.patch(LEASES, lease["metadata"]["namespace"], "api.rate", noted)
    await operator.goes_on()
    operator.runs("a")
    await operator.goes_on(299)
    assert operator.reason("a") == "WaitingForRate"
    await operator.goes_on(2)
    assert operator.pods() == ["a-1"]


async def test_a_retry_gets_a_place_though_a_more_urgent_run_waits_for_the_slot_that_it_holds(
    operator: Operator,
) -> None:
    """The urgent one had reserved the place: each would wait for the other."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=1)
    operator.everywhere(WORK_POOLS, "only", capacity={"runs": 1})
    await flow(operator, limits=[{"name": "db"}], retries={"limit": 3, "delaySeconds": 1000})
    operator.runs("a")
    await operator.goes_on()
    await operator.pod_is("a-1", ended(1))
    operator.runs("b", priority=9)
    await operator.goes_on()
    assert operator.reason("b") == "WaitingForLimit"
    await operator.goes_on(2000)
    assert operator.pods() == ["a-1", "a-2"]


async def test_runs_that_a_dead_operator_left_with_a_part_of_their_slots_each_do_not_wait_for_each_other(
    operator: Operator,
) -> None:
    """What is not all is given back; then they go one after the other."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=2)
    await flow(operator, limits=[{"name": "db", "slots": 2}])
    uids = {"a": "uid-of-a", "b": "uid-of-b"}
    for index, (name, uid) in enumerate(uids.items()):
        lease = operator.cluster.find(LEASES, "headrace-system", f"db.slot-{index}")
        assert lease is not None
        holder = f"run/{NAMESPACE}/{name}/{uid}"
        await operator.cluster.patch(LEASES, "headrace-system", f"db.slot-{index}", slots.taking(lease, holder, NOW))
    operator.hear(LEASES)
    for name, uid in uids.items():
        operator.apply(FLOW_RUNS, name, {"flowRef": {"name": "etl"}}, uid=uid)
    await operator.goes_on()
    assert len(operator.pods()) == 1
    await operator.pod_is(operator.pods()[0], ended(0))
    await operator.goes_on()
    assert operator.pods() == ["a-1", "b-1"]


async def test_a_run_whose_pool_went_while_its_launch_failed_goes_to_another(operator: Operator) -> None:
    """And not to whatever node takes a pod that names none."""
    for name in ("a-pool", "b-pool"):
        operator.everywhere(WORK_POOLS, name)
    await flow(operator)
    operator.cluster.fail_next("create", PODS, Unreachable(0, "Unreachable", "refused"))
    operator.runs("a")
    await operator.rests()
    pool = operator.cluster.find(WORK_POOLS, "", "a-pool")
    assert pool is not None
    await operator.cluster.delete(WORK_POOLS, "", "a-pool", uid=pool["metadata"]["uid"])
    await operator.goes_on()
    (pod,) = operator.cluster.all(PODS)
    assert pod["metadata"]["labels"]["headrace.dev/pool"] == "b-pool"


async def test_a_run_that_is_suspended_keeps_no_slot_that_was_taken_for_its_start(operator: Operator) -> None:
    """The operator before this one died between slot and pod."""
    operator.everywhere(CONCURRENCY_LIMITS, "db", slots=1)
    await flow(operator, limits=[{"name": "db"}])
    lease = operator.cluster.find(LEASES, "headrace-system", "db.slot-0")
    assert lease is not None
    holder = f"run/{NAMESPACE}/a/uid-of-a"
    await operator.cluster.patch(LEASES, "headrace-system", "db.slot-0", slots.taking(lease, holder, NOW))
    operator.apply(FLOW_RUNS, "a", {"flowRef": {"name": "etl"}, "suspend": True}, uid="uid-of-a")
    operator.runs("b")
    await operator.goes_on()
    assert operator.reason("a") == "Suspended"
    assert operator.pods() == ["b-1"]

"""What the operator knows of ends that are not written yet, and of runs with one key."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.kubeapi.errors import Unreachable
from headrace_operator.decide.snapshot import Snapshot
from headrace_operator.kube.resources import FLOW_RUNS
from headrace_operator.observe.deployment import circuit_allows, observe_deployment, runs_allowed
from headrace_operator.observe.flow_run import RunObserver
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.revisions import Revisions
from tests.builders import NOW, stamp
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import (
    Wakes,
    an_intake,
    deployment,
    finished,
    flow,
    key,
    run,
    under_way,
)

DAILY = key("daily")
BREAKER = {"circuitBreaker": {"failures": 2, "cooldownSeconds": 60}}
KEY = {"idempotencyKey": "alert-7"}
LATER = stamp(NOW.replace(hour=13))


def circuit(state: str, **fields: Any) -> dict[str, Any]:
    return {"circuit": {"state": state, "countedUntil": stamp(NOW), **fields}, "consecutiveFailures": 1}


class World:
    """A Deployment with a circuit breaker and one failure, and a run of it under way."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.intake: Intake
        self.wakes: Wakes
        self.intake, self.wakes = an_intake()
        self.observer = RunObserver(self.cluster, self.intake, Revisions(self.cluster), start_deadline_s=60)
        self.intake.flow_seen(flow())
        self.intake.deployment_seen(deployment(status=circuit("Closed"), **BREAKER, concurrency={"limit": 5}))
        self.intake.run_seen(run(name="r1", status=under_way()))
        self.wakes.told()

    def allowed(self) -> int | None:
        return circuit_allows(self.intake.cache.deployments[DAILY], self.intake.history)


@pytest.fixture
def world() -> World:
    return World()


class TestHold:
    """From the end that may open the circuit until the status has it."""

    def test_a_failure_that_is_not_counted_holds_the_door(self, world: World) -> None:
        """It is counted at once; afterwards the status says what holds."""
        world.intake.history_listed()
        assert world.allowed() is None
        assert runs_allowed(world.intake.cache.deployments[DAILY], world.intake.history) == 5
        world.intake.run_seen(run(2, name="r1", status=finished("Failed")))
        assert world.allowed() == 0
        assert "Deployment daily" in world.wakes.told()
        counted = circuit("Open", retryAt=LATER, counted=["r1-uid"])
        world.intake.deployment_seen(deployment(2, status=counted, **BREAKER))
        assert (world.allowed(), "Retention daily" in world.wakes.told()) == (0, True)
        world.intake.deployment_seen(
            deployment(3, status=circuit("HalfOpen", retryAt=LATER, counted=["r1-uid"]), **BREAKER)
        )
        assert world.allowed() == 1

    def test_a_new_leader_holds_it_until_it_has_read_the_ends_of_before(self, world: World) -> None:
        """One that its predecessor did not count may open the circuit; skipping runs waits for that too."""
        world.intake, world.wakes = an_intake()
        history = world.intake.history
        world.intake.deployment_seen(deployment(status=circuit("Closed"), **BREAKER, concurrency={"limit": 5}))
        record = world.intake.cache.deployments[DAILY]
        assert (runs_allowed(record, history), world.allowed()) == (0, None)
        world.intake.finished_run_listed(run_from(run(name="r1", status=finished("Failed"))))
        world.intake.history_listed()
        assert (runs_allowed(record, history), world.allowed()) == (0, 0)
        assert "Deployment daily" in world.wakes.told()

    def test_a_failure_that_was_deleted_and_stays_is_not_counted_again(self, world: World) -> None:
        """Somebody's finalizer keeps it; its operator let it go, so that the status names it no more."""
        world.intake, world.wakes = an_intake()
        world.intake.deployment_seen(deployment(status=circuit("Closed"), **BREAKER))
        left = run(name="r0", status=finished("Failed"))
        left["metadata"].update(deletionTimestamp=stamp(NOW), finalizers=["example.com/audit"])
        world.intake.finished_run_listed(run_from(left))
        world.intake.history_listed()
        assert world.allowed() is None
        world.intake.run_seen(left)
        assert world.allowed() is None

    def test_one_without_a_breaker_waits_for_no_history(self) -> None:
        """A start among 100,000 finished runs holds nothing up."""
        intake, _ = an_intake()
        intake.deployment_seen(deployment(concurrency={"limit": 5}))
        assert runs_allowed(intake.cache.deployments[DAILY], intake.history) == 5

    def test_a_success_holds_nothing_and_is_gathered_with_others(self, world: World) -> None:
        """Its count can wait."""
        world.intake.run_seen(run(2, name="r1", status=finished()))
        assert world.allowed() is None
        assert "Deployment daily" not in world.wakes.told()

    async def test_a_run_that_left_the_stream_may_have_failed(self, world: World) -> None:
        """Until our own answer, or the API, says what became of it."""
        world.intake.run_gone(key("r1"), "r1-uid")
        assert world.allowed() == 0
        assert "FlowRun r1 in 1 s" in world.wakes.told()
        assert await world.observer.observe(key("r1")) is not None  # nobody has it: it was deleted
        assert world.allowed() is None

    async def test_an_end_whose_answer_was_lost_is_found(self, world: World) -> None:
        """And counted as any other."""
        world.intake.run_gone(key("r1"), "r1-uid")
        world.cluster.put(FLOW_RUNS, run(2, name="r1", status=finished("Failed")))
        await world.observer.observe(key("r1"))
        assert world.intake.history.has_finished(key("r1"), "r1-uid")
        assert world.allowed() == 0
        assert world.intake.history.departures.of(DAILY) == 0

    def test_a_new_run_of_the_name_tells_that_the_old_one_is_gone(self, world: World) -> None:
        """No request is needed for that."""
        world.intake.run_gone(key("r1"), "r1-uid")
        world.intake.run_seen(run(3, name="r1", uid="new"))
        assert world.allowed() is None


def test_ends_are_counted_when_all_are_known() -> None:
    """Those of before the start come last."""
    intake, wakes = an_intake()
    intake.deployment_seen(deployment(**BREAKER))
    intake.run_seen(run(name="r1", status=finished("Failed")))
    seen = observe_deployment(intake.cache, intake.history, DAILY)
    assert seen is not None
    assert seen.ended is None
    wakes.told()
    intake.history_listed()
    assert "Deployment daily" in wakes.told()
    seen = observe_deployment(intake.cache, intake.history, DAILY)
    assert seen is not None
    assert [end.uid for end in seen.ended or ()] == ["r1-uid"]


class TestKeys:
    """Whether another run has the key."""

    async def first(self, world: World, name: str) -> str | None:
        seen = await world.observer.observe(key(name))
        assert isinstance(seen, Snapshot)
        return seen.first.name if seen.first else None

    def has_two(self, world: World) -> None:
        world.intake.history_listed()
        for name in ("a", "b"):
            world.intake.run_seen(run(name=name, **KEY, deploymentRef={"name": "missing"}))

    async def test_before_the_finished_runs_are_known_it_is_not_settled(self, world: World) -> None:
        """They are woken when it is."""
        world.intake.run_seen(run(name="a", **KEY, deploymentRef={"name": "missing"}))
        seen = await world.observer.observe(key("a"))
        assert isinstance(seen, Snapshot)
        assert (seen.key_is_settled, seen.first) == (False, None)
        world.wakes.told()
        world.intake.history_listed()
        assert "FlowRun a" in world.wakes.told()
        assert await self.first(world, "a") is None

    async def test_of_two_that_wait_one_gives_way(self, world: World) -> None:
        """Without a request."""
        self.has_two(world)
        assert (await self.first(world, "b"), await self.first(world, "a")) == ("a", None)
        assert world.cluster.requests == []

    async def test_a_run_that_has_ended_is_asked_for_before_it_is_believed(self, world: World) -> None:
        """A person may have deleted it since, which nobody tells."""
        self.has_two(world)
        ended = run(2, name="a", status=finished("Failed"), **KEY, deploymentRef={"name": "missing"})
        world.cluster.put(FLOW_RUNS, ended)
        world.intake.run_seen(ended)
        assert await self.first(world, "b") == "a"
        world.cluster.put(FLOW_RUNS, run(3, name="a", uid="another"))
        assert await self.first(world, "b") is None

    async def test_an_api_that_does_not_answer_proves_nothing(self, world: World) -> None:
        """It is asked again later."""
        self.has_two(world)
        world.intake.run_gone(key("a"), "a-uid")
        world.cluster.fail_next("get", FLOW_RUNS, Unreachable(0, "Unreachable", "cut"))
        with pytest.raises(Unreachable):
            await world.observer.observe(key("b"))
        assert await self.first(world, "b") is None

    async def test_a_run_that_is_retired_gives_its_key_back(self, world: World) -> None:
        """As long as the first one is kept, says the field."""
        self.has_two(world)
        world.intake.run_seen(run(2, name="a", status=finished(), **KEY, deploymentRef={"name": "missing"}))
        (owner,) = world.intake.history.owners()
        (record,) = world.intake.history.of(owner)
        world.intake.run_retired(record)
        assert await self.first(world, "b") is None
        assert not world.intake.history.of(owner)

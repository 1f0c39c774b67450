"""A run's Decision is carried out in order, the status once, and what would lose the outcome after that."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from structlog.testing import capture_logs

from headrace.api.conditions import ConditionType, Phase, Reason
from headrace.kubeapi.errors import Conflict, Forbidden, Unavailable
from headrace.slots import holder_of
from headrace_operator.apply.flow_run import RunApplier
from headrace_operator.decide.actions import Action, Decision, DeletePod, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.conditions import condition
from headrace_operator.decide.leases import Slot
from headrace_operator.decide.snapshot import RunStatus, Snapshot
from headrace_operator.errors import PodRefusedError
from headrace_operator.kube.resources import EVENTS, FLOW_RUNS, LEASES, PODS
from headrace_operator.manifests.run_status import render_status
from headrace_operator.observe.parse import run_from, status_from
from headrace_operator.observe.slots import Slots
from tests.builders import NAMESPACE, NOW, a_pod_object, a_running_status, a_snapshot, ended, running
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.leases import lease, run

RELEASE = ReleasePod("etl-1-1", "pod-uid-1")
EVENT = RecordEvent("Evicted", "gone", warning=True)


class Heard:
    """What the API answered to our writes."""

    def __init__(self) -> None:
        self.runs: list[Mapping[str, Any]] = []
        self.pods: list[Mapping[str, Any]] = []
        self.limits: list[str] = []

    def run_written(self, obj: Mapping[str, Any], *, is_settled: bool) -> None:
        self.runs.append(obj)

    def pod_written(self, obj: Mapping[str, Any]) -> None:
        self.pods.append(obj)

    def slots_changed(self, limit: str) -> None:
        self.limits.append(limit)


class Taker:
    """Takes every slot that it is offered, if it is there."""

    def __init__(self) -> None:
        self.is_there = False
        self.offered: list[str] = []

    def offer(self, slot: Slot) -> bool:
        self.offered.append(slot.name)
        return self.is_there


class Gate:
    """Of a cluster without WorkPools."""

    def __init__(self) -> None:
        self.slots = Slots()
        self.hand_over = Taker()

    def pool(self, name: str | None) -> None:
        assert name is None


class World:
    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.heard = Heard()
        self.gate = Gate()
        self.applier = RunApplier(
            self.cluster, self.heard, self.gate, default_image="headrace/runtime:test", clock=lambda: NOW
        )
        self.stored = self.cluster.put(
            FLOW_RUNS,
            {
                "metadata": {"name": "etl-1", "namespace": NAMESPACE, "uid": "run-uid"},
                "spec": {"flowRef": {"name": "etl"}},
            },
        )

    @property
    def seen(self) -> Snapshot:
        return a_snapshot(run_from(self.stored))

    async def perform(self, *actions: Action, status: RunStatus | None = None, afterwards: Any = ()) -> None:
        decision = Decision("Test", actions=actions, status=status, afterwards=afterwards)
        await self.applier.perform(self.seen, decision, NOW)

    def status(self) -> RunStatus:
        run = self.cluster.find(FLOW_RUNS, NAMESPACE, "etl-1")
        assert run is not None
        return status_from(run.get("status") or {})


@pytest.fixture
def world() -> World:
    return World()


async def test_a_launch_creates_the_pod_and_hears_of_it(world: World) -> None:
    """The next decision knows it."""
    await world.perform(LaunchPod(2))
    pod = world.cluster.find(PODS, NAMESPACE, "etl-1-2")
    assert world.heard.pods == [pod]
    assert world.cluster.requests == [("create", "pods", "etl-1-2")]


async def test_the_status_is_written_and_heard_of(world: World) -> None:
    """As it was decided."""
    await world.perform(status=a_running_status())
    assert world.status() == a_running_status()
    assert [run_from(obj).status for obj in world.heard.runs] == [a_running_status()]


async def test_a_status_that_changes_nothing_is_not_written(world: World) -> None:
    """No write when nothing changed."""
    await world.perform(status=world.seen.run.status)
    await world.perform()
    assert world.cluster.requests == []


async def test_what_would_lose_the_outcome_comes_after_the_status(world: World) -> None:
    """Actions, status, then the rest, each in order."""
    world.cluster.put(PODS, a_pod_object(ended(0)))
    await world.perform(DeletePod("etl-1-1", "pod-uid-1"), status=a_running_status(), afterwards=(RELEASE, EVENT))
    assert [(verb, kind) for verb, kind, _ in world.cluster.requests] == [
        ("delete", "pods"),
        ("patch", "flowruns"),
        ("patch", "pods"),
        ("create", "events"),
    ]


@pytest.mark.parametrize(
    "error", [Conflict(409, "Conflict", "modified"), Unavailable(503, "ServiceUnavailable", "etcd")]
)
async def test_a_pod_is_not_let_go_when_its_outcome_was_not_written(world: World, error: Exception) -> None:
    """It holds the outcome until the next try."""
    before = world.cluster.put(PODS, a_pod_object(ended(0)))
    world.cluster.fail_next("patch", FLOW_RUNS, error)
    with pytest.raises(type(error)):
        await world.perform(status=a_running_status(), afterwards=(RELEASE, EVENT))
    assert world.cluster.find(PODS, NAMESPACE, "etl-1-1") == before
    assert world.cluster.all(EVENTS) == []


async def test_a_decision_on_an_old_version_of_the_run_is_a_conflict(world: World) -> None:
    """Somebody cancelled it meanwhile: it is looked at anew, and nothing is overwritten."""
    await world.cluster.patch(FLOW_RUNS, NAMESPACE, "etl-1", {"spec": {"cancel": True}})
    with pytest.raises(Conflict):
        await world.perform(status=a_running_status())
    assert world.status() == RunStatus()


async def test_a_second_status_rests_on_the_first(world: World) -> None:
    """Fields that are gone are removed, and the spec is nobody's business here."""
    await world.perform(status=a_running_status(next_attempt_at=NOW))
    world.stored = dict(world.heard.runs[-1])
    await world.perform(status=a_running_status(phase=Phase.RETRYING))
    assert world.status() == a_running_status(phase=Phase.RETRYING)
    run = world.cluster.find(FLOW_RUNS, NAMESPACE, "etl-1")
    assert run is not None
    assert run["spec"] == {"flowRef": {"name": "etl"}}
    assert run["status"] == render_status(a_running_status(phase=Phase.RETRYING))


async def test_a_refused_launch_leaves_everything_as_it_was(world: World) -> None:
    """The rest of the decision was for a pod that is not there."""
    world.cluster.fail_next("create", PODS, Forbidden(403, "Forbidden", "exceeded quota"))
    with pytest.raises(PodRefusedError):
        await world.perform(LaunchPod(1), status=a_running_status())
    assert world.status() == RunStatus()


async def test_a_pod_that_is_let_go_is_heard_of(world: World) -> None:
    """One that is gone is not."""
    world.cluster.put(PODS, a_pod_object(ended(0)))
    await world.perform(afterwards=(RELEASE,))
    await world.perform(afterwards=(ReleasePod("etl-1-9", "x"),))
    assert [pod["metadata"].get("finalizers", []) for pod in world.heard.pods] == [[]]


async def test_orphans_are_ended_and_let_go(world: World) -> None:
    """In that order, without a run."""
    world.cluster.put(PODS, a_pod_object(running()))
    actions = (DeletePod("etl-1-1", "pod-uid-1"), RELEASE)
    await world.applier.clear_orphans(world.seen.run.key, actions)
    assert world.cluster.all(PODS) == []


class TestSlots:
    """The run holds one."""

    @pytest.fixture
    def world(self) -> World:
        world = World()
        held = lease(holder=run("etl-1", "run-uid", namespace=NAMESPACE), leaseTransitions=1)
        world.gate.slots.seen(world.cluster.put(LEASES, held))
        return world

    def holder(self, world: World) -> str:
        (held,) = world.cluster.all(LEASES)
        return holder_of(held)

    async def test_its_end_frees_it(self, world: World) -> None:
        """After the status: until then the run is not over by anybody's word."""
        await world.perform(status=a_running_status(phase=Phase.SUCCEEDED))
        assert [kind for _, kind, _ in world.cluster.requests] == ["flowruns", "leases"]
        assert (self.holder(world), world.heard.limits) == ("", ["db"])

    async def test_its_end_leaves_it_to_the_next_in_line(self, world: World) -> None:
        """Who is told of it, and writes to the Lease."""
        world.gate.hand_over.is_there = True
        await world.perform(status=a_running_status(phase=Phase.SUCCEEDED))
        assert [kind for _, kind, _ in world.cluster.requests] == ["flowruns"]
        assert (world.gate.hand_over.offered, world.heard.limits) == (["db.slot-0"], ["db"])

    async def test_a_run_that_goes_back_in_line_frees_it(self, world: World) -> None:
        """It is not over, and asks for one again."""
        world.gate.hand_over.is_there = True
        lost = condition(ConditionType.ADMITTED, holds=False, reason=Reason.OUTRANKED, message="", now=NOW)
        await world.perform(status=a_running_status(conditions=(lost,)))
        assert (self.holder(world), world.gate.hand_over.offered) == ("", [])


class TestEvents:
    async def test_an_event_is_about_the_run(self, world: World) -> None:
        """With its uid, so that `kubectl describe` finds it."""
        await world.perform(EVENT)
        (event,) = world.cluster.all(EVENTS)
        assert event["involvedObject"]["uid"] == "run-uid"
        assert (event["reason"], event["message"], event["type"]) == ("Evicted", "gone", "Warning")

    async def test_saying_it_twice_makes_one_event(self, world: World) -> None:
        """The second creation is a conflict, which is success."""
        await world.perform(EVENT)
        with capture_logs() as logs:
            await world.perform(EVENT)
        assert len(world.cluster.all(EVENTS)) == 1
        assert logs == []

    async def test_an_event_that_is_refused_is_not_in_the_way(self, world: World) -> None:
        """The status tells the same; the failure is logged."""
        world.cluster.fail_next("create", EVENTS, Forbidden(403, "Forbidden", "no events here"))
        with capture_logs() as logs:
            await world.perform(EVENT, status=a_running_status())
        assert world.status() == a_running_status()
        assert [(entry["event"], entry["reason"]) for entry in logs] == [("event_not_recorded", "Evicted")]

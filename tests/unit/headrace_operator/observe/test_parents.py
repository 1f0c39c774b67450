"""Whether the parent of a task is over, believed when it is known, asked for when it is not; and whether it is of the same Flow."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api import keys
from headrace_operator.decide.snapshot import ResolvedFlow, Snapshot
from headrace_operator.kube.resources import CONTROLLER_REVISIONS, FLOW_RUNS
from headrace_operator.observe.flow_run import RunObserver
from headrace_operator.observe.revisions import Revisions
from tests.builders import NAMESPACE, a_pod_object, running
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import an_intake, deployment, finished, flow, key, run, under_way

SPEC = {"entrypoint": "etl:main"}

TASK = {
    "name": "train",
    "parent": {"name": "etl-0", "uid": "etl-0-uid"},
    "function": "etl.py:train",
    "input": "file:///in",
    "output": "file:///out",
}
CHILD = key("etl-0-train-0")


class World:
    """A task whose Flow is not there: what is asked here comes before that."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.intake, self.wakes = an_intake()
        revisions = Revisions(self.cluster)
        self.observer = RunObserver(self.cluster, self.intake, revisions, start_deadline_s=60, slots_namespace="here")
        self.intake.run_seen(run(name=CHILD.name, task=TASK, flowRef={"name": "etl"}))
        self.cluster.requests.clear()

    async def parent_is_over(self) -> bool:
        seen = await self.observer.observe(CHILD)
        assert isinstance(seen, Snapshot)
        assert seen.slots_namespace == "here"
        return seen.parent_is_over


def parent(**changes: Any) -> dict[str, Any]:
    return run(**{"name": "etl-0", **changes})


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize(
    ("obj", "is_over"),
    [
        pytest.param(parent(), False, id="it is unfinished"),
        pytest.param(parent(cancel=True), True, id="it was told to end"),
    ],
)
async def test_a_parent_that_is_held_is_not_asked_for(world: World, obj: dict[str, Any], is_over: bool) -> None:
    """No request for each look at a task."""
    world.intake.run_seen(obj)
    assert await world.parent_is_over() is is_over
    assert not world.cluster.requests


async def test_an_end_that_we_wrote_is_believed(world: World) -> None:
    """And its tasks are woken by it."""
    world.intake.run_seen(parent())
    world.wakes.told()
    world.intake.run_seen(parent(version=9, status=finished()))
    assert f"FlowRun {CHILD.name}" in world.wakes.told()
    assert await world.parent_is_over()
    assert not world.cluster.requests


@pytest.mark.parametrize(
    ("stored", "is_over"),
    [
        pytest.param(None, True, id="it is gone"),
        pytest.param(parent(status=finished()), True, id="it ended before the operator began"),
        pytest.param(parent(uid="another"), True, id="another run has its name"),
        pytest.param(parent(), False, id="its event is on the way"),
    ],
)
async def test_a_parent_that_is_not_held_is_asked_for(
    world: World, stored: dict[str, Any] | None, is_over: bool
) -> None:
    """Absence from the stream is no proof."""
    if stored is not None:
        world.cluster.put(FLOW_RUNS, stored)
    assert await world.parent_is_over() is is_over
    assert (key("etl-0") in world.intake.cache.runs) is (not is_over)


async def test_a_parent_that_left_the_stream_wakes_its_tasks(world: World) -> None:
    """It was deleted, or has finished."""
    world.intake.run_seen(parent())
    world.wakes.told()
    world.intake.run_gone(key("etl-0"), "etl-0-uid")
    assert f"FlowRun {CHILD.name}" in world.wakes.told()


class TestForeign:
    """Whether a task is of the Flow that its parent is of."""

    @pytest.fixture
    def world(self) -> World:
        """Two Flows with a revision of the same hash: it is short enough to be looked for."""
        made = World()
        for name in ("etl", "payroll"):
            made.intake.flow_seen(flow(name=name, status={"revision": "rev1", "observedGeneration": 1}))
            stored = {"metadata": {"name": f"{name}-rev1", "namespace": NAMESPACE}, "data": {"spec": SPEC}}
            made.cluster.put(CONTROLLER_REVISIONS, stored)
        return made

    @staticmethod
    async def is_foreign(world: World) -> bool:
        seen = await world.observer.observe(CHILD)
        assert isinstance(seen, Snapshot)
        assert isinstance(seen.flow, ResolvedFlow)
        return seen.is_foreign

    @pytest.mark.parametrize(
        ("name", "revision", "foreign"),
        [("etl", "rev1", False), ("payroll", "rev1", True), ("etl", "rev0", True)],
        ids=["the same code", "another Flow at the same hash", "another revision"],
    )
    async def test_a_task_is_of_its_parents_flow_and_revision(
        self, world: World, name: str, revision: str, *, foreign: bool
    ) -> None:
        """Both count."""
        world.intake.run_seen(parent(flowRef={"name": name}, status={**under_way("etl-0-1"), "flowRevision": revision}))
        assert await self.is_foreign(world) is foreign

    @pytest.mark.parametrize("label", ["etl", "payroll"])
    @pytest.mark.parametrize("now", ["gone", "another", "the task's"])
    async def test_the_parents_pod_tells_its_flow_whatever_its_deployment_names_now(
        self, world: World, label: str, now: str
    ) -> None:
        """Tasks go on; and who changes the Deployment gains nothing."""
        if now != "gone":
            world.intake.deployment_seen(deployment(flowRef={"name": "payroll" if now == "another" else "etl"}))
        world.intake.run_seen(parent(deploymentRef={"name": "daily"}, status=under_way("etl-0-1")))
        labels = {keys.FLOW_RUN_LABEL: "etl-0", keys.ATTEMPT_LABEL: "1", keys.REVISION_LABEL: "rev1"}
        metadata = {"labels": {**labels, keys.FLOW_LABEL: label}}
        world.intake.pod_seen(a_pod_object(running(), run="etl-0", run_uid="etl-0-uid", metadata=metadata))
        assert await self.is_foreign(world) is (label != "etl")

    async def test_a_task_of_a_parent_of_which_nothing_tells_the_flow_is_foreign(self, world: World) -> None:
        """Neither a pod nor a Deployment: nothing of it runs."""
        world.intake.run_seen(parent(deploymentRef={"name": "gone"}, status=under_way("etl-0-1")))
        assert await self.is_foreign(world)

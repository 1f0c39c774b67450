"""Whether the parent of a task is over: believed when it is known, asked for when it is not."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.decide.snapshot import Snapshot
from headrace_operator.kube.resources import FLOW_RUNS
from headrace_operator.observe.flow_run import RunObserver
from headrace_operator.observe.revisions import Revisions
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import an_intake, finished, key, run

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

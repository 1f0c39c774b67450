"""What is learnt of a Flow's size is written once for many runs."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from headrace_operator.handlers import autosize, flow
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import FLOWS
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.revisions import Revisions
from headrace_operator.settings import Settings
from tests.builders import NAMESPACE, NOW, stamp
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import an_intake, key, metadata, run

SPEC = {"entrypoint": "etl:main", "autosize": {}}
LEARNT = {"memory": "128Mi", "memorySamples": [100, 100, 100], "cpuSamples": [], "lastRunAt": "2026-03-04T12:00:02Z"}


class World:
    """A Flow with its runs, and the parts of the operator that look at it."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.intake, _ = an_intake()
        self.now = NOW + timedelta(minutes=1)
        self.apply(SPEC)
        parts = SimpleNamespace(
            cluster=self.cluster,
            intake=self.intake,
            clock=lambda: self.now,
            settings=Settings(autosize_delay_s=30.0),
            revisions=Revisions(self.cluster),
        )
        self.context = cast("Context", parts)

    def apply(self, spec: dict[str, Any], **changes: Any) -> None:
        """The Flow has this spec now."""
        before = self.cluster.find(FLOWS, NAMESPACE, "etl") or {"status": {}}
        obj = {"metadata": metadata("etl", 50, **changes), "spec": spec, "status": before["status"]}
        del obj["metadata"]["resourceVersion"]
        self.intake.flow_seen(self.cluster.put(FLOWS, obj))

    def ended(self, *after_s: int) -> None:
        """Runs that used 100 MiB have ended at these times."""
        for number in after_s:
            status = {
                "phase": "Succeeded",
                "finishedAt": stamp(NOW + timedelta(seconds=number)),
                "usage": {"maxMemoryBytes": 100 * 2**20},
            }
            self.intake.finished_run_listed(run_from(run(name=f"r{number}", status=status, flowRef={"name": "etl"})))

    @property
    def learnt(self) -> Any:
        """What the Flow's status says."""
        stored = self.cluster.find(FLOWS, NAMESPACE, "etl")
        assert stored is not None
        return stored["status"].get("autosize")


@pytest.fixture
def world() -> World:
    return World()


async def test_what_runs_used_is_written_in_one_write(world: World) -> None:
    """And not again while no further run ends."""
    world.ended(0, 1, 2)
    assert await autosize.reconcile(world.context, key("etl")) is None
    assert world.learnt == LEARNT
    assert await autosize.reconcile(world.context, key("etl")) is None
    assert world.cluster.asked("patch") == ["etl"]


async def test_a_run_that_has_just_ended_is_left_for_the_next_time(world: World) -> None:
    """Another one may end in the same second, and would be passed over."""
    world.ended(0, 1, 2, 60)
    assert await autosize.reconcile(world.context, key("etl")) == 30.0
    assert world.learnt == LEARNT
    world.now += timedelta(seconds=30)
    assert await autosize.reconcile(world.context, key("etl")) is None
    assert world.learnt["memorySamples"] == [100] * 4


async def test_a_flow_that_does_not_learn_is_not_written(world: World) -> None:
    """Nor is one that is gone."""
    world.apply({"entrypoint": "etl:main"}, generation=2)
    world.ended(0, 1, 2)
    assert await autosize.reconcile(world.context, key("etl")) is None
    assert await autosize.reconcile(world.context, key("other")) is None
    assert world.cluster.requests == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({**SPEC, "env": [{"name": "A"}]}, LEARNT, id="a change of the Flow leaves it"),
        pytest.param({"entrypoint": "etl:main"}, None, id="it goes with spec.autosize"),
    ],
)
async def test_what_was_learnt_outlives_the_flow_s_own_status(
    world: World, spec: dict[str, Any], expected: Any
) -> None:
    """Two reconciles write one status."""
    world.ended(0, 1, 2)
    await autosize.reconcile(world.context, key("etl"))
    world.apply(spec, generation=2)
    await flow.reconcile(world.context, key("etl"))
    assert world.learnt == expected

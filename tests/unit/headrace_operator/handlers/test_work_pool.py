"""A WorkPool's status and metrics follow what is in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.terms import Demand, Holding, PoolTerms
from headrace_operator.decide.sharding import EVERYTHING
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers import work_pool
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import WORK_POOLS
from headrace_operator.observe.nodes import node_record
from headrace_operator.observe.tallies import Tallies
from headrace_operator.telemetry.metrics import Metrics
from tests.builders import NOW
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import an_intake, key

POOL = ObjectKey("", "cpu")


class World:
    """A pool with one run in it and one that waits for it."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.intake, self.wakes = an_intake()
        self.registry = CollectorRegistry()
        board = Board()
        board.set_pool("cpu", PoolTerms(runs=1))
        requests = amounts_of({"memory": "2Gi"})
        board.hold(key("r1"), Holding("r1-uid", NOW, pool="cpu", requests=requests))
        board.enrol(Demand(key("r2"), "r2-uid", NOW, pools=("cpu",), requests=requests))
        board.admit(NOW)
        parts = SimpleNamespace(
            share=EVERYTHING,
            tallies=Tallies(),
            cluster=self.cluster,
            intake=self.intake,
            clock=lambda: NOW,
            board=board,
            metrics=Metrics(self.registry),
        )
        self.context = cast("Context", parts)

    def apply(self, **spec: Any) -> None:
        """The pool is there, with this spec."""
        pool = {"metadata": {"name": "cpu"}, "spec": spec, "status": {}}
        self.intake.pool_seen(self.cluster.put(WORK_POOLS, pool))

    @property
    def status(self) -> dict[str, Any]:
        """As it was written last."""
        stored = self.cluster.find(WORK_POOLS, "", "cpu")
        assert stored is not None
        status: dict[str, Any] = stored["status"]
        return status

    def told(self) -> dict[str, float | None]:
        """What the metrics say of the pool."""
        states = {f"nodes {state}": {"pool": "cpu", "state": state} for state in ("total", "ready")}
        nodes = {name: self.registry.get_sample_value("headrace_pool_nodes", labels) for name, labels in states.items()}
        runs = self.registry.get_sample_value("headrace_pool_runs", {"pool": "cpu"})
        queued = self.registry.get_sample_value("headrace_pool_queued_runs", {"pool": "cpu"})
        return {"runs": runs, "queued": queued, **nodes}


@pytest.fixture
def world() -> World:
    return World()


async def test_counts_requests_and_nodes_are_told_once(world: World) -> None:
    """Nothing is written while nothing changes."""
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    for name, kind in (("n1", "cpu"), ("n2", "gpu")):
        node = {"metadata": {"name": name, "uid": name, "resourceVersion": "1", "labels": {"kind": kind}}}
        world.intake.cache.put_node(node_record({**node, "status": ready}))
    world.apply(nodeSelector={"kind": "cpu"})
    await work_pool.reconcile(world.context, POOL)
    await work_pool.reconcile(world.context, POOL)

    assert world.cluster.asked("patch") == ["cpu"]
    counts = {name: world.status[name] for name in ("active", "queued", "requested", "nodes")}
    assert counts == {"active": 1, "queued": 1, "requested": {"memory": "2Gi"}, "nodes": {"total": 1, "ready": 1}}
    assert world.status["conditions"][0]["reason"] == "NodesReady"
    assert world.told() == {"runs": 1, "queued": 1, "nodes total": 1, "nodes ready": 1}


async def test_the_status_that_another_operator_writes_is_not_answered(world: World) -> None:
    """Operators of two namespaces tell different numbers, each when its own change; a new spec is looked at by both."""
    world.apply()
    await work_pool.reconcile(world.context, POOL)
    stored = world.cluster.find(WORK_POOLS, "", "cpu")
    assert stored is not None
    told = [{**stored, "status": {**stored["status"], "active": 7}}, {**stored, "spec": {"nodeSelector": {"a": "b"}}}]
    wakes = []
    for generation, obj in enumerate(told, start=1):
        metadata = {**obj["metadata"], "generation": generation, "resourceVersion": str(1000 + generation)}
        world.wakes.told()
        world.intake.pool_seen({**obj, "metadata": metadata})
        wakes.append("WorkPool cpu" in world.wakes.told())
    assert wakes == [False, True]


async def test_a_spec_that_cannot_be_read_is_told(world: World) -> None:
    """It affects this pool alone."""
    world.apply(spot="perhaps")
    await work_pool.reconcile(world.context, POOL)
    condition = world.status["conditions"][0]
    assert (condition["status"], condition["reason"]) == ("False", "InvalidSpec")
    assert "spot" in condition["message"]


async def test_nothing_is_told_of_a_pool_that_is_gone(world: World) -> None:
    """Its metrics go with it."""
    world.apply()
    await work_pool.reconcile(world.context, POOL)
    world.intake.cache.drop_pool(POOL, world.intake.cache.pools[POOL].uid)
    await work_pool.reconcile(world.context, POOL)
    await work_pool.reconcile(world.context, ObjectKey("", "never-seen"))
    assert set(world.told().values()) == {None}

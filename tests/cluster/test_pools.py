"""Runs in WorkPools, on a real API server with the real scheduler."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.api.money import Cost
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition

POOLS = f"/apis/{API_VERSION}/workpools"
QUICK = {"delaySeconds": 0, "jitter": 0}
NOWHERE = {"nodeSelector": {"headrace.dev/no-such": "node"}}
"""No node has it: as a pool whose autoscaler has no stock."""


class Pools:
    """WorkPools of one test: they serve its namespace alone, and go with it."""

    def __init__(self, client: KubeClient, namespace: str) -> None:
        self._client = client
        self._namespace = namespace
        self._names: list[str] = []

    def name(self, short: str) -> str:
        """Pools have no namespace: those of another test must not have the same name."""
        return f"{short}-{self._namespace}"

    async def create(self, short: str, labels: dict[str, str] | None = None, **spec: Any) -> str:
        """The name of a new pool; `spec` as in a manifest."""
        name = self.name(short)
        ours = {"matchLabels": {"kubernetes.io/metadata.name": self._namespace}}
        body = {"metadata": {"name": name, "labels": labels or {}}, "spec": {"namespaces": ours, **spec}}
        self._names.append(name)
        await self._client.create(POOLS, {"apiVersion": API_VERSION, "kind": "WorkPool", **body})
        return name

    async def status(self, name: str) -> dict[str, Any]:
        """As the operator wrote it last."""
        return (await self._client.get(f"{POOLS}/{name}")).get("status") or {}

    async def until(self, name: str, **expected: Any) -> dict[str, Any]:
        """The status once it says this."""

        async def look() -> dict[str, Any] | None:
            status = await self.status(name)
            return status if expected.items() <= status.items() else None

        return await eventually(look, what=f"pool {name} says {expected}")

    async def remove(self) -> None:
        for name in self._names:
            await self._client.delete(f"{POOLS}/{name}")


@pytest.fixture
async def pools(client: KubeClient, namespace: str) -> AsyncIterator[Pools]:
    made = Pools(client, namespace)
    yield made
    await made.remove()


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(
        client, kubeconfig, namespace, tmp_path, start=False, status_delay_s=0.1, autosize_delay_s=0.5
    ) as made:
        yield made


def pool_of(pod: dict[str, Any]) -> str | None:
    pool: str | None = pod["metadata"]["labels"].get("headrace.dev/pool")
    return pool


def memory_of(pod: dict[str, Any]) -> dict[str, Any]:
    """What its container asks for, and may use."""
    resources = pod["spec"]["containers"][0].get("resources") or {}
    return {part: amounts["memory"] for part, amounts in resources.items()}


def both(memory: str) -> dict[str, Any]:
    return {"requests": {"memory": memory}, "limits": {"memory": memory}}


async def test_a_run_goes_to_the_cheapest_pool_that_fits(world: World, pools: Pools) -> None:
    """Pod and status say where; the pool says that its nodes are ready."""
    cheap = await pools.create("cheap", maxPodResources={"memory": "1Gi"}, pricing={"perHour": 0.1})
    dear = await pools.create("dear", maxPodResources={"memory": "8Gi"}, pricing={"perHour": 0.9})
    world.operator.start()
    await world.a_flow("small", resources=both("512Mi"))
    await world.a_flow("large", resources=both("4Gi"))
    await world.a_run("small-1", "small")
    await world.a_run("large-1", "large")
    small, large = await world.finished("small-1"), await world.finished("large-1")

    assert (small["pool"], large["pool"]) == (cheap, dear)
    assert [attempt["pool"] for attempt in large["attempts"]] == [dear]
    assert pool_of(await world.pod("small-1-1")) == cheap
    status = await pools.until(cheap, active=0)
    assert condition(status, "Ready") == ("True", "NodesReady")
    assert status["nodes"]["ready"] >= 1
    assert condition(await pools.status(dear), "Ready") == ("True", "NodesReady")


async def test_labels_and_namespaces_say_which_pools_a_run_may_use(world: World, pools: Pools) -> None:
    """The Deployment's choice takes the place of the Flow's; a pool of other namespaces is for them alone."""
    await pools.create("cheap", {"tier": "batch"}, pricing={"cpuHour": 0})
    web = await pools.create("web", {"tier": "web"}, pricing={"cpuHour": 1})
    theirs = await pools.create("theirs", {"tier": "web"}, namespaces={"matchLabels": {"team": "b"}})
    world.operator.start()
    await world.a_flow(pools={"names": [theirs]})
    chosen = {"selector": {"matchLabels": {"tier": "web"}}}
    await world.create("Deployment", "daily", flowRef={"name": "etl"}, pools=chosen)
    await world.a_run("etl-1")
    await world.a_run("daily-1", deploymentRef={"name": "daily"})

    assert (await world.finished("daily-1"))["pool"] == web
    waiting = await world.run_is("etl-1", "Pending", "PoolNotFound")
    assert f"does not serve namespace {world.namespace}" in waiting["message"]
    assert world.puppet.started == ["daily-1-1"]


async def test_a_run_that_is_too_large_says_so_and_goes_on_when_a_pool_fits(world: World, pools: Pools) -> None:
    """It waits, holds nobody up, and starts when the pool has grown."""
    small = await pools.create("small", maxPodResources={"memory": "1Gi"})
    world.operator.start()
    await world.a_flow("large", resources=both("4Gi"))
    await world.a_flow("tiny", resources=both("64Mi"))
    await world.a_run("large-1", "large", priority=9)
    waiting = await world.run_is("large-1", "Pending", "NoPoolFits")
    assert f'WorkPool "{small}" takes pods of memory 1Gi at most, 4Gi asked' in waiting["message"]
    await world.a_run("tiny-1", "tiny")
    assert (await world.finished("tiny-1"))["phase"] == "Succeeded"
    await world.client.patch(f"{POOLS}/{small}", {"spec": {"maxPodResources": {"memory": "8Gi"}}})
    assert (await world.finished("large-1"))["pool"] == small


async def test_runs_queue_for_a_full_pool(world: World, pools: Pools) -> None:
    """The pool tells who is in it and who waits; the next one starts when one ends."""
    narrow = await pools.create("narrow", capacity={"runs": 1})
    world.puppet.script = lambda pod: Runs(on_term=Ends(message=report()))
    world.operator.start()
    await world.a_flow(resources=both("64Mi"))
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Running")
    await world.a_run("etl-2")
    await world.run_is("etl-2", "Pending", "WaitingForPool")
    assert (await pools.until(narrow, active=1, queued=1))["requested"] == {"memory": "64Mi"}
    world.puppet.end("etl-1-1")
    await world.run_is("etl-2", "Running")
    world.puppet.end("etl-2-1")
    await pools.until(narrow, active=0, queued=0)
    assert world.puppet.most_live == 1


async def test_a_run_falls_over_to_the_next_pool_when_its_own_has_no_node(world: World, pools: Pools) -> None:
    """No retry is spent on it, status and an Event say what happened; the pool without nodes says so too."""
    empty = await pools.create("empty", **NOWHERE, scheduleTimeoutSeconds=6, pricing={"cpuHour": 0})
    there = await pools.create("there", pricing={"cpuHour": 1})
    world.operator.start()
    await world.a_flow(infrastructureRetries={"limit": 0})
    await world.a_run("etl-1")
    status = await world.finished("etl-1")

    assert [(a["reason"], a["pool"]) for a in status["attempts"]] == [("PoolUnavailable", empty), ("Succeeded", there)]
    assert status["phase"] == "Succeeded"
    assert f'the next attempt goes to "{there}"' in status["attempts"][0]["message"]
    assert "PoolUnavailable" in {reason for reason, _ in await world.events("etl-1")}
    assert condition(await pools.status(empty), "Ready") == ("Unknown", "NoNodes")
    assert world.puppet.most_live == 1


async def test_a_run_without_a_node_goes_to_a_pool_that_is_added_later(world: World, pools: Pools) -> None:
    """Until then it waits in its own, and says that no node takes it."""
    empty = await pools.create("empty", **NOWHERE, scheduleTimeoutSeconds=1)
    world.operator.start()
    await world.a_flow()
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Pending", "Unschedulable")
    there = await pools.create("there")
    status = await world.finished("etl-1")
    assert [attempt["pool"] for attempt in status["attempts"]] == [empty, there]


async def test_a_run_killed_for_want_of_memory_goes_on_in_a_larger_pool(world: World, pools: Pools) -> None:
    """Half as much again, request and limit; the cheaper pool does not take that any more."""
    small = await pools.create("small", maxPodResources={"memory": "1Gi"}, pricing={"perHour": 0.1})
    large = await pools.create("large", maxPodResources={"memory": "8Gi"}, pricing={"perHour": 0.9})
    world.puppet.script = lambda pod: Ends(137, reason="OOMKilled") if pool_of(pod) == small else Ends(message=report())
    world.operator.start()
    await world.a_flow(resources=both("1Gi"), infrastructureRetries={"limit": 1, **QUICK})
    await world.a_run("etl-1")
    status = await world.finished("etl-1")

    assert [(a["reason"], a["pool"]) for a in status["attempts"]] == [("OOMKilled", small), ("Succeeded", large)]
    assert memory_of(await world.pod("etl-1-2")) == {"requests": "1536Mi", "limits": "1536Mi"}


async def test_a_run_tells_what_it_has_cost_in_each_of_its_pools(world: World, pools: Pools) -> None:
    """A dollar a second in the small one and two in the large one, from when the node took the pod to its end."""
    small = await pools.create("small", maxPodResources={"memory": "1Gi"}, pricing={"perHour": 3600})
    await pools.create("large", maxPodResources={"memory": "1536Mi"}, pricing={"perHour": 7200})
    world.puppet.script = lambda pod: (
        Ends(137, reason="OOMKilled", after_s=2) if pool_of(pod) == small else Ends(message=report(), after_s=2)
    )
    world.operator.start()
    await world.a_flow(resources=both("1Gi"), infrastructureRetries={"limit": 1, **QUICK})
    await world.a_run("etl-1")
    status = await world.finished("etl-1")

    costs = [Cost.model_validate(attempt["cost"]) for attempt in status["attempts"]]
    assert {cost.currency for cost in costs} == {"USD"}
    assert 1 <= costs[0].exact <= costs[1].exact / 2 + 2
    assert Cost.model_validate(status["cost"]).exact == sum(cost.exact for cost in costs)


async def test_a_flow_learns_its_size_from_its_runs(world: World) -> None:
    """After three runs the next one asks for what they used, with headroom; a new operator knows it too."""
    world.puppet.script = lambda _pod: Ends(message=report(usage={"maxMemoryBytes": 100 * 2**20, "cpuSeconds": 0.1}))
    world.operator.start()
    await world.a_flow(autosize={}, resources=both("1Gi"))
    for number in range(3):
        await world.a_run(f"etl-{number}")
        await world.finished(f"etl-{number}")

    async def learnt() -> dict[str, Any] | None:
        autosize = (await world.status("Flow", "etl")).get("autosize") or {}
        return autosize if autosize.get("memory") else None

    assert (await eventually(learnt, what="three samples are learnt"))["memory"] == "128Mi"
    world.operator.restart()
    await world.a_run("etl-9")
    assert memory_of(await world.pod("etl-9-1")) == {"requests": "128Mi", "limits": "1Gi"}


async def test_a_run_with_a_gpu_goes_to_the_tainted_node_that_has_one(
    world: World, pools: Pools, local_node: Any
) -> None:
    """The pool's labels and tolerations lead there; others stay away from it, and the GPU is held by one at a time."""
    kind = {"headrace.dev/test-kind": world.namespace}
    node = await local_node(labels=kind, taints=["nvidia.com/gpu=present:NoSchedule"], capacity={"nvidia.com/gpu": "1"})
    await pools.create("cpu", pricing={"cpuHour": 0}, maxPodResources={"cpu": "4"})
    gpu = await pools.create(
        "gpu",
        nodeSelector=kind,
        tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists"}],
        maxPodResources={"cpu": "4", "nvidia.com/gpu": "1"},
        capacity={"resources": {"nvidia.com/gpu": "1"}},
        pricing={"perHour": 3},
    )
    world.puppet.script = lambda _pod: None
    world.operator.start()
    train = {"image": "local", "command": ["python", "-c", "print('trained')"]}
    await world.a_flow("train", **train, resources={"limits": {"nvidia.com/gpu": 1}})
    await world.a_run("train-1", "train")
    await world.a_run("train-2", "train")
    ended = [await world.finished("train-1"), await world.finished("train-2")]

    assert [(status["phase"], status["pool"], status["attempts"][0]["node"]) for status in ended] == [
        ("Succeeded", gpu, node)
    ] * 2
    starts = sorted((status["attempts"][0]["startedAt"], status["attempts"][0]["finishedAt"]) for status in ended)
    assert starts[0][1] <= starts[1][0]

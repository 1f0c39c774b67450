"""Runs held to ConcurrencyLimits on the real API server: who runs, who waits, what its Leases and its status say."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from headrace import slots
from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.errors import NotFound
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition

LIMITS = f"/apis/{API_VERSION}/concurrencylimits"


class Limit:
    """One ConcurrencyLimit, of a name that no other test has, and its Leases in the operator's namespace."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.name = f"db-{uuid.uuid4().hex[:6]}"
        self._client = world.client

    async def apply(self, **spec: Any) -> None:
        body = {"apiVersion": API_VERSION, "kind": "ConcurrencyLimit", "metadata": {"name": self.name}, "spec": spec}
        await self._client.create(LIMITS, body)

    async def resize(self, count: int) -> None:
        await self._client.patch(f"{LIMITS}/{self.name}", {"spec": {"slots": count}})

    async def delete(self) -> None:
        with suppress(NotFound):
            await self._client.delete(f"{LIMITS}/{self.name}")

    async def status(self) -> dict[str, Any]:
        return (await self._client.get(f"{LIMITS}/{self.name}")).get("status") or {}

    async def leases(self) -> list[dict[str, Any]]:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.world.namespace}/leases"
        return await self._client.list(path, {"labelSelector": f"{slots.LIMIT_LABEL}={self.name}"})

    async def holders(self) -> list[str]:
        """Of its slots, "" for a free one."""
        return [slots.holder_of(each) for each in await self.leases() if ".slot-" in each["metadata"]["name"]]

    async def until(self, held: int, free: int) -> None:
        """So many slots are held, and so many are free."""

        async def look() -> bool:
            holders = await self.holders()
            return (len(holders) - holders.count(""), holders.count("")) == (held, free)

        await eventually(look, what=f"{held} slots of {self.name} are held and {free} are free")

    async def told(self, *, ready: str | None = None, **expected: Any) -> dict[str, Any]:
        """The status, once it says this; `ready` is the reason of its condition Ready."""

        async def look() -> dict[str, Any] | None:
            status = await self.status()
            is_so = expected.items() <= status.items() and ready in {None, condition(status, "Ready")[1]}
            return status if is_so else None

        return await eventually(look, what=f"the status of {self.name} says {expected}, {ready}")


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    """Its pods run until they are told to end."""
    script = lambda _pod: Runs(Ends(message=report()))  # noqa: E731 - the puppet's script, in one line
    async with a_world(client, kubeconfig, namespace, tmp_path, script=script, status_delay_s=0.2) as made:
        yield made


@pytest.fixture
async def limit(world: World) -> AsyncIterator[Limit]:
    """Not applied yet."""
    made = Limit(world)
    try:
        yield made
    finally:
        await made.delete()


async def started(world: World, count: int) -> list[str]:
    """The pods that live, once there are so many."""

    async def look() -> list[str] | None:
        return sorted(world.puppet.live.values()) if len(world.puppet.live) == count else None

    return await eventually(look, what=f"{count} pods run")


async def end_all(world: World, runs: list[str]) -> None:
    """Have each pod end as soon as it runs, until all these runs are over."""
    for run in runs:
        world.puppet.end(f"{run}-1")
    for run in runs:
        assert (await world.finished(run))["phase"] == "Succeeded"


async def test_two_flows_share_the_slots_of_one_limit(world: World, limit: Limit, kubectl: Any) -> None:
    """Never more at work than slots; the others say what they wait for; in the end every slot is free."""
    await limit.apply(slots=2)
    runs = []
    for flow in ("extract", "load"):
        await world.a_flow(flow, limits=[{"name": limit.name}])
        runs += [(await world.a_run(f"{flow}-{number}", flow))["metadata"]["name"] for number in range(3)]
    await started(world, 2)
    status = await limit.told(active=2, waiting=4)
    waiting = next(run for run in runs if f"{run}-1" not in world.puppet.started)
    told = await world.run_is(waiting, "Pending", "WaitingForLimit")
    table = kubectl("get", "cl", limit.name).stdout.splitlines()

    assert {each["holder"] for each in status["holders"]} == {
        f"run/{world.namespace}/{pod.removesuffix('-1')}" for pod in world.puppet.live.values()
    }
    assert limit.name in told["message"]
    assert table[0].split() == ["NAME", "USED", "SLOTS", "WAITING", "RATE", "PER", "AGE"]
    assert table[1].split()[:4] == [limit.name, "2", "2", "4"]
    await end_all(world, runs)
    await limit.until(held=0, free=2)
    assert (await limit.told(active=0, waiting=0))["holders"] == []
    assert world.puppet.most_live == 2


async def test_a_limit_is_made_smaller_and_larger_while_it_is_held(world: World, limit: Limit) -> None:
    """Whoever holds a slot keeps it; nobody new comes in until there is room; then as many as there are to be."""
    await limit.apply(slots=3)
    await world.a_flow(limits=[{"name": limit.name}])
    runs = [f"etl-{number}" for number in range(6)]
    for run in runs[:3]:
        await world.a_run(run)
    first = await started(world, 3)
    await limit.resize(1)

    async def is_closed() -> bool:
        return all(slots.CLOSED_ANNOTATION in each["metadata"]["annotations"] for each in await limit.leases())

    await eventually(is_closed, what="every slot is closed")
    assert condition(await limit.told(active=3, ready="Resizing"), "Ready") == ("False", "Resizing")
    for run in runs[3:]:
        await world.a_run(run)
    for pod in first[:2]:
        world.puppet.end(pod)
        await world.finished(pod.removesuffix("-1"))
    await limit.until(held=1, free=0)
    assert condition(await limit.told(active=1, ready="Ready"), "Ready") == ("True", "Ready")
    assert sorted(world.puppet.live.values()) == first[2:]

    await limit.resize(3)
    await started(world, 3)
    await end_all(world, runs)
    await limit.until(held=0, free=3)


async def test_a_limit_that_is_deleted_and_made_anew_knows_its_holders(world: World, limit: Limit) -> None:
    """They count against the new one; when it is deleted for good, its last Lease goes with its last holder."""
    await limit.apply(slots=2)
    await world.a_flow(limits=[{"name": limit.name}])
    await world.a_run("etl-1")
    await started(world, 1)
    await limit.delete()
    await limit.until(held=1, free=0)
    await world.a_run("etl-2")
    await world.run_is("etl-2", "Pending", "LimitNotFound")
    await limit.apply(slots=1)
    await world.run_is("etl-2", "Pending", "WaitingForLimit")
    assert world.puppet.started == ["etl-1-1"]

    await end_all(world, ["etl-1", "etl-2"])
    await limit.delete()
    await limit.until(held=0, free=0)


async def test_a_selector_holds_runs_that_name_nothing(world: World, limit: Limit) -> None:
    """By the labels of a run or of its Flow; others pass by."""
    await limit.apply(slots=1, selector={"matchLabels": {"database": limit.name}})
    flow = await world.a_flow("labelled")
    flow_path = world.path("Flow", flow["metadata"]["name"])
    await world.client.patch(flow_path, {"metadata": {"labels": {"database": limit.name}}})
    await world.a_flow("plain")
    await world.a_run("labelled-1", "labelled")
    await started(world, 1)
    body = {"apiVersion": API_VERSION, "kind": "FlowRun", "spec": {"flowRef": {"name": "plain"}}}
    await world.client.create(
        world.path("FlowRun"), {**body, "metadata": {"name": "plain-1", "labels": {"database": limit.name}}}
    )
    await world.a_run("plain-2", "plain")

    assert await started(world, 2) == ["labelled-1-1", "plain-2-1"]
    await world.run_is("plain-1", "Pending", "WaitingForLimit")
    await end_all(world, ["labelled-1", "plain-1", "plain-2"])
    await limit.until(held=0, free=1)


async def test_a_rate_bounds_the_starts_in_any_stretch_of_time(world: World, limit: Limit) -> None:
    """Every start is noted before its pod is made; a rate alone has no slots."""
    window_s = 3
    world.puppet.script = lambda _pod: Ends(message=report())
    await limit.apply(rate={"count": 2, "perSeconds": window_s})
    await world.a_flow(limits=[{"name": limit.name}])
    runs = [f"etl-{number}" for number in range(5)]
    for run in runs:
        await world.a_run(run)
    noted: set[int] = set()
    finished = asyncio.gather(*(world.finished(run) for run in runs))
    while not finished.done():
        noted |= {start for each in await limit.leases() for start in slots.starts_of(each)}
        await asyncio.sleep(0.1)
    await finished
    noted |= {start for each in await limit.leases() for start in slots.starts_of(each)}
    times = sorted(noted)

    assert await limit.holders() == []
    assert times[-1] - times[0] >= 2 * window_s * 1000
    assert not [start for start, third in zip(times, times[2:], strict=False) if third - start < window_s * 1000]

"""
What a finished run costs the operator while many wait: `python -m bench queue`.

Ten runs are active and N wait, for the slots of a ConcurrencyLimit or for those of their Deployment. One run after the other
ends, and for each a new one joins the queue, so that N stays as it is. The work must not grow with N.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from bench.figures import Figure, tell
from bench.operator import cpu_s
from bench.plane import on_a_plane
from headrace.api.keys import API_VERSION
from headrace.devcluster import plane
from headrace.devcluster.crds import install_definitions
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from tests.cluster.support.audit import read
from tests.cluster.support.puppet import Ends, Pod, Puppet, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

WAITING = (100, 1_000, 10_000)
SLOTS = 10
ENDED_RUNS = 300
GROWTH_BUDGET = 1.5
"""From the shortest queue to the longest."""
CREATED_AT_ONCE = 32
IDLE_SHARE = 0.05
"""Of a core: an operator that uses less has nothing left to do but keep its lease."""
SETTLING_S = 2.0


@dataclass(frozen=True)
class Cost:
    """What a finished run took, with this many waiting."""

    waiting: int
    cpu_ms: float
    requests: float
    launch_ms: tuple[float, ...]
    """From a run's end to the pod of the next one."""


class Launches:
    """The pods of one namespace in the order in which they are seen, with the time of each."""

    def __init__(self, puppet: Puppet) -> None:
        self.live: deque[str] = deque()
        self._seen: asyncio.Queue[float] = asyncio.Queue()
        self._known: set[str] = set()
        self._passed_on = puppet.seen
        puppet.seen = self._note  # type: ignore[method-assign]

    async def next(self) -> float:
        """When the next one was seen, on this process's monotonic clock."""
        return await self._seen.get()

    def _note(self, pod: Pod) -> None:
        if pod["metadata"]["uid"] not in self._known:
            self._known.add(pod["metadata"]["uid"])
            self.live.append(pod["metadata"]["name"])
            self._seen.put_nowait(time.perf_counter())
        self._passed_on(pod)


def until_told(_: Pod) -> Runs:
    """A pod that ends well when it is told to."""
    return Runs(Ends(message=report()))


async def by_deployment(world: World) -> dict[str, Any]:
    """Runs wait for their Deployment. Returns the spec of a run."""
    await world.a_flow()
    await world.create("Deployment", "daily", flowRef={"name": "etl"}, concurrency={"limit": SLOTS})
    return {"deploymentRef": {"name": "daily"}}


async def by_limit(world: World) -> dict[str, Any]:
    """Runs wait for a ConcurrencyLimit. Returns the spec of a run."""
    name = f"db-{world.namespace}"
    limit = {
        "apiVersion": API_VERSION,
        "kind": "ConcurrencyLimit",
        "metadata": {"name": name},
        "spec": {"slots": SLOTS},
    }
    await world.client.create(f"/apis/{API_VERSION}/concurrencylimits", limit)
    await world.a_flow(limits=[{"name": name}])
    return {"flowRef": {"name": "etl"}}


QUEUES: dict[str, Callable[[World], Awaitable[dict[str, Any]]]] = {
    "deployment": by_deployment,
    "limit": by_limit,
}


async def cost(world: World, run_spec: dict[str, Any], waiting: int, audit_log: Path) -> Cost:
    """Fills the queue, waits until the operator rests, and lets runs end one after the other."""
    launches = Launches(world.puppet)
    gate = asyncio.Semaphore(CREATED_AT_ONCE)

    async def add(number: int) -> None:
        async with gate:
            await world.a_run(f"run-{number}", **run_spec)

    await asyncio.gather(*(add(number) for number in range(waiting + SLOTS)))
    for _ in range(SLOTS):
        await launches.next()
    await _rests(world.operator.pid)
    began_cpu_s, began_at = cpu_s(world.operator.pid), audit_log.stat().st_size  # noqa: ASYNC240 - one call
    launch_ms = []
    for number in range(ENDED_RUNS):
        await add(waiting + SLOTS + number)
        began = time.perf_counter()
        world.puppet.end(launches.live.popleft())
        launch_ms.append((await launches.next() - began) * 1e3)
    await asyncio.sleep(SETTLING_S)
    used_ms = (cpu_s(world.operator.pid) - began_cpu_s) * 1e3
    asked = sum(1 for request in read(audit_log, since=began_at) if request.operator)
    return Cost(waiting, used_ms / ENDED_RUNS, asked / ENDED_RUNS, tuple(launch_ms))


async def _rests(pid: int) -> None:
    async def look() -> bool:
        before = cpu_s(pid)
        await asyncio.sleep(SETTLING_S)
        return cpu_s(pid) - before < IDLE_SHARE * SETTLING_S

    await eventually(look, within_s=600, what="the operator rests")


def show(queue: str, costs: list[Cost]) -> int:
    """Prints a table. Returns 1 if the longest queue costs too much more than the shortest."""
    print(f"\n{SLOTS} slots of a {queue}; {ENDED_RUNS} runs end, one after the other")
    print(f"{'waiting':>9}{'CPU ms/run':>13}{'requests/run':>14}{'next pod ms p50':>17}{'p99':>9}")
    for each in costs:
        p50, p99 = median(each.launch_ms), quantiles(each.launch_ms, n=100)[98]
        print(f"{each.waiting:>9,}{each.cpu_ms:>13.2f}{each.requests:>14.2f}{p50:>17.1f}{p99:>9.1f}")
    cpu, requests = costs[-1].cpu_ms / costs[0].cpu_ms, costs[-1].requests / costs[0].requests
    longer = f"from {costs[0].waiting:,} to {costs[-1].waiting:,} waiting for a {queue}"
    return tell(
        Figure(f"CPU a run, {longer}", cpu, "times", GROWTH_BUDGET),
        Figure(f"requests a run, {longer}", requests, "times", GROWTH_BUDGET),
    )


async def _measure(started: plane.Plane, folder: Path) -> int:
    assert started.audit_log is not None
    worst = 0
    async with KubeClient(load_connection(str(started.kubeconfig)), user_agent="headrace-bench") as client:
        await install_definitions(client)
        for queue, prepare in QUEUES.items():
            costs = []
            for waiting in WAITING:
                namespace = f"{queue}-{waiting}"
                await client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
                async with a_world(client, started.kubeconfig, namespace, folder, log_level="warning") as world:
                    world.puppet.script = until_told
                    costs.append(await cost(world, await prepare(world), waiting, started.audit_log))
            worst = max(worst, show(queue, costs))
    return worst


def main() -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    return on_a_plane(_measure)


if __name__ == "__main__":
    sys.exit(main())

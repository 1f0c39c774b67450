"""
How long nothing is started when the leader goes: `python -m bench takeover`.

Two replicas on a real API server, with 1,000 runs that have not ended. The leader is killed, and told to stop in another
round; at that instant a run is created, and the time counts until its pod is there.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path

from bench.figures import Figure, tell
from bench.plane import on_a_plane
from headrace.devcluster import plane
from headrace.devcluster.crds import install_definitions
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace_operator.settings import Settings
from tests.cluster.support.puppet import Puppet, Runs
from tests.cluster.support.replicas import Replicas
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World

UNFINISHED = 1000
AT_ONCE = 16
ROUNDS = 3
CRASH_BUDGET_S = 15.0
STOP_BUDGET_S = 2.0
NAMESPACE = "bench"
LEASE_S = float(Settings.model_fields["leader_lease_s"].default)


async def _fill(world: World) -> None:
    """Runs of which a tenth is under way and the others wait for their Deployment."""
    concurrency = {"limit": UNFINISHED // 10, "onConflict": "Queue"}
    await world.create("Deployment", "busy", flowRef={"name": "etl"}, concurrency=concurrency)
    gate = asyncio.Semaphore(AT_ONCE)

    async def create(number: int) -> None:
        async with gate:
            await world.a_run(f"busy-{number}", deploymentRef={"name": "busy"})

    await asyncio.gather(*(create(number) for number in range(UNFINISHED)))

    async def busy() -> bool:
        return len(await world.pods()) >= UNFINISHED // 10

    await eventually(busy, within_s=180, what="as many run as may")


async def _takeover(world: World, replicas: Replicas, number: int, sign: signal.Signals) -> float:
    """Seconds from the signal to the first pod."""
    await replicas.until_led(world.client)
    leader = await replicas.leader(world.client)
    await asyncio.sleep(LEASE_S / 4)  # the other one has its watch
    name = f"{sign.name.lower()}-{number}"
    began = time.perf_counter()
    os.kill(replicas[leader].pid, sign)  # before the run exists: or the old leader may be quick enough to launch it
    stopping = asyncio.create_task(
        asyncio.to_thread(replicas[leader].kill if sign is signal.SIGKILL else replicas[leader].stop)
    )
    await world.a_run(name)

    async def launched() -> bool:
        return f"{name}-1" in world.puppet.started

    await eventually(launched, within_s=60, what="a pod of the next leader")
    took_s = time.perf_counter() - began
    await stopping
    replicas.start()
    print(f"  {sign.name} {number + 1}: {took_s:.2f} s", flush=True)
    return took_s


async def _measure(started: plane.Plane, folder: Path) -> int:
    async with KubeClient(load_connection(str(started.kubeconfig)), user_agent="headrace-bench") as client:
        await install_definitions(client)
        await client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        async with Puppet(client, NAMESPACE, lambda _pod: Runs()) as puppet:
            replicas = Replicas(
                started.kubeconfig,
                folder,
                served=NAMESPACE,
                home=NAMESPACE,
                identities=("left", "right"),
                lease_s=LEASE_S,
                log_level="info",
            )
            world = World(client, NAMESPACE, replicas["left"], puppet)
            try:
                replicas.start()
                await replicas.until_led(client)
                await world.a_flow()
                await _fill(world)
                stops = [await _takeover(world, replicas, number, signal.SIGTERM) for number in range(ROUNDS)]
                kills = [await _takeover(world, replicas, number, signal.SIGKILL) for number in range(ROUNDS)]
            finally:
                replicas.kill()
    return tell(
        Figure("leader killed to first launch", max(kills), "s", CRASH_BUDGET_S),
        Figure("leader told to stop to first launch", max(stops), "s", STOP_BUDGET_S),
    )


def main() -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    return on_a_plane(_measure)


if __name__ == "__main__":
    sys.exit(main())

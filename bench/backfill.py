"""
A large backfill with the operator killed ten times in it: `python -m bench backfill [--partitions N] [--real | --simulated]`.

    --real       a control plane of its own, and a node that ends pods at once; 20,000 partitions unless told otherwise
    --simulated  API and nodes in memory, in one process with the operator, pods that start within a second or so of simulated time;
                 300,000 partitions unless told otherwise

Without either, both, one after the other. Each tells how often every partition was run, how much of headrace is in the API at most, and how memory goes.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from bench.figures import Figure, tell
from bench.plane import on_a_plane
from headrace.devcluster import plane
from headrace.devcluster.crds import install_definitions
from headrace.kubeapi.client import KubeClient
from headrace.kubeapi.config import load_connection
from headrace_operator.settings import Settings
from headrace_operator.telemetry.logging import configure_logging
from tests.cluster.support.world import World, a_world
from tests.simulated import timeless
from tests.simulated.cluster import INLINE, PLURALS, Cluster, a_cluster
from tests.simulated.faults import CALM
from tests.simulated.replica import Replica
from tests.simulated.store import Change

PARTITIONS = 20_000
SIMULATED_PARTITIONS = 300_000
MAX_ACTIVE = 200
KILLS = 10
OBJECTS_BUDGET_MIB = 64.0
GROWTH_BUDGET_MIB = 24.0
"""From a fifth of the partitions to the end. Outcomes take one bit each, a hundred thousand of them 12 KiB."""
NAMESPACE = "bench"
MIB = 1024 * 1024
SAMPLE_S = 5.0
WINDOW = 2_000
"""Changes of a kind that the simulated API remembers: what it holds is in the memory that is told."""
BEGINS_IN_S = (0.5, 1.5)
"""From a pod's creation to its start, simulated: where it took no time, 200 at once would be thousands a second, and their names are
held for seconds after they have ended."""
ENDED = frozenset({"Succeeded", "Failed", "Cancelled"})


class Census:
    """Counts how often each run was made, and how much there is at once, from what the store of a simulated API sees."""

    def __init__(self, cluster: Cluster) -> None:
        self.made: Counter[str] = Counter()
        self.most_bytes = 0
        self.most_runs = 0
        self._bytes = 0
        self._runs = 0
        self._flow_run = PLURALS["FlowRun"]
        cluster.store.observers.append(self._observe)

    def tell(self, partitions: int) -> None:
        """A line of how far it is."""
        told = f"{len(self.made):,} of {partitions:,}"
        _line(told, rss_mib("self"), most_bytes=self.most_bytes, most_runs=self.most_runs)

    def _observe(self, change: Change) -> None:
        if not change.kind.api_version.startswith("headrace.dev/"):
            return
        self._bytes += (len(change.after.data) if change.after else 0) - (
            len(change.before.data) if change.before else 0
        )
        self.most_bytes = max(self.most_bytes, self._bytes)
        if change.kind is self._flow_run:
            self._runs += (change.after is not None) - (change.before is not None)
            self.most_runs = max(self.most_runs, self._runs)
            if change.before is None:
                self.made[change.key[1]] += 1


def a_backfill(partitions: int) -> dict[str, Any]:
    """The spec of one with so many partitions, a minute each."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(partitions * 60))
    return {
        "deploymentRef": {"name": "nightly"},
        "partitions": {"range": {"from": "1970-01-01T00:00:00Z", "to": ends, "intervalSeconds": 60}},
        "maxActive": MAX_ACTIVE,
    }


def verdict(made: Counter[str], status: dict[str, Any], partitions: int, *, most_bytes: int) -> list[Figure]:
    """What must hold, whichever way it was run."""
    wrong = abs(partitions - len(made)) + sum(count != 1 for count in made.values())
    unfit = partitions - status.get("succeeded", 0)
    return [
        Figure("partitions not run exactly once", wrong, "", 0),
        Figure("partitions without the outcome Succeeded", unfit, "", 0),
        Figure("headrace objects in the API at most", most_bytes / MIB, "MiB", OBJECTS_BUDGET_MIB),
    ]


# Simulated


async def simulated(partitions: int) -> int:
    """All of it in this process, where waiting takes no time."""
    cluster = a_cluster(begins_in_s=partial(random.Random(5).uniform, *BEGINS_IN_S))
    cluster.store.window = WINDOW
    cluster.store.create(PLURALS["Namespace"], "", {"metadata": {"name": NAMESPACE}}, agent="bench")
    await cluster.make("Flow", "etl", NAMESPACE, INLINE)
    await cluster.make("Deployment", "nightly", NAMESPACE, {"flowRef": {"name": "etl"}})
    census = Census(cluster)
    replica = Replica(cluster, "bench", CALM, random.Random(7))
    replica.start()
    began_s, cpu_s = time.monotonic(), time.process_time()
    await cluster.make("Backfill", "bf", NAMESPACE, a_backfill(partitions))
    dice = random.Random(11)
    deaths = sorted(dice.sample(range(partitions // 20, partitions), KILLS))
    shown = 0
    while True:
        await asyncio.sleep(0.05)
        if deaths and len(census.made) >= deaths[0]:
            deaths.pop(0)
            replica.kill()
            _hang_up(cluster)
        status = _status(cluster)
        if status.get("phase") in ENDED:
            break
        if len(census.made) >= shown:
            shown += partitions // 5
            census.tell(partitions)
    census.tell(partitions)
    cpu_ms = (time.process_time() - cpu_s) / partitions * 1e3
    print(
        f"{partitions:,} partitions in {time.monotonic() - began_s:.0f} s, {cpu_ms:.2f} ms of CPU each, simulated API included"
    )
    print(
        f"{KILLS - len(deaths)} kills; status: {len(orjson.dumps(status)):,} bytes; problems of operators: {replica.problems or 'none'}"
    )
    await replica.end()
    return tell(*verdict(census.made, status, partitions, most_bytes=census.most_bytes))


def _hang_up(cluster: Cluster) -> None:
    """The connections of a dead process are closed: nothing is kept for it any more."""
    for watches in cluster.store._watches.values():  # noqa: SLF001 - a store has no other owner of watches
        for watch in list(watches):
            cluster.store.unwatch(watch)


def _status(cluster: Cluster) -> dict[str, Any]:
    return cluster.statuses("Backfill")[NAMESPACE, "bf"]


# Real


async def _measure(started: plane.Plane, folder: Path, partitions: int) -> int:
    async with KubeClient(load_connection(str(started.kubeconfig)), user_agent="headrace-bench") as client:
        await install_definitions(client)
        await client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        async with a_world(client, started.kubeconfig, NAMESPACE, folder, log_level="warning") as world:
            await world.a_flow()
            await world.create("Deployment", "nightly", flowRef={"name": "etl"})
            await world.create("Backfill", "bf", **a_backfill(partitions))
            return await _watched(world, partitions)


async def _watched(world: World, partitions: int) -> int:
    began_s = time.monotonic()
    dice = random.Random(11)
    deaths = sorted(dice.sample(range(partitions // 20, partitions), KILLS))
    most_bytes, most_runs, shown = 0, 0, 0
    memory: list[tuple[int, float]] = []
    while (status := await world.status("Backfill", "bf")).get("phase") not in ENDED:
        await asyncio.sleep(SAMPLE_S)
        over = len(world.puppet.started)
        runs, size = await _stock(world)
        most_bytes, most_runs = max(most_bytes, runs * size), max(most_runs, runs)
        if not world.operator.runs:  # it could not renew its lease in time; a cluster starts its pod anew
            print(f"the operator ended by itself, with code {world.operator.exit_code}", flush=True)
            world.operator.start()
        memory.append((over, rss_mib(str(world.operator.pid))))
        if deaths and over >= deaths[0]:
            deaths.pop(0)
            world.operator.restart()
        if over >= shown:
            shown += partitions // 10
            _line(f"{over:,} of {partitions:,}", memory[-1][1], most_bytes=most_bytes, most_runs=most_runs)
    took_s = time.monotonic() - began_s
    print(
        f"{partitions:,} partitions and {KILLS - len(deaths)} kills in {took_s:.0f} s, {partitions / took_s:.1f} a second "
        "on cores that all parts share"
    )
    made = Counter(name.rpartition("-")[0] for name in world.puppet.started)
    early = max((mib for over, mib in memory if over <= partitions // 5), default=0.0)
    growth = Figure("growth of the operator's memory", max(mib for _, mib in memory) - early, "MiB", GROWTH_BUDGET_MIB)
    return tell(*verdict(made, status, partitions, most_bytes=most_bytes), growth)


async def _stock(world: World) -> tuple[int, int]:
    """How many FlowRuns there are, and the size of one of them in bytes."""
    page = await world.client.request("GET", world.path("FlowRun"), params={"limit": "1"})
    items = page["items"]
    count = len(items) + int(page["metadata"].get("remainingItemCount") or 0)
    return count, len(orjson.dumps(items[0])) if items else 0


def rss_mib(pid: str) -> float:
    """Resident memory of a process."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return int(fields[1]) * 4096 / MIB


def _line(told: str, rss: float, *, most_bytes: int, most_runs: int) -> None:
    stock = f"at most {most_runs:,} FlowRuns, {most_bytes / MIB:.1f} MiB in the API"
    print(f"{told:>22} run; RSS {rss:6.1f} MiB; {stock}", flush=True)


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m bench backfill")
    parser.add_argument("--partitions", type=int, default=0)
    parser.add_argument("--simulated", action="store_true", help="only on the simulated API")
    parser.add_argument("--real", action="store_true", help="only on a real one")
    options = parser.parse_args(arguments)
    worst = 0
    if options.real or not options.simulated:
        partitions = options.partitions or PARTITIONS
        worst = on_a_plane(lambda started, folder: _measure(started, folder, partitions))
    if options.simulated or not options.real:
        configure_logging(Settings(log_level="error"))
        worst = max(worst, timeless.run(simulated(options.partitions or SIMULATED_PARTITIONS)))
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

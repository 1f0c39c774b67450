"""
One operator process against an API simulated in memory: `python -m bench simulated`.

    all features    runs of Deployments with a limit on concurrency, through a ConcurrencyLimit, into a WorkPool with a
                    capacity, in four namespaces
    shards          the same by two replicas that share sixteen namespaces, beside one process that has them all; before it is
                    measured they have some minutes of such runs at a lower pace, in which they spread the work
    limits          runs through a limit of 100 slots beside runs without one, in turn, with so many waiting all the time

Operator, API and nodes share one thread, whose CPU time is told apart by who used it: runs per second are those of the
operator alone, as of a process whose API server is on other cores. Waiting takes no time (tests/simulated/timeless.py), so
the figures are of work, whatever else the machine does; the work of sending bytes over a network is not in them, which is
what `python -m bench throughput` measures. Two replicas share the thread as well: what they would do as processes with a core
each is the rate of the one that has more to do.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from time import thread_time
from typing import Any

from bench.figures import Figure, tell
from headrace_operator.garbage import look_seldom
from headrace_operator.settings import Settings
from headrace_operator.telemetry.logging import configure_logging
from tests.cluster.support.puppet import Ends
from tests.simulated import timeless
from tests.simulated.cluster import INLINE, PLURALS, Cluster, a_cluster, an_operator, at_work, path
from tests.simulated.nodes import WELL
from tests.simulated.store import Change

RUNS = int(os.environ.get("HEADRACE_SIMULATED_RUNS", "3000"))
QUEUED_RUNS = 1000
TEAMS = ("team-a", "team-b", "team-c", "team-d")
FINISHED = frozenset({"Succeeded", "Failed", "Crashed", "Cancelled", "Skipped"})
CPU_BUDGET_MS = 2.0
"""500 runs per second."""
RATIO_BUDGET = 1.3
SHARE_BUDGET = 1 / 1.8
SHARDS = 16
TURNS = 5
"""A shared machine is faster in one minute than in the next, by half at times: what is compared takes turns."""
REPLICAS = ("left", "right")
MANY_TEAMS = tuple(f"team-{number:02}" for number in range(16))
SLOTS = 100
WAITING = (0, 1_000, 10_000)
WARM_RUNS = 100
STEADY_S = 5.0
"""All that was created has been looked at."""
SPREAD_LASTS_S = 5.0
SPREAD_WITHIN_S = 120.0
"""How long a pod runs while replicas come to share the work evenly, and for how long they have that: seconds that take no time."""


@dataclass(frozen=True)
class Cost:
    """What one run took, and the share of the runs that the replica settled which settled most."""

    operator_ms: float
    simulator_ms: float
    requests: float
    largest_share: float = 1.0

    @property
    def per_second(self) -> float:
        """Runs that end while the replica that has most to do uses a second of its core."""
        return 1000 / (self.operator_ms * self.largest_share)

    def __str__(self) -> str:
        return (
            f"operator {self.operator_ms:.3f} ms of CPU a run, simulated API and nodes {self.simulator_ms:.3f} ms, "
            f"{self.requests:.2f} requests"
        )


class Steady:
    """
    Keeps a number of unfinished runs: for each that ends, another one is created.

    Args:
        spec_of: The spec of the run of this number.
        teams: The namespaces, in turn.

    Attributes:
        settled: How many each replica has settled.
    """

    def __init__(self, cluster: Cluster, spec_of: Any, teams: tuple[str, ...]) -> None:
        self.ended = 0
        self.settled: Counter[str] = Counter()
        self._teams = teams
        self._cluster = cluster
        self._spec_of = spec_of
        self._created = 0
        self._kind = PLURALS["FlowRun"]
        self._wanted: asyncio.Queue[None] = asyncio.Queue()
        self._news = asyncio.Event()
        self.creating_s = 0.0
        cluster.store.observers.append(self._observe)

    def _observe(self, change: Change) -> None:
        if change.kind is not self._kind or change.after is None or change.before is None:
            return
        phases = [(each.obj.get("status") or {}).get("phase") for each in (change.before, change.after)]
        if phases[1] in FINISHED and phases[0] not in FINISHED:
            self.ended += 1
            self.settled[change.agent] += 1
            self._wanted.put_nowait(None)
            self._news.set()

    async def create(self) -> None:
        """One run more."""
        number = self._created
        self._created += 1
        body = {"metadata": {"name": f"run-{number}"}, "spec": self._spec_of(number)}
        await self._cluster.client().create(path("FlowRun", self._teams[number % len(self._teams)]), body)

    async def replace(self) -> None:
        """For ever."""
        while True:
            await self._wanted.get()
            await self.create()

    async def has_ended(self, count: int) -> None:
        """Returns once so many runs have ended."""
        while self.ended < count:
            self._news.clear()
            await self._news.wait()


@dataclass
class Ending:
    """How long pods run; 0 for those that end with their beginning."""

    lasts_s: float

    def of_pod(self, _: Any) -> Ends:
        """A pod's part."""
        return replace(WELL, after_s=self.lasts_s)

    @property
    def begins_in_s(self) -> Callable[[], float] | None:
        """As Nodes has it."""
        return (lambda: 0.0) if self.lasts_s else None


async def measure(
    spec_of: Any, *, unfinished: int, runs: int, lasts_s: float, teams: tuple[str, ...] = TEAMS, shards: int = 1
) -> Cost:
    """
    The cost of a run while so many are unfinished all the time.

    Args:
        lasts_s: How long a pod runs; 0 for one that ends with its beginning.
        shards: With more than one, two replicas share them.
    """
    ending = Ending(SPREAD_LASTS_S if shards > 1 else lasts_s)
    cluster = a_cluster(ending.of_pod, begins_in_s=ending.begins_in_s)
    await _prepare(cluster, teams)
    steady = Steady(cluster, spec_of, teams)
    async with AsyncExitStack() as stack:
        replicas = [
            await stack.enter_async_context(at_work(an_operator(cluster, identity=name, shards=shards)))
            for name in REPLICAS[: 2 if shards > 1 else 1]
        ]
        await asyncio.sleep(STEADY_S * shards)
        replacing = asyncio.create_task(steady.replace())
        for _ in range(unfinished):
            await steady.create()
        if shards > 1:
            await asyncio.sleep(SPREAD_WITHIN_S)
            ending.lasts_s = lasts_s
            cluster.nodes.begins_in_s = ending.begins_in_s
        if lasts_s:
            await asyncio.sleep(STEADY_S)
        await steady.has_ended(steady.ended + WARM_RUNS)
        steady.settled.clear()
        look_seldom()  # or one measurement would have a look through all that the simulated API holds, and the next one none
        before, ended = _read(cluster), steady.ended
        await steady.has_ended(ended + runs)
        cpu_s, simulated_s, requests = (now - then for now, then in zip(_read(cluster), before, strict=True))
        count = steady.ended - ended
        replacing.cancel()
        for replica in replicas:
            if replica.done():
                replica.result()
    share = max(steady.settled.values()) / steady.settled.total()
    return Cost((cpu_s - simulated_s) / count * 1e3, simulated_s / count * 1e3, requests / count - 1, share)


def _read(cluster: Cluster) -> tuple[float, float, int]:
    return thread_time(), cluster.api.cpu_s + cluster.nodes.cpu_s, cluster.api.requests


async def _prepare(cluster: Cluster, teams: tuple[str, ...]) -> None:
    limits = [{"name": "db", "slots": 1}]
    for team in teams:
        cluster.store.create(PLURALS["Namespace"], "", {"metadata": {"name": team}}, agent="bench")
        await cluster.make("Flow", "plain", team, INLINE)
        await cluster.make("Flow", "load", team, {**INLINE, "limits": limits})
        nightly = {"flowRef": {"name": "load"}, "concurrency": {"limit": 40}}
        await cluster.make("Deployment", "nightly", team, nightly)
    await cluster.make("ConcurrencyLimit", "db", "", {"slots": SLOTS})


def plain(_: int) -> dict[str, Any]:
    """Held to nothing."""
    return {"flowRef": {"name": "plain"}}


def limited(_: int) -> dict[str, Any]:
    """Through the limit."""
    return {"flowRef": {"name": "load"}}


def deployed(number: int) -> dict[str, Any]:
    """Of a Deployment and through the limit, every other one."""
    return {"deploymentRef": {"name": "nightly"}} if number // len(MANY_TEAMS) % 2 else plain(number)


async def _all_features() -> Cost:
    return await measure(deployed, unfinished=SLOTS, runs=RUNS, lasts_s=0.0)


def throughput() -> int:
    """Runs per second; 1 if there are too few."""
    bare = timeless.run(measure(plain, unfinished=SLOTS, runs=RUNS, lasts_s=0.0))
    print(f"nothing but runs:  {bare}; {1000 / bare.operator_ms:,.0f} runs/s")
    full = timeless.run(_all_features())
    print(f"all features:      {full}; {1000 / full.operator_ms:,.0f} runs/s")
    return tell(Figure("operator CPU of a run, all features, API simulated", full.operator_ms, "ms", CPU_BUDGET_MS))


def shards() -> int:
    """How many runs two replicas settle beside one process, in turn; 1 if it is too few."""
    alone, both = [], []
    for _ in range(TURNS):
        alone.append(_deployed(shards=1))
        print(f"one process:       {alone[-1]}; {alone[-1].per_second:,.0f} runs/s")
        both.append(_deployed(shards=SHARDS))
        by_one, a_second = both[-1].largest_share, both[-1].per_second
        print(f"two replicas:      {both[-1]}; {by_one:.0%} by one of them; {a_second:,.0f} runs/s")
    ratio = sum(1 / each.per_second for each in both) / sum(1 / each.per_second for each in alone)
    print(f"                   {1 / ratio:.2f} times those of one process")
    return tell(Figure("time for a run of two replicas to that of one process", ratio, "times", SHARE_BUDGET))


def _deployed(*, shards: int) -> Cost:
    of_teams = measure(deployed, unfinished=SLOTS, runs=RUNS, lasts_s=0.0, teams=MANY_TEAMS, shards=shards)
    return timeless.run(of_teams)


def limits() -> int:
    """What a limit costs, measured in turn with runs without one; 1 if it is too much."""
    free: list[Cost] = []
    held: dict[int, list[Cost]] = {waiting: [] for waiting in WAITING}
    for _ in range(TURNS):
        free.append(timeless.run(measure(plain, unfinished=SLOTS, runs=QUEUED_RUNS, lasts_s=1.0)))
        print(f"no limit:                        {free[-1]}")
        for waiting, costs in held.items():
            costs.append(timeless.run(measure(limited, unfinished=SLOTS + waiting, runs=QUEUED_RUNS, lasts_s=1.0)))
            print(f"a limit of {SLOTS}, {waiting:>6,} waiting: {costs[-1]}")
    return tell(
        *(
            Figure(
                f"CPU of a run through a limit, {waiting:,} waiting, to one without",
                sum(each.operator_ms for each in costs) / sum(each.operator_ms for each in free),
                "times",
                RATIO_BUDGET,
            )
            for waiting, costs in held.items()
        )
    )


def main() -> int:
    """Prints the figures. Returns 1 if a budget is exceeded."""
    configure_logging(Settings(log_level="error"))
    look_seldom()
    return max(throughput(), shards(), limits())


if __name__ == "__main__":
    sys.exit(main())

"""
Many runs under one kind of fault, and what went wrong: nothing, if the operator is right.

    a workload ──> operators that are killed, stopped, misled ──> the fault ends, all settles ──> what the store saw is judged
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from headrace_operator.wiring import Operator
from tests.cluster.support import violations
from tests.cluster.support.sharded import written_for_others
from tests.simulated import timeless
from tests.simulated.cluster import HOME, PLURALS, Cluster, a_cluster, loop_clock, loop_time, path
from tests.simulated.faults import CALM, Faults
from tests.simulated.judge import Judge, left_behind, never_twice
from tests.simulated.replica import Replica
from tests.simulated.workload import Planned, planned, play, prepare, rates_of, slots_of

BACKLOG = 60
"""Runs that have not ended, at most."""
NODE_NAMES = ("node-0", "node-1", "node-2")
WITHIN_S = 4 * 3600.0
"""Of the loop's time: what takes longer is taken for lost."""
SETTLING_S = 120.0


@dataclass(frozen=True)
class Scene:
    """What a fault of the world, rather than of the network, may act on."""

    cluster: Cluster
    replicas: tuple[Replica, ...]
    dice: random.Random


Havoc = Callable[[Scene], Awaitable[None]]
"""Goes on until it is cancelled."""
Mutation = Callable[[Operator], None]
"""Breaks an operator, to see that it is found out."""


@dataclass(frozen=True)
class Trial:
    """
    One kind of fault.

    Attributes:
        replicas: Operators at once.
        shards: How many they share; 1 where one of them leads.
        is_timed: Whether the operators' clock is right, so that starts are noted for the time at which they are.
    """

    faults: Faults = CALM
    havoc: Havoc | None = None
    replicas: int = 1
    shards: int = 1
    is_timed: bool = True


@dataclass(frozen=True)
class Verdict:
    """What came of it. `found` is empty if all is well."""

    found: Mapping[str, list[str]]
    faults: int
    runs: int
    took_s: float
    """Of the loop's time."""
    judge: Judge = field(repr=False)

    def __str__(self) -> str:
        told = "; ".join(f"{what}: {len(lines)}, such as {lines[0]}" for what, lines in self.found.items())
        return f"{self.runs} runs in {self.took_s:.0f} s of their own time, {self.faults} faults: {told or 'nothing'}"


def tried(trial: Trial, runs: int, *, seed: int = 1, mutation: Mutation | None = None) -> Verdict:
    """The verdict on so many runs; the same seed has the same things happen."""
    random.seed(seed)  # for what spreads its requests by chance
    return timeless.run(_tried(trial, [planned(number) for number in range(runs)], seed, mutation))


async def _tried(trial: Trial, runs: list[Planned], seed: int, mutation: Mutation | None) -> Verdict:
    dice = random.Random(seed)
    cluster = a_cluster(play, node_names=NODE_NAMES, begins_in_s=partial(dice.uniform, 0.01, 0.2))
    judge = Judge(lambda: loop_clock().timestamp())
    cluster.store.observers.append(judge.note)
    await prepare(cluster)
    names = ("left", "right")[: trial.replicas]
    replicas = tuple(
        Replica(cluster, name, trial.faults, dice, shards=trial.shards, mutation=mutation) for name in names
    )
    late: list[str] = []
    async with under_way(Scene(cluster, replicas, dice), trial.havoc):
        try:
            async with asyncio.timeout(WITHIN_S):
                await _create_all(cluster, judge, runs, dice)
                await judge.has_seen_end(len(runs))
        except TimeoutError:
            late = [f"{len(runs) - judge.ended} of {len(runs)} runs have not ended"]
    for replica in replicas:
        replica.calm()
    took_s = loop_time()
    await asyncio.sleep(SETTLING_S)
    for replica in replicas:
        await replica.end()
    found = {
        **_found(cluster, judge, runs, trial),
        "late": late,
        "broken operators": [p for r in replicas for p in r.problems],
    }
    count = sum(replica.faults for replica in replicas)
    return Verdict({what: lines for what, lines in found.items() if lines}, count, len(runs), took_s, judge)


@asynccontextmanager
async def under_way(scene: Scene, havoc: Havoc | None) -> AsyncIterator[None]:
    """The operators work, and what befalls the world befalls it."""
    for replica in scene.replicas:
        replica.start()
    task = asyncio.ensure_future(havoc(scene)) if havoc else None
    try:
        yield
    finally:
        if task is not None:
            if task.done():
                task.result()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _create_all(cluster: Cluster, judge: Judge, runs: list[Planned], dice: random.Random) -> None:
    for number, run in enumerate(runs):
        await judge.has_seen_end(number - BACKLOG)
        body = {"metadata": {"name": run.name}, "spec": dict(run.spec)}
        await cluster.client().create(path("FlowRun", run.team), body)
        await asyncio.sleep(dice.uniform(0, 0.05))


def _found(cluster: Cluster, judge: Judge, runs: list[Planned], trial: Trial) -> dict[str, list[str]]:
    requests = judge.requests
    store = cluster.store
    wrong = [f"{run.team}/{run.name} is {judge.phases.get((run.team, run.name))}, not {run.outcome}" for run in runs]
    return {
        "at once": judge.found,
        "outcomes": [
            line for line, run in zip(wrong, runs, strict=True) if judge.phases.get((run.team, run.name)) != run.outcome
        ],
        "two pods at once": violations.two_pods_at_once(requests),
        "run twice": never_twice(requests),
        "too many slots": violations.too_many_slots(requests, grace_s=0),
        "pods without slots": violations.pods_without_slots(requests, slots_of),
        "deployments": violations.too_many_runs_of_deployments(requests, grace_s=0),
        "pools": violations.too_many_runs_in_pools(requests, grace_s=0),
        "starts": violations.too_many_starts(requests, rates_of) if trial.is_timed else [],
        "deposed": violations.written_while_deposed(requests)
        if trial.shards == 1
        else written_for_others(requests, trial.shards, HOME),
        "left behind": left_behind(store.all(PLURALS["Lease"]), store.all(PLURALS["Pod"]).values()),
    }

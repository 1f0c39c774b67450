"""
The operator is killed at every write of a run's life, on either side of it, and started again.

First the scenario is played once without a fault, and its writes are counted; then once for each write and side,
each in a namespace of its own. The outcome must be the same every time, with one pod per attempt.
HEADRACE_CRASHES=1 leaves out all but the first write of each kind.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from headrace.slots import LIMIT_LABEL, holder_of
from tests.cluster.support.puppet import Ends, Runs, Script, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import FINISHED, World, a_world

CONCURRENCY_LIMITS = f"/apis/{API_VERSION}/concurrencylimits"
WORK_POOLS = f"/apis/{API_VERSION}/workpools"
OCCURRENCES = int(os.environ.get("HEADRACE_CRASHES", "1000"))
"""How many writes of one kind it is killed at, in each story."""
SIDE_BY_SIDE = 4
"""Scenarios at the same time: most of one is waiting for processes to start."""
STARTS_WITHIN_S = 90
"""An operator that was killed starts anew, beside others: on a busy machine that takes half a minute."""


Outcome = tuple[tuple[str, str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Scenario:
    """
    A story with runs in it.

    Args:
        play: Makes the objects; the operator runs, or has been killed, meanwhile.
        runs: How many runs there are in the end.
        outcome: What must come out, by the run's place in the order of creation.
        writes: Kinds of writes that the operator must have been killed at.
        only: Kinds at which it is killed; empty for all: those that the story shares with others are done there.
        ended: The outcome, once it is there; None until then. Absent: that of all runs.
    """

    script: Script
    play: Callable[[World], Awaitable[None]]
    outcome: Outcome
    writes: frozenset[str]
    only: frozenset[str] = frozenset()
    ended: Callable[[World], Awaitable[Outcome | None]] | None = None


def attempt_of(pod: dict[str, Any]) -> int:
    return int(pod["metadata"]["labels"]["headrace.dev/attempt"])


async def play_plain(world: World) -> None:
    await world.a_flow()
    await world.a_run("etl-1")


async def play_retry(world: World) -> None:
    await world.a_flow(
        retries={"limit": 1, "delaySeconds": 0, "jitter": 0},
        infrastructureRetries={"limit": 1, "delaySeconds": 0, "jitter": 0},
    )
    await world.a_run("etl-1")


async def play_cancel(world: World) -> None:
    await world.a_flow()
    await world.a_run("etl-1")
    await world.pod("etl-1-1", within_s=STARTS_WITHIN_S)
    await world.patch("FlowRun", "etl-1", {"cancel": True})


async def play_schedule(world: World) -> None:
    await world.a_flow()
    soon = datetime.now(UTC)
    rules = (f"DTSTART:{soon + timedelta(seconds=s):%Y%m%dT%H%M%SZ}\nRRULE:FREQ=DAILY;COUNT=1" for s in (4, 5))
    await world.create(
        "Deployment",
        "daily",
        flowRef={"name": "etl"},
        schedules=[{"name": f"once-{number}", "rrule": rule} for number, rule in enumerate(rules)],
        concurrency={"limit": 1},
    )


def only_in(world: World) -> dict[str, Any]:
    """What a cluster-scoped object of one story is called, so that the stories side by side do not meet."""
    return {"name": f"of-{world.namespace}"}


async def play_limited(world: World) -> None:
    """Two runs, each in need of every slot and of a start."""
    limit = only_in(world)
    spec = {"slots": 2, "rate": {"count": 5, "perSeconds": 60}}
    await world.client.create(CONCURRENCY_LIMITS, {**a_kind("ConcurrencyLimit"), "metadata": limit, "spec": spec})
    await world.a_flow(limits=[{**limit, "slots": 2}])
    await world.a_run("etl-1")
    await world.a_run("etl-2")


async def play_outranked(world: World) -> None:
    """A pool with one place, and a run of higher priority than the one in it."""
    pool = only_in(world)
    spec = {
        "capacity": {"runs": 1},
        "preemption": "LowerPriority",
        "namespaces": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
    }
    await world.client.create(WORK_POOLS, {**a_kind("WorkPool"), "metadata": pool, "spec": spec})
    await world.a_flow(pools={"names": [pool["name"]]})
    await world.a_run("etl-1")
    await world.pod("etl-1-1", within_s=STARTS_WITHIN_S)
    await world.a_run("etl-2", priority=5)


async def play_pause(world: World) -> None:
    """A flow that asks a person, and holds a slot that it gives back meanwhile."""
    limit = only_in(world)
    await world.client.create(
        CONCURRENCY_LIMITS, {**a_kind("ConcurrencyLimit"), "metadata": limit, "spec": {"slots": 1}}
    )
    await world.a_flow(limits=[limit])
    await world.a_run("etl-1")
    await world.run_is("etl-1", "Paused", "AwaitingApproval", within_s=150)
    await world.patch("FlowRun", "etl-1", {"answers": [{"name": "deploy", "decision": "Approve"}]})


async def play_backfill(world: World) -> None:
    """Two partitions, one of which fails and is tried again; no run stays."""
    await world.a_flow()
    await world.create("Deployment", "daily", flowRef={"name": "etl"})
    await world.create(
        "Backfill",
        "bf",
        deploymentRef={"name": "daily"},
        partitions={"list": [{"name": "p0"}, {"name": "p1"}]},
        maxActive=1,
        retries={"limit": 1, "delaySeconds": 1},
        keepFailed=0,
    )


async def backfill_ended(world: World) -> Outcome | None:
    """Phase, counts, and the runs that had pods; None as long as a run is left."""
    status = await world.status("Backfill", "bf")
    if status.get("phase") not in FINISHED or await world.list("FlowRun"):
        return None
    counts = f"{status['succeeded']} succeeded, {status['failed']} failed"
    runs = {name.rpartition("-")[0] for name in world.puppet.started}
    return ((status["phase"], counts, tuple(sorted(runs))),)


def pausing(pod: dict[str, Any]) -> Ends:
    """Asks in its first attempt, and ends in its second."""
    asks = {"kind": "Approval", "name": "deploy", "message": "deploy?"}
    return Ends(76, message=report("Paused", pause=asks)) if attempt_of(pod) == 1 else Ends(message=report())


def a_kind(kind: str) -> dict[str, str]:
    return {"apiVersion": API_VERSION, "kind": kind}


SUCCEEDED = ("Succeeded", "Succeeded", ("Succeeded",))

REVISION = frozenset({"create controllerrevisions", "create configmaps", "patch flows/status"})
BACKFILL = frozenset({"create flowruns", "patch backfills/status", "delete flowruns"})
RUN = frozenset({"create pods", "patch flowruns/status", "patch pods"})
SIDES = ("before", "after")

SCENARIOS = {
    "plain": Scenario(lambda _pod: Ends(message=report()), play_plain, (SUCCEEDED,), REVISION | RUN),
    "retry": Scenario(
        lambda pod: (Ends(1, message=report("Failed")), Ends(137, pod_reason="Evicted"), Ends(message=report()))[
            attempt_of(pod) - 1
        ],
        play_retry,
        (("Succeeded", "Succeeded", ("FlowFailed", "Evicted", "Succeeded")),),
        RUN | {"create events"},
    ),
    "cancel": Scenario(
        lambda _pod: Runs(Ends(143)),
        play_cancel,
        (("Cancelled", "Cancelled", ("Cancelled",)),),
        RUN | {"delete pods", "create events"},
    ),
    "schedule": Scenario(
        lambda _pod: Ends(message=report()),
        play_schedule,
        (SUCCEEDED, SUCCEEDED),
        RUN | {"create flowruns", "patch deployments/status"},
    ),
    "limited": Scenario(
        lambda _pod: Ends(message=report()),
        play_limited,
        (SUCCEEDED, SUCCEEDED),
        frozenset({"create leases", "patch leases", "patch concurrencylimits/status", "create pods"}),
        only=frozenset({"create leases", "patch leases", "patch concurrencylimits/status", "create pods"}),
    ),
    "outranked": Scenario(
        lambda pod: Runs(Ends(143)) if pod["metadata"]["name"] == "etl-1-1" else Ends(message=report()),
        play_outranked,
        (("Succeeded", "Succeeded", ("Outranked", "Succeeded")), SUCCEEDED),
        frozenset({"delete pods", "patch flowruns/status", "create pods"}),
        only=frozenset({"delete pods", "patch flowruns/status", "create pods"}),
    ),
    "pause": Scenario(
        pausing,
        play_pause,
        (("Succeeded", "Succeeded", ("Paused", "Succeeded")),),
        frozenset({"patch flowruns/status"}),
        only=frozenset({"patch flowruns/status"}),
    ),
    "backfill": Scenario(
        lambda pod: (
            Ends(message=report()) if pod["metadata"]["name"] == "bf-p0-1" else Ends(1, message=report("Failed"))
        ),
        play_backfill,
        (("Failed", "1 succeeded, 1 failed", ("bf-p0", "bf-p1", "bf-p1--2")),),
        BACKFILL,
        only=BACKFILL,
        ended=backfill_ended,
    ),
}


class Stage:
    """Plays a scenario in a fresh namespace, with or without a crash."""

    def __init__(self, client: KubeClient, kubeconfig: Path, folder: Path, namespace: str) -> None:
        self._client = client
        self._kubeconfig = kubeconfig
        self._folder = folder
        self._prefix = namespace
        self._count = 0

    async def rehearse(self, scenario: Scenario) -> Counter[str]:
        """Without a fault: how many writes of each kind there are."""
        async with self._world(scenario) as world:
            journal = world.operator.start_journaled()
            await self._until_told(scenario, world)
            return Counter(journal.read_text().splitlines())

    async def crash(self, scenario: Scenario, kind: str, occurrence: int, side: str) -> bool:
        """Killed at this write, then started again; whether the write was reached: waits are told or not, by chance."""
        async with self._world(scenario) as world:
            world.operator.start_journaled(kind, str(occurrence), side)
            playing = asyncio.create_task(self._until_told(scenario, world))
            await eventually(lambda: world.operator.exit_code is not None or playing.done(), within_s=90)
            reached = world.operator.exit_code == -9
            if reached:
                world.operator.start()
            await playing
            return reached

    @asynccontextmanager
    async def _world(self, scenario: Scenario) -> AsyncIterator[World]:
        """In a namespace of its own, where the operator's rights are bound; nothing of it is in the way of the next story, however this one ends."""
        self._count += 1
        name = f"{self._prefix}-{self._count}"
        told: dict[str, Any] = {"script": scenario.script, "start": False, "status_delay_s": 0.1}
        async with a_world(self._client, self._kubeconfig, name, self._folder, **told) as world:
            await self._client.create("/api/v1/namespaces", {"metadata": {"name": name}})
            try:
                yield world
            finally:
                for collection in (CONCURRENCY_LIMITS, WORK_POOLS):
                    await self._client.delete(f"{collection}/{only_in(world)['name']}")
                await self._client.delete(f"/api/v1/namespaces/{name}")

    async def _until_told(self, scenario: Scenario, world: World) -> None:
        await scenario.play(world)

        async def over() -> Outcome | None:
            if scenario.ended is not None:
                return await scenario.ended(world)
            runs = await world.list("FlowRun")
            done = [run for run in runs if run.get("status", {}).get("phase") in FINISHED]
            return tuple(_told(run["status"]) for run in done) if len(done) == len(scenario.outcome) else None

        assert await eventually(over, within_s=120, what="every run ends") == scenario.outcome
        await eventually(lambda: _all_let_go(world), within_s=90, what="every pod is let go")
        assert len(world.puppet.started) == len(set(world.puppet.started)), "a pod was made twice"
        assert len(world.puppet.started) == sum(len(attempts) for _, _, attempts in scenario.outcome)
        assert world.puppet.most_live == 1
        await eventually(lambda: self._no_slot_is_held(world), what="every slot is given back")

    async def _no_slot_is_held(self, world: World) -> bool:
        path = f"/apis/coordination.k8s.io/v1/namespaces/{world.namespace}/leases"
        slots = await self._client.list(path, {"labelSelector": LIMIT_LABEL})
        return not any(holder_of(slot) for slot in slots)


def _told(status: dict[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    return status["phase"], status["reason"], tuple(attempt["reason"] for attempt in status["attempts"])


async def _all_let_go(world: World) -> bool:
    return all("finalizers" not in pod["metadata"] for pod in await world.pods())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_killed_at_any_write_the_outcome_is_the_same(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, name: str
) -> None:
    """Nothing is kept only in memory: SIGKILL at any write, before or after it, changes nothing that is told."""
    scenario = SCENARIOS[name]
    stage = Stage(client, kubeconfig, tmp_path, namespace)
    writes = await stage.rehearse(scenario)
    turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(kind: str, occurrence: int, side: str) -> str | None:
        async with turns:
            try:
                return kind if await stage.crash(scenario, kind, occurrence, side) else None
            except AssertionError as error:
                error.add_note(f"killed {side} write {occurrence} of kind {kind!r}")
                raise

    kinds = [kind for kind in writes if not scenario.only or kind in scenario.only]
    points = [
        (kind, number + 1, side) for kind in kinds for number in range(min(writes[kind], OCCURRENCES)) for side in SIDES
    ]
    killed = Counter(filter(None, await asyncio.gather(*(one(*point) for point in points))))
    assert set(killed) >= scenario.writes
    print(f"\n{name}: killed at {killed.total()} points, the outcome was the same each time")

"""Backfills on a real API server, with a node that ends pods at once: every partition exactly once, as fast as allowed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.api.backfill import BackfillStatus
from headrace.backfills.outcomes import Outcomes, decoded
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.policies import refusing_runs
from tests.cluster.support.puppet import Ends, Pod, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import FINISHED, World, a_world

ENDED = {"Succeeded", "Failed", "Cancelled"}


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    """An operator with a Flow and its Deployment."""
    async with a_world(client, kubeconfig, namespace, tmp_path, status_delay_s=0.2, leader_lease_s=40) as made:
        await made.a_flow()
        await made.create("Deployment", "daily", flowRef={"name": "etl"})
        yield made


def listed(count: int) -> dict[str, Any]:
    """So many partitions, p0 and on."""
    return {"list": [{"name": f"p{number}", "parameters": {"number": number}} for number in range(count)]}


async def a_backfill(world: World, count: int = 5, name: str = "bf", **spec: Any) -> None:
    await world.create(
        "Backfill", name, **{"deploymentRef": {"name": "daily"}, "partitions": listed(count), "maxActive": 20, **spec}
    )


async def backfill_is(
    world: World, *phases: str, reason: str | None = None, name: str = "bf", within_s: float = 60
) -> BackfillStatus:
    """Its status once it is in one of these phases, for this reason."""

    async def look() -> BackfillStatus | None:
        status = await world.status("Backfill", name)
        is_so = status.get("phase") in phases and reason in {None, status.get("reason")}
        return BackfillStatus.model_validate(status) if is_so else None

    return await eventually(look, within_s=within_s, what=f"Backfill {name} is {phases}/{reason}")


def outcomes(status: BackfillStatus) -> Outcomes:
    return decoded(status.outcomes)


def partition_of(pod: Pod) -> str:
    """The run's name without the Backfill's: the partition, and which run of it."""
    return str(pod["metadata"]["labels"]["headrace.dev/flow-run"]).removeprefix("bf-")


def partitions_run(world: World) -> Counter[str]:
    """How many pods each run of a partition had, by name without the Backfill's."""
    return Counter(name.removeprefix("bf-").rpartition("-")[0] for name in world.puppet.started)


@pytest.mark.timeout(180)
async def test_two_hundred_partitions_are_run_once_each_and_their_runs_go(world: World) -> None:
    """Never more at once than maxActive, and in the end nothing is left but the status."""
    await a_backfill(world, 200)
    status = await backfill_is(world, *ENDED, within_s=150)
    assert (status.phase, status.succeeded, status.total, status.progress) == ("Succeeded", 200, 200, "100%")
    assert outcomes(status).succeeded.text == "0-199"
    assert partitions_run(world) == Counter({f"p{number}": 1 for number in range(200)})
    assert world.puppet.most_live <= 20
    await eventually(lambda: _no_runs(world), within_s=60, what="every run is deleted")
    reasons = [reason for reason, _ in await world.events("bf")]
    assert sorted(reasons) == ["Started", "Succeeded"]


async def _no_runs(world: World) -> bool:
    return not await world.list("FlowRun")


async def test_a_suspended_backfill_starts_nothing_and_goes_on_where_it_was(world: World) -> None:
    """Runs under way end, and are noted."""
    world.puppet.script = lambda _pod: Runs()
    await a_backfill(world, 6, maxActive=2)
    await eventually(lambda: len(world.puppet.live) == 2, what="two runs are under way")
    await world.patch("Backfill", "bf", {"suspend": True})
    await backfill_is(world, "Paused", reason="Suspended")
    world.puppet.script = lambda _pod: Ends(message=report())
    for name in list(world.puppet.started):
        world.puppet.end(name)
    await eventually(lambda: _counts(world, over=2, active=0), what="the two that were under way are noted")
    assert len(world.puppet.started) == 2
    await world.patch("Backfill", "bf", {"suspend": False})
    await backfill_is(world, *ENDED)
    assert partitions_run(world) == Counter({f"p{number}": 1 for number in range(6)})


async def _counts(world: World, *, over: int, active: int) -> bool:
    status = BackfillStatus.model_validate(await world.status("Backfill", "bf"))
    return (status.succeeded + status.failed + status.cancelled, status.active) == (over, active)


async def test_a_cancelled_backfill_ends_its_runs_and_starts_no_more(world: World) -> None:
    """What was under way counts as cancelled, the rest was not run."""
    world.puppet.script = lambda _pod: Runs()
    await a_backfill(world, 6, maxActive=2)
    await eventually(lambda: len(world.puppet.live) == 2, what="two runs are under way")
    await world.patch("Backfill", "bf", {"cancel": True})
    status = await backfill_is(world, "Cancelled")
    assert (status.cancelled, status.pending, status.active) == (2, 4, 0)
    assert outcomes(status).cancelled.text == "0-1"
    assert len(world.puppet.started) == 2


async def test_more_failures_than_allowed_end_it_and_a_rerun_takes_it_to_the_end(world: World) -> None:
    """Those that failed run once more, those that succeeded do not."""
    world.puppet.script = lambda pod: (
        Ends(1, message=report("Failed")) if partition_of(pod) in {"p1", "p2"} else Ends(message=report())
    )
    await a_backfill(world, 5, maxActive=1, maxFailures=1)
    status = await backfill_is(world, "Failed", reason="TooManyFailures")
    assert (status.succeeded, status.failed, status.pending) == (1, 2, 2)
    await world.patch("Backfill", "bf", {"rerunFailed": 1})
    done = await backfill_is(world, "Succeeded")
    assert (done.succeeded, done.failed, done.rerun_failed) == (5, 0, 1)
    again = ("p0", "p1", "p2", "p1--r1", "p2--r1", "p3", "p4")
    assert partitions_run(world) == Counter(again)
    reasons = {reason for reason, _ in await world.events("bf")}
    assert reasons == {"Started", "TooManyFailures", "RerunStarted", "Resumed", "Succeeded"}


async def test_a_partition_that_failed_gets_another_run(world: World) -> None:
    """As often as spec.retries says; the failed runs that are kept are the newest ones."""
    world.puppet.script = lambda pod: (
        Ends(message=report()) if partition_of(pod) == "p1--2" else Ends(1, message=report("Failed"))
    )
    await a_backfill(world, 2, retries={"limit": 1, "delaySeconds": 1}, keepFailed=1)
    status = await backfill_is(world, "Failed", reason="PartitionsFailed")
    assert (outcomes(status).succeeded.text, outcomes(status).failed.text) == ("1", "0")
    assert partitions_run(world) == Counter(["p0", "p0--2", "p1", "p1--2"])

    async def kept() -> bool:
        return [run["metadata"]["name"] for run in await world.list("FlowRun")] == ["bf-p0--2"]

    await eventually(kept, within_s=60, what="the newest failed run is kept, and no other")


async def test_a_budget_ends_it_before_it_is_exceeded(world: World) -> None:
    """The status tells what was spent, and what the whole would have cost."""
    pool = {"name": f"of-{world.namespace}"}
    spec = {
        "pricing": {"currency": "USD", "perHour": 3600},
        "maxPodResources": {"cpu": "1", "memory": "1Gi"},
        "namespaces": {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}},
    }
    body = {"apiVersion": "headrace.dev/v1alpha1", "kind": "WorkPool", "metadata": pool, "spec": spec}
    await world.client.create("/apis/headrace.dev/v1alpha1/workpools", body)
    await world.create("Deployment", "priced", flowRef={"name": "etl"}, resources={"requests": {"cpu": "1"}})
    world.puppet.script = lambda _pod: Ends(message=report(), after_s=2)
    await a_backfill(
        world, 50, deploymentRef={"name": "priced"}, budget={"amount": "30", "currency": "USD"}, maxActive=3
    )
    status = await backfill_is(world, "Failed", reason="BudgetExceeded", within_s=120)
    await world.client.delete(f"/apis/headrace.dev/v1alpha1/workpools/{pool['name']}")
    assert status.cost is not None
    assert status.projected_cost is not None
    assert 0 < status.cost.exact < 60
    assert status.projected_cost.exact > 30
    assert 0 < status.succeeded < 50
    assert status.active == 0


async def test_a_closed_window_and_a_missing_deployment_are_told(world: World) -> None:
    """Nothing is created; a window is looked at when it opens, a Deployment when it is there."""
    year_long = {"from": "00:00", "to": "00:01", "days": ["Mon"], "timeZone": "Etc/GMT+12"}
    await a_backfill(world, 2, name="closed", window=year_long)
    await a_backfill(world, 2, deploymentRef={"name": "absent"})
    await backfill_is(world, "Waiting", reason="WindowClosed", name="closed")
    await backfill_is(world, "Waiting", reason="DeploymentNotFound")
    await world.create("Deployment", "absent", flowRef={"name": "etl"})
    await backfill_is(world, "Succeeded")
    assert {name.rpartition("-")[0] for name in world.puppet.started} == {"bf-p0", "bf-p1"}


async def test_partitions_wait_while_a_policy_refuses_runs(world: World) -> None:
    """None of them fails for it: they run when the policy is gone."""
    world.puppet.script = lambda _pod: Ends(message=report())

    async def told() -> bool:
        return "RunsNotCreated" in dict(await world.events("bf"))

    async with refusing_runs(world.client, world.namespace):
        await a_backfill(world, 3)
        await eventually(told, what="the Event about it")
        assert (await backfill_is(world, "Running")).failed == 0
    status = await backfill_is(world, *ENDED)
    assert (status.phase, status.succeeded, status.failed) == ("Succeeded", 3, 0)


async def test_a_run_that_somebody_deletes_counts_as_cancelled(world: World) -> None:
    """It is not run again behind the back of whoever deleted it."""
    world.puppet.script = lambda pod: Runs() if partition_of(pod) == "p0" else Ends(message=report())
    await a_backfill(world, 2)
    await eventually(lambda: "bf-p0-1" in world.puppet.started, within_s=60, what="a pod")
    await world.client.delete(world.path("FlowRun", "bf-p0"))
    status = await backfill_is(world, *ENDED)
    assert (outcomes(status).cancelled.text, outcomes(status).succeeded.text) == ("0", "1")


async def test_runs_beyond_the_rate_wait_for_their_minute(world: World) -> None:
    """The first one starts at once; a restart gives no more than what has come in since."""

    async def created() -> list[datetime]:
        found = [run["metadata"]["creationTimestamp"] for run in await world.list("FlowRun")]
        return sorted(datetime.fromisoformat(at) for at in found)

    async def are_created(number: int) -> bool:
        return len(await created()) >= number

    world.puppet.script = lambda _pod: Runs()  # a run that has ended is deleted, and with it the time of its creation
    await a_backfill(world, 5, ratePerMinute=6)
    await eventually(lambda: are_created(1), within_s=60, what="the first run")
    world.operator.restart()
    await eventually(lambda: are_created(3), within_s=90, what="the third run")
    first, _, third = (await created())[:3]
    assert (third - first).total_seconds() >= 19  # ten seconds each, by times that are cut to the second


async def test_a_backfill_that_is_over_goes_when_its_time_has_come(world: World, kubectl: Any) -> None:
    """With all that is left of it; until then kubectl shows what came of it."""
    await a_backfill(world, 2, ttlSecondsAfterFinished=8)
    await backfill_is(world, "Succeeded")
    head, row = kubectl("get", "bf", "-n", world.namespace).stdout.splitlines()
    assert head.split()[:6] == ["NAME", "PHASE", "PROGRESS", "SUCCEEDED", "FAILED", "ACTIVE"]
    assert row.split()[:6] == ["bf", "Succeeded", "100%", "2", "0", "0"]

    async def gone() -> bool:
        return not await world.list("Backfill") and not await world.list("FlowRun")

    await eventually(gone, within_s=90, what="the Backfill is deleted, and its runs with it")


@pytest.mark.timeout(240)
async def test_an_operator_that_is_killed_again_and_again_runs_no_partition_twice(world: World) -> None:
    """Ten partitions at a time, and a death every second or so."""
    await a_backfill(world, 60, maxActive=10)
    for _ in range(5):
        await asyncio.sleep(1.5)  # whatever it is at
        world.operator.restart()
    status = await backfill_is(world, *ENDED, within_s=200)
    assert (status.phase, status.succeeded) == ("Succeeded", 60)
    assert partitions_run(world) == Counter({f"p{number}": 1 for number in range(60)})
    assert all(run["status"]["phase"] in FINISHED for run in await world.list("FlowRun"))

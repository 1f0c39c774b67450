"""A Deployment's budget on a real API server: what is spent is counted once, and stops what comes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import KubeClient
from tests.cluster.support.puppet import Ends, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition

POOLS = f"/apis/{API_VERSION}/workpools"
TRAIN = {"deploymentRef": {"name": "train"}}


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    def script(_pod: dict[str, Any]) -> Ends:
        return Ends(message=report(), after_s=1.5)

    async with a_world(client, kubeconfig, namespace, tmp_path, script=script, status_delay_s=0.1) as made:
        await made.a_flow(resources={"requests": {"cpu": "1m"}})
        spec = {
            "pricing": {"currency": "USD", "cpuHour": 3600},  # a run of a second: 0.001
            "namespaces": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        }
        pool = {"apiVersion": API_VERSION, "kind": "WorkPool", "metadata": {"name": namespace}, "spec": spec}
        await client.create(POOLS, pool)
        yield made
        await client.delete(f"{POOLS}/{namespace}")


async def a_deployment(world: World, amount: str, **spec: Any) -> None:
    budget = {"amount": amount, "period": "Month", "action": "Stop"}
    await world.create("Deployment", "train", flowRef={"name": "etl"}, budget=budget, **spec)


async def is_said(world: World, reason: str) -> dict[str, Any]:
    """The Deployment's status once this is said of its budget."""

    async def look() -> dict[str, Any] | None:
        status = await world.status("Deployment", "train")
        found = [each for each in status.get("conditions", ()) if each["type"] == "BudgetExceeded"]
        return status if found and found[0]["reason"] == reason else None

    return await eventually(look, within_s=120, what=f"the budget is said to be {reason}")


async def costs(world: World) -> Decimal:
    runs = await world.list("FlowRun")
    paid = (run.get("status", {}).get("cost") for run in runs)
    return sum((Decimal(cost["amount"]) for cost in paid if cost), Decimal(0))


async def test_a_spent_budget_holds_runs_back_until_there_is_more(world: World) -> None:
    """The reason is on the runs, the Deployment and in an Event; a higher amount lets them go on."""
    await a_deployment(world, "0.003")
    for number in range(8):
        await world.a_run(f"train-{number}", **TRAIN)
    status = await is_said(world, "BudgetExceeded")
    assert condition(status, "BudgetExceeded") == ("True", "BudgetExceeded")
    assert "BudgetExceeded" in [reason for reason, _ in await world.events("train")]
    started = len(world.puppet.started)
    assert 0 < started < 8
    late = next(n for n in range(8) if f"train-{n}-1" not in world.puppet.started)
    waiting = await world.run_is(f"train-{late}", "Pending", "WaitingForBudget")
    assert status["spent"]["until"] in waiting["message"]
    await world.patch("Deployment", "train", {"budget": {"amount": 10}})
    for number in range(8):
        assert (await world.finished(f"train-{number}"))["phase"] == "Succeeded"
    status = await is_said(world, "WithinBudget")
    assert await eventually(lambda: _is_all_counted(world), what="all is counted")


async def _is_all_counted(world: World) -> bool:
    spent = (await world.status("Deployment", "train")).get("spent") or {}
    total = await costs(world)
    return total > 0 and Decimal(spent.get("settled", "0")) == total

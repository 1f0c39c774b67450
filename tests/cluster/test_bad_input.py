"""What people see who make a mistake: kubectl's error, or the object's own condition; and no storm of retries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world, condition

CRON = {"name": "daily", "cron": "0 7 * * *"}


@pytest.fixture
async def world(client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(client, kubeconfig, namespace, tmp_path) as made:
        yield made


def manifest(kind: str, spec: dict[str, Any]) -> str:
    return json.dumps({"apiVersion": "headrace.dev/v1alpha1", "kind": kind, "metadata": {"name": "it"}, "spec": spec})


@pytest.mark.parametrize(
    ("kind", "spec", "says"),
    [
        pytest.param(
            "Deployment",
            {"flowRef": {"name": "etl"}, "schedules": [{"name": "daily", "cron": "7 0"}]},
            "cron:",
            id="a cron line of two fields",
        ),
        pytest.param(
            "Deployment",
            {"flowRef": {"name": "etl"}, "schedules": [{**CRON, "cron": "0 25 * * *"}]},
            "cron:",
            id="an hour that no day has",
        ),
        pytest.param(
            "Deployment",
            {"flowRef": {"name": "etl"}, "schedules": [{**CRON, "timeZone": "Europe/Londn"}]},
            "timeZone:",
            id="an unknown time zone",
        ),
        pytest.param(
            "Deployment",
            {"flowRef": {"name": "etl"}, "schedules": [{**CRON, "intervalSeconds": 60}]},
            "set exactly one of cron, intervalSeconds and rrule",
            id="a cron line and an interval",
        ),
        pytest.param(
            "FlowRun",
            {"flowRef": {"name": "etl"}, "deploymentRef": {"name": "daily"}},
            "set exactly one of flowRef and deploymentRef",
            id="a flow and a deployment",
        ),
        pytest.param(
            "Flow",
            {"entrypoint": "etl:main", "command": ["sh"]},
            "exactly one of entrypoint",
            id="a flow and a command",
        ),
        pytest.param(
            "Flow", {"entrypoint": "etl:main", "retrys": {"limit": 1}}, "retrys", id="a field that does not exist"
        ),
    ],
)
def test_kubectl_apply_says_what_is_wrong(
    kubectl: Any, namespace: str, kind: str, spec: dict[str, Any], says: str
) -> None:
    """Nothing is stored, and the message names the field."""
    refused = kubectl("apply", "-n", namespace, "-f", "-", input=manifest(kind, spec), check=False)
    assert refused.returncode == 1
    assert says in refused.stderr


async def test_a_mistake_is_told_once_and_costs_nothing_after_that(world: World) -> None:
    """A missing flow, a broken schema, a schedule that never fires: a condition each, and then silence."""
    await world.a_run("no-flow", flow="missing")
    await world.a_flow("broken", parameters={"schema": {"type": "no such type"}})
    await world.create(
        "Deployment", "never", flowRef={"name": "broken"}, schedules=[{"name": "never", "cron": "0 0 31 2 *"}]
    )
    await world.run_is("no-flow", "Pending", "FlowNotFound")

    async def told() -> bool:
        flow, deployment = await world.status("Flow", "broken"), await world.status("Deployment", "never")
        return bool(flow and deployment) and (
            condition(flow, "Ready") == ("False", "InvalidSpec")
            and condition(deployment, "Ready") == ("False", "InvalidSpec")
            and condition(deployment, "Scheduling") == ("False", "InvalidSchedule")
        )

    await eventually(told)
    await asyncio.sleep(2)
    before = await _versions(world)
    await asyncio.sleep(5)
    assert await _versions(world) == before


async def _versions(world: World) -> list[str]:
    objects = [("FlowRun", "no-flow"), ("Flow", "broken"), ("Deployment", "never")]
    return [(await world.get(kind, name))["metadata"]["resourceVersion"] for kind, name in objects]

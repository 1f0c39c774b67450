"""What a run costs the API server, counted by the API server itself: its audit log."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from headrace.kubeapi.client import KubeClient
from headrace_operator.wiring import LEADER_LEASE
from tests.cluster.support.audit import whole_lines
from tests.cluster.support.puppet import Ends, Runs, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import World, a_world

WRITES = {"create", "update", "patch", "delete", "deletecollection"}
IDLE_S = 60.0


def requests(audit_log: Path, namespace: str) -> list[dict[str, Any]]:
    """The operator's requests in a namespace, in their order; watches count when they are opened."""
    found = []
    for line in whole_lines(audit_log):
        entry = json.loads(line)
        stage = "ResponseStarted" if entry["verb"] == "watch" else "ResponseComplete"
        is_ours = entry.get("userAgent", "").startswith("headrace-operator") and entry["stage"] == stage
        target = entry.get("objectRef") or {}
        if is_ours and target.get("namespace") == namespace and target.get("name") != leader_lease(namespace):
            found.append(entry)
    return found


def leader_lease(namespace: str) -> str:
    """The one object that costs something while nothing happens."""
    return f"{LEADER_LEASE}.{namespace}"


def told(entries: list[dict[str, Any]]) -> Counter[str]:
    """How often each kind of request was made."""
    return Counter(
        " ".join(filter(None, (e["verb"], e["objectRef"]["resource"], e["objectRef"].get("subresource"))))
        for e in entries
    )


async def test_a_plain_run_costs_at_most_four_writes_and_no_read(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, audit_log: Path
) -> None:
    """Pod, status while it runs, final status, pod finalizer."""
    async with a_world(client, kubeconfig, namespace, tmp_path) as world:
        world.puppet.script = lambda _pod: Runs(Ends(message=report()))
        await world.a_flow()
        await eventually(lambda: _has_revision(world))
        await asyncio.sleep(1)  # the audit log is written behind
        before = len(requests(audit_log, namespace))
        await world.a_run("etl-1")
        await world.run_is("etl-1", "Running")
        world.puppet.end("etl-1-1")
        await world.finished("etl-1")
        await eventually(lambda: _is_let_go(world))
        await asyncio.sleep(2)
        counted = told(requests(audit_log, namespace)[before:])
    assert counted == Counter({"create pods": 1, "patch flowruns status": 2, "patch pods": 1}), counted


@pytest.mark.timeout(150)
async def test_idle_objects_cost_nothing_for_a_minute(
    client: KubeClient, kubeconfig: Path, namespace: str, tmp_path: Path, audit_log: Path
) -> None:
    """A Flow, a Deployment with a schedule, a finished, a running and a waiting run: no request at all."""
    async with a_world(client, kubeconfig, namespace, tmp_path) as world:
        world.puppet.script = lambda pod: Runs() if pod["metadata"]["name"] == "long-1" else Ends(message=report())
        await world.a_flow()
        await world.create(
            "Deployment",
            "daily",
            flowRef={"name": "etl"},
            schedules=[{"name": "yearly", "cron": "@yearly"}],
            concurrency={"limit": 1},
        )
        await world.a_run("done", deploymentRef={"name": "daily"})
        await world.finished("done")
        await world.a_run("long", deploymentRef={"name": "daily"})
        await world.run_is("long", "Running")
        await world.a_run("waiting", deploymentRef={"name": "daily"})
        await world.run_is("waiting", "Pending", "WaitingForSlot")
        await asyncio.sleep(5)
        before = len(requests(audit_log, namespace))
        await asyncio.sleep(IDLE_S)
        since = requests(audit_log, namespace)[before:]
    assert told(since) == Counter()


async def _has_revision(world: World) -> bool:
    return bool((await world.status("Flow", "etl")).get("revision"))


async def _is_let_go(world: World) -> bool:
    return "finalizers" not in (await world.pod("etl-1-1"))["metadata"]

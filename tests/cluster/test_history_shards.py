"""Replicas that share the namespaces write into one history store: one record a run, whoever has it at the moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from tests.cluster.support import sharded
from tests.cluster.support.background import meanwhile
from tests.cluster.support.puppet import Puppet
from tests.cluster.support.replicas import Replicas
from tests.cluster.support.waiting import eventually
from tests.cluster.test_history import recorded
from tests.cluster.test_shards import supervise

HOME = "headrace-system"
SHARDS = 4
TEAMS = tuple(f"team-{number}" for number in range(6))
RUNS = 5
RUN_LIST = f"/apis/{API_VERSION}/flowruns"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store" / "history.db"


@pytest.fixture
def replicas(own_plane: Plane, tmp_path: Path, store: Path) -> Iterator[Replicas]:
    made = Replicas(
        own_plane.kubeconfig,
        tmp_path,
        served="",
        home=HOME,
        identities=("one", "two"),
        lease_s=15.0,
        shards=SHARDS,
        history_url=f"sqlite:///{store}",
        history_batch_delay_s=0.1,
    )
    try:
        yield made
    finally:
        made.kill()
        for name, process in made.processes.items():
            print(f"--- {name}\n{process.log.read_text()[-3000:] if process.log.exists() else '(never ran)'}")


async def create(client: KubeClient, team: str, plural: str, kind: str, name: str, **spec: Any) -> str:
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    made = await client.create(f"/apis/{API_VERSION}/namespaces/{team}/{plural}", body)
    return str(made["metadata"]["uid"])


async def prepare(client: KubeClient) -> None:
    for team in TEAMS:
        await client.create("/api/v1/namespaces", {"metadata": {"name": team}})
    for team in TEAMS:
        files = {"etl.py": "def main(): ..."}
        await create(
            client, team, "flows", "Flow", "etl", entrypoint="etl.py:main", source={"inline": {"files": files}}
        )
        history = {"succeeded": 0, "failed": 0}
        await create(client, team, "deployments", "Deployment", "daily", flowRef={"name": "etl"}, history=history)


async def some_runs(client: KubeClient, first: int) -> set[str]:
    """The uids of a few runs in each namespace."""
    return {
        await create(client, team, "flowruns", "FlowRun", f"daily-{number}", deploymentRef={"name": "daily"})
        for team in TEAMS
        for number in range(first, first + RUNS)
    }


async def all_gone(client: KubeClient) -> bool:
    return not await client.list(RUN_LIST)


@pytest.mark.timeout(400)
async def test_runs_are_recorded_once_while_shards_change_hands(
    admin: KubeClient, replicas: Replicas, store: Path
) -> None:
    """A second replica joins, the first one is killed; no run leaves the API without its record."""
    await prepare(admin)
    async with AsyncExitStack() as stack:
        for team in TEAMS:
            await stack.enter_async_context(Puppet(admin, team))
        held_back = {"two"}
        await stack.enter_async_context(meanwhile(supervise(replicas, held_back)))
        uids = await some_runs(admin, 0)
        held_back.clear()
        await eventually(lambda: sharded.are_spread(admin, HOME, SHARDS, ("one", "two")), within_s=90, what="both work")
        uids |= await some_runs(admin, RUNS)
        held_back.add("one")
        replicas["one"].kill()
        uids |= await some_runs(admin, 2 * RUNS)
        await eventually(lambda: all_gone(admin), within_s=150, what="all runs are retired")
    assert sorted(row["uid"] for row in recorded(store)) == sorted(uids)

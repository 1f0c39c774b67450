"""
Replicas that share the namespaces: evenly, whoever comes and goes, with nothing lost, doubled or exceeded.

Afterwards the API server's audit log is asked, not the operators.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION, FLOW_LABEL, FLOW_RUN_LABEL
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.slots import LIMIT_LABEL, holder_of
from headrace_operator.decide.sharding import shard_of
from tests.cluster.support import sharded, violations
from tests.cluster.support.audit import read
from tests.cluster.support.background import meanwhile
from tests.cluster.support.puppet import Ends, Puppet, report
from tests.cluster.support.replicas import Replicas
from tests.cluster.support.violations import Waking
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import FINISHED

HOME = "headrace-system"
SHARDS = 8
LEASE_S = 15.0
"""Long enough that replicas which a busy machine starves for some seconds go on."""
NAMES = ("one", "two", "three")
TEAMS = tuple(f"team-{number}" for number in range(12))
RUNS_OF_EACH = int(os.environ.get("HEADRACE_SHARD_RUNS", "15"))
SLOTS = 7
POOL_RUNS = 6
AT_ONCE = 2
NEEDS: Mapping[str, Mapping[str, int]] = {"load": {"db": 1}, "pooled": {}, "plain": {}}
GRACE_S = 5.0
WITHIN_S = 300


@pytest.fixture
def replicas(own_plane: Plane, tmp_path: Path) -> Iterator[Replicas]:
    """Three, of which none runs yet."""
    made = Replicas(
        own_plane.kubeconfig,
        tmp_path,
        served="",
        home=HOME,
        identities=NAMES,
        lease_s=LEASE_S,
        shards=SHARDS,
        log_level="info",
    )
    try:
        yield made
    finally:
        made.kill()
        for name, process in made.processes.items():
            print(f"--- {name}\n{process.log.read_text()[-3000:] if process.log.exists() else '(never ran)'}")


async def until_spread(client: KubeClient, *names: str, within_s: float = 90) -> None:
    await eventually(
        lambda: sharded.are_spread(client, HOME, SHARDS, names),
        within_s=within_s,
        what=f"{', '.join(names)} hold all shards evenly",
    )


@pytest.mark.timeout(300)
async def test_shards_follow_the_replicas_evenly_and_come_to_rest(admin: KubeClient, replicas: Replicas) -> None:
    """One takes all; a second and a third get their part; who stops, and who is killed, leaves theirs to the others."""
    replicas["one"].start()
    await until_spread(admin, "one")
    replicas["two"].start()
    await until_spread(admin, "one", "two")
    replicas["three"].start()
    await until_spread(admin, *NAMES)
    at_rest = await sharded.holders(admin, HOME)
    await asyncio.sleep(LEASE_S)
    assert await sharded.holders(admin, HOME) == at_rest
    replicas["two"].stop()
    assert replicas["two"].exit_code == 0
    await until_spread(admin, "one", "three", within_s=LEASE_S)
    replicas["one"].kill()
    await until_spread(admin, "three", within_s=3 * LEASE_S)


@pytest.mark.timeout(2 * WITHIN_S)
async def test_nothing_is_lost_doubled_or_exceeded_while_replicas_die_and_sleep(
    own_plane: Plane, admin: KubeClient, replicas: Replicas
) -> None:
    """One is killed, another is stopped for longer than its lease and let loose again, a third one joins."""
    assert own_plane.audit_log is not None
    since = own_plane.audit_log.stat().st_size
    assert len({shard_of(team, SHARDS) for team in TEAMS}) > len(NAMES)
    await prepare(admin)
    wakings: list[Waking] = []
    held_back = {"three"}
    async with AsyncExitStack() as stack:
        for team in TEAMS:
            await stack.enter_async_context(Puppet(admin, team, lambda _: Ends(message=report(), after_s=0.3)))
        await stack.enter_async_context(meanwhile(supervise(replicas, held_back)))
        await until_spread(admin, "one", "two")
        await asyncio.gather(*(create_runs(admin, team) for team in TEAMS))
        await eventually(lambda: ended(admin, 20), within_s=WITHIN_S, what="20 runs have ended")
        held_back.clear()
        await eventually(lambda: ended(admin, 50), within_s=WITHIN_S, what="50 runs have ended")
        held_back.add("one")
        replicas["one"].kill()
        await sleeps(replicas, "two", wakings)
        held_back.clear()
        every = len(TEAMS) * RUNS_OF_EACH
        await eventually(lambda: ended(admin, every), within_s=WITHIN_S, what="every run has ended")
        await eventually(lambda: is_tidy(admin), within_s=60, what="slots and pods are given back")
    requests = read(own_plane.audit_log, since=since)
    pods = Counter((pod.run.namespace, pod.run.name) for pod in violations.pods_of(requests))
    assert len(pods) == len(TEAMS) * RUNS_OF_EACH
    assert set(pods.values()) == {1}
    assert violations.two_pods_at_once(requests) == []
    assert violations.too_many_slots(requests, grace_s=GRACE_S) == []
    assert violations.pods_without_slots(requests, lambda pod: NEEDS[pod.labels[FLOW_LABEL]]) == []
    assert violations.too_many_runs_of_deployments(requests, grace_s=GRACE_S) == []
    assert violations.too_many_runs_in_pools(requests, grace_s=GRACE_S) == []
    assert sharded.written_for_others(requests, SHARDS, HOME, wakings) == []


async def prepare(client: KubeClient) -> None:
    """Namespaces, a limit, pools, and in each namespace three Flows and a Deployment."""
    cluster = f"/apis/{API_VERSION}"
    await client.create(f"{cluster}/concurrencylimits", obj("ConcurrencyLimit", "db", slots=SLOTS))
    await client.create(f"{cluster}/workpools", obj("WorkPool", "small", capacity={"runs": POOL_RUNS}))
    await client.create(f"{cluster}/workpools", obj("WorkPool", "wide"))
    for team in TEAMS:
        await client.create("/api/v1/namespaces", {"metadata": {"name": team}})
        for flow, limits in NEEDS.items():
            pool = "small" if flow == "pooled" else "wide"
            needs = [{"name": name, "slots": slots} for name, slots in limits.items()]
            spec: dict[str, Any] = {"command": ["true"], "image": "i", "pools": {"names": [pool]}}
            if needs:
                spec["limits"] = needs
            await client.create(f"{cluster}/namespaces/{team}/flows", obj("Flow", flow, **spec))
        rules: dict[str, Any] = {"flowRef": {"name": "plain"}, "concurrency": {"limit": AT_ONCE}}
        rules["history"] = {"succeeded": RUNS_OF_EACH, "failed": RUNS_OF_EACH}
        await client.create(f"{cluster}/namespaces/{team}/deployments", obj("Deployment", "daily", **rules))


def obj(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    """A manifest."""
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}


async def create_runs(client: KubeClient, team: str) -> None:
    """A third of each kind."""
    refs: tuple[dict[str, Any], ...] = (
        {"flowRef": {"name": "load"}},
        {"flowRef": {"name": "pooled"}},
        {"deploymentRef": {"name": "daily"}},
    )
    for number in range(RUNS_OF_EACH):
        path = f"/apis/{API_VERSION}/namespaces/{team}/flowruns"
        await client.create(path, obj("FlowRun", f"run-{number}", **refs[number % len(refs)]))


async def ended(client: KubeClient, least: int) -> bool:
    """Whether so many runs have ended; all of them have succeeded."""
    runs = await client.list(f"/apis/{API_VERSION}/flowruns")
    phases = [run["status"]["phase"] for run in runs if run.get("status", {}).get("phase") in FINISHED]
    assert set(phases) <= {"Succeeded"}
    return len(phases) >= least


async def supervise(replicas: Replicas, held_back: set[str]) -> None:
    """For ever: those that ended are started again, as a kubelet would; on a busy machine some lose their lease."""
    while True:
        replicas.start(besides=held_back)
        await asyncio.sleep(0.5)


async def sleeps(replicas: Replicas, name: str, wakings: list[Waking]) -> None:
    """It is stopped for longer than its lease, and goes on."""
    await eventually(lambda: replicas[name].runs, within_s=20, what="it runs")
    pid = replicas[name].pid
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(2 * LEASE_S)
    finally:
        wakings.append(Waking(name, time.time()))
        os.kill(pid, signal.SIGCONT)
    await eventually(lambda: replicas[name].pid != pid, within_s=40, what="the deposed one ends, and is started anew")


async def is_tidy(client: KubeClient) -> bool:
    """Whether every pod is let go, and no slot is held."""
    pods = await client.list("/api/v1/pods", {"labelSelector": FLOW_RUN_LABEL})
    leases = await client.list(f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases")
    slots = [lease for lease in leases if LIMIT_LABEL in (lease["metadata"].get("labels") or {})]
    return not any(pod["metadata"].get("finalizers") for pod in pods) and not any(map(holder_of, slots))

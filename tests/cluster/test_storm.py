"""
Thousands of runs over limits, pools, Deployments and quotas, with two operators that are killed and stopped all the time and a
network that loses a share of what they say. Afterwards the API server's audit log is asked whether anything was ever exceeded.

HEADRACE_STORM_RUNS sets the number of runs.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest

from headrace.api.keys import API_VERSION, ATTEMPT_LABEL, FLOW_LABEL, FLOW_RUN_LABEL, QUOTA_ANNOTATION
from headrace.devcluster.plane import Plane
from headrace.kubeapi.client import KubeClient
from headrace.slots import LIMIT_LABEL, holder_of
from tests.cluster.support import violations
from tests.cluster.support.audit import Request, read
from tests.cluster.support.background import meanwhile
from tests.cluster.support.faulty_proxy import Faults, ProxyProcess
from tests.cluster.support.puppet import NODE_PATH, Ends, Pod, Puppet, report
from tests.cluster.support.replicas import Replicas, Turmoil
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import FINISHED

RUNS = int(os.environ.get("HEADRACE_STORM_RUNS", "2000"))
WITHIN_S = 60 + 0.7 * RUNS
"""For 2 cores that others use too; where they are free it takes a quarter of it."""
LEASE_S = 5.0
"""Renewals pass the bad network too: with a shorter one, most changes of the leader would be its doing, not the storm's."""
HOME = "headrace-system"
TEAMS = ("team-a", "team-b")
QUOTAS = {"team-b": 25}
FAULTS = Faults(
    seed=4,
    slow=0.05,
    stalled=0.004,
    lost=0.02,
    unanswered=0.02,
    refused=0.03,
    disowned=0.01,
    gone=0.1,
    stalled_s=3.0,
    watch_life_s=15.0,
)
RESIZE_EVERY_S = 12.0
GRACE_S = 10.0
"""For a smaller size to be known: a watch that was cut off, or a leader that has just gone."""
CREATED_AT_ONCE = 12
BACKLOG = 400
"""Runs that have not ended: each new leader looks at all of them first."""
LOOK_EVERY_S = 2.0
TOLD_EVERY_S = 20.0

LIMITS: Mapping[str, dict[str, Any]] = {
    "db": {"slots": 12},
    "cache": {"slots": 15},
    "wide": {"slots": 22},
    "api": {"rate": {"count": 30, "perSeconds": 2}},
    "elastic": {"slots": 8, "selector": {"matchLabels": {"storm": "elastic"}}},
}
ELASTIC_SIZES = (2, 12, 5, 9, 0, 7)
NEEDS: Mapping[str, Mapping[str, int]] = {
    "plain": {},
    "load": {"db": 1},
    "join": {"cache": 2, "db": 1},
    "wide": {"wide": 5},
    "calls": {"api": 1},
    "elastic": {"elastic": 1},
    "broken": {"db": 1},
}
"""Slots (or a start) that a run of each Flow needs. `elastic` names no limit: its runs are picked by their labels."""
KINDS = ("plain", "load", "calls", "join", "plain", "load", "elastic", "join", "plain", "load", "calls", "wide")
POOLS: Mapping[str, dict[str, Any]] = {
    "small": {"capacity": {"runs": 8}, "pricing": {"perHour": 0.1}},
    "middle": {"capacity": {"runs": 12}, "pricing": {"perHour": 0.2}},
    "large": {"capacity": {"runs": 20}, "pricing": {"perHour": 0.4}},
}
DEPLOYMENTS: Mapping[str, int] = {"nightly": 4, "hourly": 2}


@dataclass(frozen=True)
class Planned:
    """One run of the storm."""

    team: str
    name: str
    flow: str
    spec: Mapping[str, Any]
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> str:
        """Its phase in the end."""
        return "Failed" if self.flow == "broken" else "Succeeded"

    @property
    def attempts(self) -> int:
        """How many pods it takes."""
        return len(acts(self.flow, self.name))


def planned(number: int) -> Planned:
    """The run of this number; the kinds of runs take turns."""
    team = TEAMS[number % 2]
    name = f"run-{number}"
    flow = "broken" if number % 50 == 49 else KINDS[number // len(TEAMS) % len(KINDS)]
    if flow == "plain":
        deployment = tuple(DEPLOYMENTS)[number // 8 % len(DEPLOYMENTS)]
        return Planned(team, name, flow, {"deploymentRef": {"name": deployment}})
    labels = {"storm": "elastic"} if flow == "elastic" else {}
    return Planned(team, name, flow, {"flowRef": {"name": flow}, "priority": number % 3}, labels)


def acts(flow: str, name: str) -> Sequence[Ends]:
    """What the pods of a run do, one after the other. Most end at once, some run a little, a few fail or are evicted first."""
    dice = random.Random(name)
    after_s = dice.uniform(0.2, 2.0) if dice.random() < 0.25 else 0.0
    failed = Ends(1, message=report("Failed"), after_s=after_s)
    if flow == "broken":
        return failed, failed
    well = Ends(message=report(), after_s=after_s)
    first = dice.choices((None, failed, Ends(137, pod_reason="Evicted", after_s=after_s)), (0.92, 0.05, 0.03))[0]
    return (well,) if first is None else (first, well)


def play(pod: Pod) -> Ends:
    """The script of the pods."""
    labels = pod["metadata"]["labels"]
    return acts(labels[FLOW_LABEL], labels[FLOW_RUN_LABEL])[int(labels[ATTEMPT_LABEL]) - 1]


@pytest.mark.timeout(WITHIN_S + 300)
async def test_nothing_is_exceeded_doubled_or_lost_in_a_storm(
    own_plane: Plane, admin: KubeClient, tmp_path: Path
) -> None:
    """Every run ends as it should with as many pods as it should, and the audit log shows no violation."""
    began = time.monotonic()
    runs = [planned(number) for number in range(RUNS)]
    async with AsyncExitStack() as stack:
        await prepare(admin)
        puppets = [await stack.enter_async_context(Puppet(admin, team, play)) for team in TEAMS]
        await admin.patch(NODE_PATH, {"metadata": {"labels": dict.fromkeys(map(pool_label, POOLS), "yes")}})
        proxy = await stack.enter_async_context(ProxyProcess(own_plane.kubeconfig, tmp_path, FAULTS))
        replicas = Replicas(
            proxy.kubeconfig, tmp_path, served="", home=HOME, identities=("left", "right"), lease_s=LEASE_S
        )
        stack.callback(tell_logs, replicas)
        stack.callback(replicas.kill)
        replicas.start()
        turmoil = Turmoil(replicas, admin, lambda: sum(len(puppet.started) for puppet in puppets), seed=4)
        async with meanwhile(turmoil.supervise()):
            async with meanwhile(turmoil.rage(), resize(admin)):
                await run_all(admin, runs, began)
            await eventually(lambda: is_tidy(admin), within_s=60, what="slots and pods are given back")
        counts = await proxy.counts()
        print(f"faults: {dict(counts)}; blows: {dict(turmoil.blows)}; {time.monotonic() - began:.0f} s", flush=True)
        outcomes = {
            (r["metadata"]["namespace"], r["metadata"]["name"]): r["status"]["phase"] for r in await runs_of(admin)
        }
    assert own_plane.audit_log is not None
    requests = read(own_plane.audit_log)
    assert outcomes == {(run.team, run.name): run.outcome for run in runs}
    assert pods_per_run(requests) == {(run.team, run.name): run.attempts for run in runs}
    assert all_violations(requests, turmoil.wakings) == {}
    assert set(counts) == FAULTS.kinds
    assert turmoil.blows.total()
    assert turmoil.blows["leader killed"] or RUNS < 2000  # fewer are through before a leader falls for certain


def pool_label(pool: str) -> str:
    """The label of the nodes of a pool."""
    return f"storm.test/{pool}"


async def prepare(client: KubeClient) -> None:
    """Namespaces, limits, pools, Flows and Deployments; the operators have their namespace from the definitions."""
    for namespace in TEAMS:
        quota = {QUOTA_ANNOTATION: str(QUOTAS[namespace])} if namespace in QUOTAS else {}
        await client.create("/api/v1/namespaces", {"metadata": {"name": namespace, "annotations": quota}})
    for name, spec in LIMITS.items():
        await put(client, "ConcurrencyLimit", "concurrencylimits", name, spec)
    for name, spec in POOLS.items():
        fits = {"nodeSelector": {pool_label(name): "yes"}, "maxPodResources": {"cpu": "4", "memory": "8Gi"}}
        await put(client, "WorkPool", "workpools", name, {**fits, **spec})
    for team in TEAMS:
        for flow, needs in NEEDS.items():
            await put(client, "Flow", f"namespaces/{team}/flows", flow, flow_spec(flow, needs))
        for name, limit in DEPLOYMENTS.items():
            spec = {
                "flowRef": {"name": "plain"},
                "concurrency": {"limit": limit},
                "history": {"succeeded": RUNS, "failed": RUNS},
            }
            await put(client, "Deployment", f"namespaces/{team}/deployments", name, spec)


def flow_spec(flow: str, needs: Mapping[str, int]) -> dict[str, Any]:
    """A Flow that tries again at once."""
    at_once = {"delaySeconds": 0, "jitter": 0}
    named = [{"name": name, "slots": slots} for name, slots in needs.items() if flow != "elastic"]
    return {
        "command": ["true"],
        "image": "storm",
        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        "retries": {"limit": 1, **at_once},
        "infrastructureRetries": {"limit": 3, **at_once},
        **({"limits": named} if named else {}),
    }


async def put(client: KubeClient, kind: str, collection: str, name: str, spec: Mapping[str, Any]) -> None:
    """A new object of ours."""
    body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    await client.create(f"/apis/{API_VERSION}/{collection}", body)


async def create(client: KubeClient, runs: Sequence[Planned]) -> None:
    """These runs, a few at a time."""
    gate = asyncio.Semaphore(CREATED_AT_ONCE)

    async def one(run: Planned) -> None:
        metadata = {"name": run.name, "labels": dict(run.labels)}
        body = {"apiVersion": API_VERSION, "kind": "FlowRun", "metadata": metadata, "spec": run.spec}
        async with gate:
            await client.create(f"/apis/{API_VERSION}/namespaces/{run.team}/flowruns", body)

    await asyncio.gather(*(one(run) for run in runs))


async def runs_of(client: KubeClient, **params: str) -> list[dict[str, Any]]:
    """FlowRuns of all namespaces."""
    return await client.list(f"/apis/{API_VERSION}/flowruns", params)


async def run_all(client: KubeClient, runs: Sequence[Planned], began: float) -> None:
    """
    Creates the runs, so that there are always many waiting, and returns when all have ended.

    Tells now and then how it goes; fails with what they wait for if it takes too long.
    """
    unfinished = ",".join(f"status.phase!={phase}" for phase in sorted(FINISHED))
    created, shown = 0, 0.0
    while (left := await runs_of(client, fieldSelector=unfinished)) or created < len(runs):
        coming = runs[created : created + BACKLOG - len(left)]
        await create(client, coming)
        created += len(coming)
        if time.monotonic() - shown > TOLD_EVERY_S:
            shown = time.monotonic()
            print(f"\n{shown - began:.0f} s: {created} created, {len(left)} to end; {waits(left)}", flush=True)
        assert time.monotonic() - began < WITHIN_S, f"{len(left)} runs did not end: {waits(left)}"
        await asyncio.sleep(LOOK_EVERY_S)


def waits(runs: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many runs there are by phase and reason, the most first."""
    told = (run.get("status") or {} for run in runs)
    return dict(Counter(f"{s.get('phase', 'new')}/{s.get('reason', '')}" for s in told).most_common(6))


async def is_tidy(client: KubeClient) -> bool:
    """Whether every pod has ended and is let go, and no slot is held."""
    pods = await client.list("/api/v1/pods", {"labelSelector": FLOW_RUN_LABEL})
    leases = await client.list(f"/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases")
    held = [lease for lease in leases if LIMIT_LABEL in (lease["metadata"].get("labels") or {}) and holder_of(lease)]
    kept = [
        pod for pod in pods if pod["metadata"].get("finalizers") or pod["status"]["phase"] in {"Pending", "Running"}
    ]
    return not held and not kept


async def resize(client: KubeClient) -> None:
    """The limit `elastic` changes its size, for ever."""
    for slots in cycle(ELASTIC_SIZES):
        await asyncio.sleep(RESIZE_EVERY_S)
        await client.patch(f"/apis/{API_VERSION}/concurrencylimits/elastic", {"spec": {"slots": slots}})


def all_violations(requests: Sequence[Request], wakings: Sequence[violations.Waking]) -> dict[str, list[str]]:
    """What was found, by what was looked for; the first of each."""

    def needs(pod: violations.Pod) -> Mapping[str, int]:
        return {name: slots for name, slots in NEEDS[pod.labels[FLOW_LABEL]].items() if "slots" in LIMITS[name]}

    def rated(pod: violations.Pod) -> list[str]:
        return [name for name in NEEDS[pod.labels[FLOW_LABEL]] if "rate" in LIMITS[name]]

    found = {
        "pods": violations.two_pods_at_once(requests),
        "slots": violations.too_many_slots(requests, grace_s=GRACE_S),
        "pods without slots": violations.pods_without_slots(requests, needs),
        "deployments": violations.too_many_runs_of_deployments(requests, grace_s=GRACE_S),
        "namespaces": violations.too_many_runs_of_namespaces(requests, QUOTAS),
        "pools": violations.too_many_runs_in_pools(requests, grace_s=GRACE_S),
        "starts": violations.too_many_starts(requests, rated),
        "deposed": violations.written_while_deposed(requests, wakings),
    }
    return {what: [f"{len(lines)} in all", *lines[:10]] for what, lines in found.items() if lines}


def pods_per_run(requests: Sequence[Request]) -> dict[tuple[str, str], int]:
    """How many pods there were."""
    return dict(Counter((pod.run.namespace, pod.run.name) for pod in violations.pods_of(requests)))


def tell_logs(replicas: Replicas) -> None:
    """The end of each operator's log; pytest shows it beside a failure."""
    for name, process in replicas.processes.items():
        print(f"--- {name}\n{process.log.read_text()[-3000:]}")

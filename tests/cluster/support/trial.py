"""
Some runs over a limit, a pool and a Deployment's concurrency, and the judge: what the API server wrote down about them.

A test puts its fault where it likes: the operator's way to the API, its clock, the nodes.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.api.keys import API_VERSION, FLOW_LABEL
from headrace.slots import LIMIT_LABEL, holder_of
from tests.cluster.support import violations
from tests.cluster.support.audit import PodState, Request, SlotState, read
from tests.cluster.support.puppet import NODE_PATH, Ends, Pod, report
from tests.cluster.support.waiting import eventually
from tests.cluster.support.world import FINISHED, World

SLOTS, ROOM, AT_ONCE = 5, 8, 4
"""Slots of the limit, runs in the pool, active runs of the Deployment."""
CREATED_AT_ONCE = 12
LATER_S = 0.4
KEPT = 10_000
POOL_LABEL = "trial.test/pool"


@dataclass(frozen=True)
class Planned:
    """One run: of the Deployment (`steady`), with a slot of the limit (`load`), or one that fails for good (`broken`)."""

    name: str
    kind: str

    @property
    def outcome(self) -> str:
        """Its phase in the end."""
        return "Failed" if self.kind == "broken" else "Succeeded"

    @property
    def fails_first(self) -> bool:
        """Whether its first attempt fails."""
        return self.kind == "broken" or random.Random(self.name).random() < 0.1

    @property
    def pods(self) -> int:
        """How many attempts it takes; each Flow tries again once."""
        return 1 + self.fails_first


def planned(count: int) -> list[Planned]:
    """The runs of a trial; the kinds take turns."""
    kinds = ("steady", "load", "steady", "load", "load", "broken")
    return [Planned(f"run-{number}", kinds[number % len(kinds)]) for number in range(count)]


def play(pod: Pod) -> Ends:
    """The script of the pods: most end at once, some a little later."""
    name, _, attempt = str(pod["metadata"]["name"]).rpartition("-")
    run = Planned(name, str(pod["metadata"]["labels"][FLOW_LABEL]))
    after_s = LATER_S if random.Random(name).random() < 0.3 else 0.0
    fails = run.fails_first if attempt == "1" else run.kind == "broken"
    return Ends(1, message=report("Failed"), after_s=after_s) if fails else Ends(message=report(), after_s=after_s)


class Trial:
    """
    The objects of one trial in a world, and what became of them.

    Args:
        audit_log: Of the API server; what it held before is another's.
    """

    def __init__(self, world: World, audit_log: Path) -> None:
        self.world = world
        self.name = f"trial-{world.namespace}"
        self._audit_log = audit_log
        self._since = audit_log.stat().st_size

    async def prepare(self) -> None:
        """A limit and a pool of its own, three Flows and a Deployment."""
        client, ours = self.world.client, {"matchLabels": {"kubernetes.io/metadata.name": self.world.namespace}}
        await client.patch(NODE_PATH, {"metadata": {"labels": {POOL_LABEL: "yes"}}})
        fits = {"nodeSelector": {POOL_LABEL: "yes"}, "maxPodResources": {"cpu": "4", "memory": "8Gi"}}
        await self._put("WorkPool", "workpools", {**fits, "capacity": {"runs": ROOM}, "namespaces": ours})
        await self._put("ConcurrencyLimit", "concurrencylimits", {"slots": SLOTS})
        for flow in ("steady", "load", "broken"):
            limits = [] if flow == "steady" else [{"name": self.name, "slots": 1}]
            at_once = {"limit": 1, "delaySeconds": 0, "jitter": 0}
            sizes = {"requests": {"cpu": "100m", "memory": "64Mi"}}
            given = {"retries": at_once, "infrastructureRetries": {**at_once, "limit": 9}, "resources": sizes}
            await self.world.a_flow(flow, command=["true"], image="trial", limits=limits, **given)
        flow, kept = {"name": "steady"}, {"succeeded": KEPT, "failed": KEPT}
        await self.world.create("Deployment", "steady", flowRef=flow, concurrency={"limit": AT_ONCE}, history=kept)

    async def remove(self) -> None:
        """What is in no namespace."""
        await self.world.client.delete(f"/apis/{API_VERSION}/workpools/{self.name}")
        await self.world.client.delete(f"/apis/{API_VERSION}/concurrencylimits/{self.name}")

    async def create(self, runs: Sequence[Planned]) -> None:
        """These runs, a few at a time."""
        gate = asyncio.Semaphore(CREATED_AT_ONCE)

        async def one(run: Planned) -> None:
            of = {"deploymentRef": {"name": "steady"}} if run.kind == "steady" else {"flowRef": {"name": run.kind}}
            async with gate:
                await self.world.create("FlowRun", run.name, **of)

        await asyncio.gather(*(one(run) for run in runs))

    async def outcomes(self, *, within_s: float) -> dict[str, str]:
        """The phase of each run once all have ended, and all that they held is given back."""

        async def look() -> dict[str, str] | None:
            runs = await self.world.list("FlowRun")
            phases = {run["metadata"]["name"]: (run.get("status") or {}).get("phase", "new") for run in runs}
            return phases if set(phases.values()) <= FINISHED else None

        phases = await eventually(look, within_s=within_s, what="every run ends")
        await eventually(self._is_tidy, within_s=60, what="slots and pods are given back")
        return phases

    def pods(self, requests: Sequence[Request]) -> dict[str, int]:
        """How many pods each run had."""
        return dict(Counter(pod.run.name for pod in violations.pods_of(requests)))

    def requests(self) -> list[Request]:
        """What was asked since the trial began, of this namespace and of what is in none."""
        mine = {"", self.world.namespace}
        return [each for each in read(self._audit_log, since=self._since) if each.namespace in mine]

    def violations(self, requests: Sequence[Request], *, grace_s: float = 0.0) -> dict[str, list[str]]:
        """What must not have happened, by what was looked for."""

        def needs(pod: violations.Pod) -> Mapping[str, int]:
            return {} if pod.labels[FLOW_LABEL] == "steady" else {self.name: 1}

        found = {
            "pods": violations.two_pods_at_once(requests),
            "slots": violations.too_many_slots(requests, grace_s=grace_s),
            "pods without slots": violations.pods_without_slots(requests, needs),
            "deployments": violations.too_many_runs_of_deployments(requests, grace_s=grace_s),
            "pools": violations.too_many_runs_in_pools(requests, grace_s=grace_s),
            "deposed": violations.written_while_deposed(requests),
        }
        return {what: lines[:10] for what, lines in found.items() if lines}

    async def _put(self, kind: str, collection: str, spec: Mapping[str, Any]) -> None:
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": self.name}, "spec": spec}
        await self.world.client.create(f"/apis/{API_VERSION}/{collection}", body)

    async def _is_tidy(self) -> bool:
        pods = await self.world.pods()
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{self.world.namespace}/leases"
        held = [
            each for each in await self.world.client.list(leases, {"labelSelector": LIMIT_LABEL}) if holder_of(each)
        ]
        kept = [p for p in pods if p["metadata"].get("finalizers") or p["status"]["phase"] in {"Pending", "Running"}]
        return not held and not kept


def most_at_once(requests: Sequence[Request]) -> dict[str, int]:
    """How many slots were held, and pods alive, at the highest: a trial in which nothing is ever full shows nothing."""
    held: dict[str, str] = {}
    alive: set[str] = set()
    most = {"slots": 0, "pods": 0}
    for request in requests:
        state = request.state
        if isinstance(state, SlotState):
            held[state.uid] = state.holder
        elif isinstance(state, PodState):
            (alive.discard if state.has_ended else alive.add)(state.uid)
        most["slots"] = max(most["slots"], sum(map(bool, held.values())))
        most["pods"] = max(most["pods"], len(alive))
    return most

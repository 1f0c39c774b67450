"""Runs over limits, pools and Deployments in three namespaces: what they need, how they end, how often they are tried."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.api.keys import ATTEMPT_LABEL, FLOW_LABEL, FLOW_RUN_LABEL
from tests.cluster.support.puppet import Ends, report
from tests.cluster.support.violations import Pod
from tests.simulated.cluster import INLINE, PLURALS, Cluster

TEAMS = ("team-a", "team-b", "team-c")
LIMITS: Mapping[str, dict[str, Any]] = {
    "db": {"slots": 6},
    "cache": {"slots": 7},
    "api": {"rate": {"count": 10, "perSeconds": 2}},
}
NEEDS: Mapping[str, Mapping[str, int]] = {
    "plain": {},
    "load": {"db": 1},
    "join": {"cache": 2, "db": 1},
    "calls": {"api": 1},
    "shaky": {"db": 1},
    "broken": {},
}
"""Slots, or a start, that a run of each Flow needs."""
KINDS = ("plain", "load", "calls", "join", "plain", "load", "shaky", "plain", "join", "broken")
POOLS: Mapping[str, dict[str, Any]] = {
    "small": {"capacity": {"runs": 8}, "pricing": {"perHour": 0.1}},
    "large": {"capacity": {"runs": 14}, "pricing": {"perHour": 0.4}},
}
DEPLOYMENTS: Mapping[str, int] = {"nightly": 4, "hourly": 2}
RETRIES = {"limit": 1, "delaySeconds": 1}
INFRASTRUCTURE_RETRIES = {"limit": 100, "delaySeconds": 1, "maxDelaySeconds": 2}
LONGEST_S = 2.0


@dataclass(frozen=True)
class Planned:
    """One run."""

    team: str
    name: str
    flow: str
    spec: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        """Its phase in the end."""
        return "Failed" if self.flow == "broken" else "Succeeded"


def planned(number: int) -> Planned:
    """The run of this number; the kinds of runs take turns."""
    team, flow = TEAMS[number % len(TEAMS)], KINDS[number // len(TEAMS) % len(KINDS)]
    spec: dict[str, Any] = {"flowRef": {"name": flow}, "priority": number % 3}
    if flow == "plain":
        spec = {"deploymentRef": {"name": tuple(DEPLOYMENTS)[number // 2 % len(DEPLOYMENTS)]}}
    return Planned(team, f"run-{number}", flow, spec)


def play(pod: Mapping[str, Any]) -> Ends:
    """The script: most pods succeed, some at once and some after a while; a shaky flow fails once, a broken one always."""
    labels = pod["metadata"]["labels"]
    dice = random.Random(labels[FLOW_RUN_LABEL])
    after_s = dice.uniform(0.1, LONGEST_S) if dice.random() < 0.5 else 0.0
    flow = labels[FLOW_LABEL]
    if flow == "broken" or (flow == "shaky" and labels[ATTEMPT_LABEL] == "1"):
        return Ends(1, message=report("Failed"), after_s=after_s)
    return Ends(message=report(), after_s=after_s)


async def prepare(cluster: Cluster) -> None:
    """All that the runs need."""
    for name, spec in LIMITS.items():
        await cluster.make("ConcurrencyLimit", name, "", spec)
    for name, spec in POOLS.items():
        await cluster.make("WorkPool", name, "", spec)
    for team in TEAMS:
        cluster.store.create(PLURALS["Namespace"], "", {"metadata": {"name": team}}, agent="tests")
        for flow, needs in NEEDS.items():
            limits = [{"name": name} | ({"slots": count} if name != "api" else {}) for name, count in needs.items()]
            spec = {**INLINE, "retries": RETRIES, "infrastructureRetries": INFRASTRUCTURE_RETRIES}
            await cluster.make("Flow", flow, team, {**spec, **({"limits": limits} if limits else {})})
        for name, limit in DEPLOYMENTS.items():
            spec = {"flowRef": {"name": "plain"}, "concurrency": {"limit": limit}}
            await cluster.make("Deployment", name, team, spec)


def slots_of(pod: Pod) -> Mapping[str, int]:
    """Slots that the run of a pod must hold."""
    return {limit: count for limit, count in NEEDS[pod.labels[FLOW_LABEL]].items() if limit != "api"}


def rates_of(pod: Pod) -> tuple[str, ...]:
    """Limits of whose rate the run of a pod needs a start."""
    return ("api",) if "api" in NEEDS[pod.labels[FLOW_LABEL]] else ()

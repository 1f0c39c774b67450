"""Automations under faults: whatever befalls the operators, each event starts one run, and nothing else does."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from headrace.api.keys import AUTOMATION_LABEL
from tests.simulated import timeless
from tests.simulated.cluster import PLURALS, Cluster, a_cluster, path
from tests.simulated.replica import Replica
from tests.simulated.store import Change
from tests.simulated.suite import NODE_NAMES, SETTLING_S, WITHIN_S, Scene, Trial, under_way
from tests.simulated.trials import TRIALS
from tests.simulated.workload import TEAMS, play, prepare

FAILING = 30
CHOSEN = (
    "none",
    "dropped after it took effect",
    "409",
    "killed at any request",
    "leaders' writes held up",
    "shards, replicas killed",
    "shards, replicas stopped while they write",
    "all at once",
)
Happen = Callable[[Cluster, str, str], Awaitable[object]]
"""Lets something happen in a namespace, about an object of this name."""


def an_automation(trigger: dict[str, Any], name: str) -> dict[str, Any]:
    """One that starts a run for each event, and tells it the name of what the event is about."""
    start = {"deployment": "nightly", "parameters": {"run": name}}
    return {"trigger": trigger, "deduplicateSeconds": 0, "actions": [{"name": "look", "start": start}]}


ON_FAILED = an_automation({"run": {"phases": ["Failed"], "flows": ["broken"]}}, "{{ event.run.name }}")
ON_EVENT = an_automation({"kubernetesEvent": {"kinds": ["Pod"]}}, "{{ event.kubernetes.object.name }}")


async def a_failing_run(cluster: Cluster, team: str, name: str) -> None:
    """It ends at once."""
    await cluster.make("FlowRun", name, team, {"flowRef": {"name": "broken"}})


async def an_event(cluster: Cluster, team: str, name: str) -> None:
    """As a kubelet tells of a pod; of another kind of object, and of the other type, besides."""
    for kind, event_type in (("Node", "Warning"), ("Pod", "Normal"), ("Pod", "Warning")):
        told = {"involvedObject": {"kind": kind, "name": name}, "reason": "BackOff", "type": event_type, "count": 1}
        metadata = {"name": f"{name}-{kind}-{event_type}".lower()}
        await cluster.client().create(path("Event", team), {"metadata": metadata, **told})


class Answers:
    """Runs that Automations started, as the store saw them begin: by namespace and the run that they are about."""

    def __init__(self) -> None:
        self.count: Counter[tuple[str, str]] = Counter()
        self._news = asyncio.Event()

    def note(self, change: Change) -> None:
        """An observer of the store."""
        if change.kind.plural != "flowruns" or change.before is not None or change.after is None:
            return
        obj = change.after.obj
        if AUTOMATION_LABEL in (obj["metadata"].get("labels") or {}):
            self.count[change.key[0], obj["spec"]["parameters"]["run"]] += 1
            self._news.set()

    async def are(self, count: int) -> None:
        """Returns once so many runs that failed have been answered."""
        while len(self.count) < count:
            self._news.clear()
            await self._news.wait()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", CHOSEN)
def test_each_failure_starts_one_run_under(name: str) -> None:
    """It is claimed by compare and swap, and its run is named after the claim."""
    dice = random.Random(1)
    random.seed(1)
    expected = {(TEAMS[number % len(TEAMS)], f"bad-{number}"): 1 for number in range(FAILING)}
    answered, firings = timeless.run(_answered(TRIALS[name], list(expected), dice, ON_FAILED, a_failing_run))
    assert answered == expected
    assert firings == {"Done": FAILING}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", CHOSEN)
def test_each_event_of_kubernetes_starts_one_run_under(name: str) -> None:
    """It is watched by whoever leads, and listed by whoever comes to."""
    dice = random.Random(2)
    random.seed(2)
    expected = {(TEAMS[number % len(TEAMS)], f"bad-{number}"): 1 for number in range(FAILING)}
    answered, firings = timeless.run(_answered(TRIALS[name], list(expected), dice, ON_EVENT, an_event))
    assert answered == expected
    assert firings == {"Done": FAILING}


async def _answered(
    trial: Trial, about: list[tuple[str, str]], dice: random.Random, automation: dict[str, Any], happen: Happen
) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """How many runs each has brought about, and the states of the firings."""
    cluster = a_cluster(play, node_names=NODE_NAMES, begins_in_s=partial(dice.uniform, 0.01, 0.2))
    answers = Answers()
    cluster.store.observers.append(answers.note)
    await prepare(cluster)
    for team in TEAMS:
        await cluster.make("Automation", "look", team, automation)
    names = ("left", "right")[: trial.replicas]
    replicas = tuple(Replica(cluster, name, trial.faults, dice, shards=trial.shards) for name in names)
    async with under_way(Scene(cluster, replicas, dice), trial.havoc), asyncio.timeout(WITHIN_S):
        for team, name in about:
            await happen(cluster, team, name)
            await asyncio.sleep(dice.uniform(0, 0.5))
        await answers.are(len(about))
    for replica in replicas:
        replica.calm()
    await asyncio.sleep(SETTLING_S)
    for replica in replicas:
        await replica.end()
    assert not [problem for replica in replicas for problem in replica.problems]
    return answers.count, _states(cluster)


def _states(cluster: Cluster) -> Counter[str]:
    stored = cluster.store.all(PLURALS["Automation"]).values()
    return Counter(firing["state"] for each in stored for firing in each.obj["status"]["firings"])

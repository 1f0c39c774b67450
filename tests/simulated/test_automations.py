"""Automations under faults: whatever befalls the operators, each run that fails starts one run, and no other does."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from functools import partial

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
AUTOMATION = {
    "trigger": {"run": {"phases": ["Failed"], "flows": ["broken"]}},
    "deduplicateSeconds": 0,
    "actions": [{"name": "look", "start": {"deployment": "nightly", "parameters": {"run": "{{ event.run.name }}"}}}],
}


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
    answered, firings = timeless.run(_answered(TRIALS[name], list(expected), dice))
    assert answered == expected
    assert firings == {"Done": FAILING}


async def _answered(
    trial: Trial, failing: list[tuple[str, str]], dice: random.Random
) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """How many runs each that failed has brought about, and the states of the firings."""
    cluster = a_cluster(play, node_names=NODE_NAMES, begins_in_s=partial(dice.uniform, 0.01, 0.2))
    answers = Answers()
    cluster.store.observers.append(answers.note)
    await prepare(cluster)
    for team in TEAMS:
        await cluster.make("Automation", "look", team, AUTOMATION)
    names = ("left", "right")[: trial.replicas]
    replicas = tuple(Replica(cluster, name, trial.faults, dice, shards=trial.shards) for name in names)
    async with under_way(Scene(cluster, replicas, dice), trial.havoc), asyncio.timeout(WITHIN_S):
        for team, name in failing:
            body = {"metadata": {"name": name}, "spec": {"flowRef": {"name": "broken"}}}
            await cluster.client().create(path("FlowRun", team), body)
            await asyncio.sleep(dice.uniform(0, 0.5))
        await answers.are(len(failing))
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

"""Budgets under faults: whatever befalls the operators, each attempt is counted once, and what is spent stops what comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from headrace.api.keys import ATTEMPT_LABEL, FLOW_RUN_LABEL
from tests.cluster.support.puppet import Ends, report
from tests.simulated import timeless
from tests.simulated.cluster import PLURALS, Cluster, a_cluster, an_operator, at_work, path
from tests.simulated.replica import Replica
from tests.simulated.store import Change
from tests.simulated.suite import NODE_NAMES, SETTLING_S, WITHIN_S, Scene, Trial, under_way
from tests.simulated.trials import TRIALS
from tests.simulated.workload import RETRIES, TEAMS, prepare

RUNS = 24
TEAM = TEAMS[0]
CHOSEN = (
    "none",
    "dropped after it took effect",
    "409",
    "pods vanish",
    "killed at any request",
    "leaders' writes held up",
    "shards, replicas killed",
    "all at once",
)
BUDGET = {"amount": 1000, "period": "Month", "action": "Stop"}
KEPT = {"succeeded": 1, "failed": 1}
UNTIL_MIDNIGHT_S = 3600.0
"""In Los Angeles, where the simulated cluster begins at 23 h."""


class Bills:
    """What each run has cost, as the store saw it last, and how many have ended."""

    def __init__(self) -> None:
        self.costs: dict[str, Decimal] = {}
        self.attempts = 0
        self._ended: set[str] = set()
        self._news = asyncio.Event()

    def note(self, change: Change) -> None:
        """An observer of the store."""
        if change.kind.plural == "pods" and change.before is None:
            self.attempts += 1
        if change.kind.plural != "flowruns" or change.after is None:
            return
        status = change.after.obj.get("status") or {}
        paid = (each["cost"]["amount"] for each in status.get("attempts") or () if "cost" in each)
        self.costs[change.after.uid] = sum(map(Decimal, paid), Decimal(0))
        if status.get("finishedAt"):
            self._ended.add(change.after.uid)
            self._news.set()

    @property
    def total(self) -> Decimal:
        """Of all runs that there ever were."""
        return sum(self.costs.values(), Decimal(0))

    @property
    def ended(self) -> int:
        """Runs that are over."""
        return len(self._ended)

    async def have_ended(self, count: int) -> None:
        """Returns once so many runs have."""
        while self.ended < count:
            self._news.clear()
            await self._news.wait()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", CHOSEN)
def test_each_attempt_is_counted_once_under(name: str) -> None:
    """Most runs are deleted long before the end; their costs are in the status of their Deployment all the same."""
    dice = random.Random(2)
    random.seed(2)
    spent, bills, kept = timeless.run(_spent(TRIALS[name], dice))
    assert Decimal(spent["amount"]) == bills.total > 0
    assert spent["amount"] == spent["settled"]
    assert spent["runs"] == RUNS
    assert kept < RUNS / 2


async def _spent(trial: Trial, dice: random.Random) -> tuple[dict[str, Any], Bills, int]:
    """The Deployment's status, what its runs have cost, and how many of them are left."""
    cluster = a_cluster(_shaky, node_names=NODE_NAMES, begins_in_s=partial(dice.uniform, 0.01, 0.2))
    bills = Bills()
    cluster.store.observers.append(bills.note)
    await prepare(cluster)
    await _make(cluster, flowRef={"name": "shaky"}, budget=BUDGET, history=KEPT)
    names = ("left", "right")[: trial.replicas]
    replicas = tuple(Replica(cluster, name, trial.faults, dice, shards=trial.shards) for name in names)
    async with under_way(Scene(cluster, replicas, dice), trial.havoc), asyncio.timeout(WITHIN_S):
        for number in range(RUNS):
            await _start(cluster, f"dear-{number}")
            await asyncio.sleep(dice.uniform(0, 0.5))
        await bills.have_ended(RUNS)
    for replica in replicas:
        replica.calm()
    await asyncio.sleep(SETTLING_S)
    for replica in replicas:
        await replica.end()
    assert not [problem for replica in replicas for problem in replica.problems]
    return _status(cluster)["spent"], bills, len(cluster.store.all(PLURALS["FlowRun"]))


@pytest.mark.timeout(120)
def test_what_a_spent_budget_holds_back_goes_on_in_the_next_period() -> None:
    """No attempt begins once the rest does not pay for it; at midnight those that wait start."""
    timeless.run(_over_midnight())


async def _over_midnight() -> None:
    cluster, bills = await _a_scene(amount="0.02", period="Day", timeZone="America/Los_Angeles")
    async with at_work(an_operator(cluster)):
        for number in range(20):
            await _start(cluster, f"dear-{number}")
        await asyncio.sleep(UNTIL_MIDNIGHT_S / 2)
        ended, attempts, status = bills.ended, bills.attempts, _status(cluster)
        assert 0 < ended < 20
        assert attempts == ended
        assert bills.total <= Decimal("0.02")
        assert Decimal(status["spent"]["amount"]) == bills.total
        assert _condition(status, "BudgetExceeded") == ("True", "BudgetExceeded")
        assert _waiting(cluster) == {"WaitingForBudget"}
        assert _told(cluster)["BudgetExceeded"] == 1
        await asyncio.sleep(UNTIL_MIDNIGHT_S / 3)
        assert bills.attempts == attempts
        await asyncio.sleep(UNTIL_MIDNIGHT_S / 2)
        assert ended < bills.ended
        assert Decimal(_status(cluster)["spent"]["amount"]) <= Decimal("0.02")


@pytest.mark.timeout(120)
def test_a_higher_amount_lets_them_go_on() -> None:
    """At once, and the whole budget stays counted."""
    timeless.run(_raised())


async def _raised() -> None:
    cluster, bills = await _a_scene(amount="0.01", period="Month")
    async with at_work(an_operator(cluster)):
        for number in range(12):
            await _start(cluster, f"dear-{number}")
        await asyncio.sleep(600)
        assert bills.ended < 12
        raised = {"spec": {"budget": {"amount": 5}}}
        await cluster.client().patch(path("Deployment", TEAM, "dear"), raised)
        await bills.have_ended(12)
        await asyncio.sleep(SETTLING_S)
        status = _status(cluster)
        assert Decimal(status["spent"]["amount"]) == bills.total
        assert _condition(status, "BudgetExceeded") == ("False", "WithinBudget")


@pytest.mark.timeout(120)
def test_a_budget_that_only_alerts_stops_nothing() -> None:
    """It is told once, and all runs end."""
    timeless.run(_only_told())


async def _only_told() -> None:
    cluster, bills = await _a_scene(amount="0.01", period="Month", action="Alert")
    async with at_work(an_operator(cluster)):
        for number in range(12):
            await _start(cluster, f"dear-{number}")
        await bills.have_ended(12)
        await asyncio.sleep(SETTLING_S)
        assert _condition(_status(cluster), "BudgetExceeded") == ("True", "BudgetExceeded")
        assert _told(cluster)["BudgetExceeded"] == 1


@pytest.mark.timeout(120)
def test_a_retry_that_is_not_paid_for_waits_and_gives_its_places_back() -> None:
    """Runs that failed once have retries left, and go to the line; what they held is free for others."""
    timeless.run(_retries_wait())


async def _retries_wait() -> None:
    cluster, bills = await _a_scene(amount="0.03", period="Day", flow="shaky")
    async with at_work(an_operator(cluster)):
        for number in range(12):
            await _start(cluster, f"dear-{number}")
        await asyncio.sleep(600)
        statuses = cluster.statuses("FlowRun").values()
        waiting = [each for each in statuses if each["phase"] == "Retrying"]
        assert waiting
        assert {each["reason"] for each in waiting} == {"WaitingForBudget"}
        held = [lease.obj["spec"].get("holderIdentity") for lease in cluster.store.all(PLURALS["Lease"]).values()]
        assert not [holder for holder in held if holder and "dear" in holder]
        ended = bills.ended
        raised = {"spec": {"budget": {"amount": 5}}}
        await cluster.client().patch(path("Deployment", TEAM, "dear"), raised)
        await bills.have_ended(12)
        assert ended < 12


@pytest.mark.timeout(120)
def test_runs_that_a_finalizer_keeps_are_counted_once() -> None:
    """Though they were deleted, and each new operator finds them again."""
    timeless.run(_kept_by_finalizers())


async def _kept_by_finalizers() -> None:
    cluster, bills = await _a_scene(amount="5", period="Month", history={"succeeded": 0, "failed": 0})
    for number in range(2):
        await _start(cluster, f"dear-{number}", finalizers=["example.com/audit"])
    for _ in range(4):
        async with at_work(an_operator(cluster)):
            await bills.have_ended(2)
            await asyncio.sleep(SETTLING_S)
            for pod in cluster.store.all(PLURALS["Pod"]).values():  # has their runs looked at once more
                labels = {"metadata": {"labels": {"seen": str(pod.version)}}}
                await cluster.client().patch(path("Pod", TEAM, pod.obj["metadata"]["name"]), labels)
            await _start(cluster, f"more-{bills.ended}")
            await bills.have_ended(bills.ended + 1)
            await asyncio.sleep(SETTLING_S)
        spent = _status(cluster)["spent"]
        assert (Decimal(spent["settled"]), spent["runs"]) == (bills.total, bills.ended)
    assert len(cluster.store.all(PLURALS["FlowRun"])) == 2


async def _a_scene(
    *, flow: str = "plain", history: dict[str, int] | None = None, **budget: Any
) -> tuple[Cluster, Bills]:
    """A Deployment whose runs take two seconds, or two to six where the first attempt fails."""
    script = _shaky if flow == "shaky" else _steady
    cluster = a_cluster(script, node_names=NODE_NAMES, begins_in_s=lambda: 0.1)
    bills = Bills()
    cluster.store.observers.append(bills.note)
    await prepare(cluster)
    budget = {"action": "Stop", **budget}
    kept = {} if history is None else {"history": history}
    await _make(cluster, flowRef={"name": flow}, retries=RETRIES, budget=budget, **kept)
    return cluster, bills


async def _make(cluster: Cluster, **spec: Any) -> None:
    """A Deployment whose runs cost 0.001 USD a second."""
    await cluster.make("WorkPool", "dear", "", {"pricing": {"cpuHour": "3.6"}})
    placed = {"pools": {"names": ["dear"]}, "resources": {"requests": {"cpu": "1"}}}
    await cluster.make("Deployment", "dear", TEAM, {**placed, **spec})


def _steady(pod: Mapping[str, Any]) -> Ends:
    return Ends(message=report(), after_s=2.0)


def _shaky(pod: Mapping[str, Any]) -> Ends:
    """The first attempt fails; all take some seconds, as nothing less costs anything."""
    labels = pod["metadata"]["labels"]
    after_s = random.Random(labels[FLOW_RUN_LABEL]).uniform(2, 6)
    if labels[ATTEMPT_LABEL] == "1":
        return Ends(1, message=report("Failed"), after_s=after_s)
    return Ends(message=report(), after_s=after_s)


async def _start(cluster: Cluster, name: str, **metadata: Any) -> None:
    body = {"metadata": {"name": name, **metadata}, "spec": {"deploymentRef": {"name": "dear"}}}
    await cluster.client().create(path("FlowRun", TEAM), body)


def _status(cluster: Cluster) -> dict[str, Any]:
    return cluster.statuses("Deployment")[TEAM, "dear"]


def _condition(status: dict[str, Any], kind: str) -> tuple[str, str]:
    found = next(each for each in status["conditions"] if each["type"] == kind)
    return found["status"], found["reason"]


def _waiting(cluster: Cluster) -> set[str]:
    return {each["reason"] for each in cluster.statuses("FlowRun").values() if each["phase"] == "Pending"}


def _told(cluster: Cluster) -> dict[str, int]:
    """How many Events of the Deployment there are for each reason."""
    found: dict[str, int] = {}
    for stored in cluster.store.all(PLURALS["Event"]).values():
        about = stored.obj.get("involvedObject") or stored.obj.get("regarding") or {}
        if about.get("kind") == "Deployment":
            found[stored.obj["reason"]] = found.get(stored.obj["reason"], 0) + 1
    return found

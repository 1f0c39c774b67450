"""What is known of a budget between two writes of the status, and what it lets start meanwhile."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from headrace.api.conditions import Reason
from headrace_operator.decide.deployment import decide_deployment
from headrace_operator.observe.budget import attempts_payable, budget_allows, budget_waits
from headrace_operator.observe.deployment import brakes_allow, observe_deployment, runs_allowed
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.purses import Purse
from tests.builders import NOW, stamp
from tests.unit.headrace_operator.observe.objects import Wakes, an_intake, deployment, flow, key, run

DAILY = key("daily")
BUDGET = {"budget": {"amount": 10, "period": "Day", "action": "Stop"}}
DAY = timedelta(days=1)


def spent(amount: str = "0", *, counted: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A status that was written at NOW."""
    midnight = NOW.replace(hour=0, minute=0, second=0)
    told = {"since": stamp(midnight), "until": stamp(midnight + DAY), "currency": "USD", "counted": list(counted)}
    return {"spent": {**told, "amount": amount, "settled": amount, "runs": 1, "perRun": "2", **fields}}


def costing(*amounts: str, over: bool = True) -> dict[str, Any]:
    """The status of a run whose attempts have cost that much."""
    attempts = [
        {"number": n, "pod": f"p-{n}", "finishedAt": stamp(NOW), "cost": {"amount": amount, "currency": "USD"}}
        for n, amount in enumerate(amounts, 1)
    ]
    end = {"phase": "Succeeded", "reason": "Succeeded", "finishedAt": stamp(NOW)}
    return {"attempts": attempts, "flowRevision": "rev1", **(end if over else {"phase": "Retrying"})}


class World:
    """A Deployment with a budget of 10, of which the status says something; a run of it is under way."""

    def __init__(self, status: dict[str, Any] | None = None) -> None:
        self.intake: Intake
        self.wakes: Wakes
        self.intake, self.wakes = an_intake()
        self.intake.flow_seen(flow())
        self.intake.deployment_seen(deployment(status=spent("4") if status is None else status, **BUDGET))
        self.intake.run_seen(run(name="r1", status={"phase": "Running", "flowRevision": "rev1"}))
        self.intake.history_listed()

    @property
    def purse(self) -> Purse:
        found = self.intake.history.purses.of(DAILY)
        assert found is not None
        return found

    def allowed(self) -> int | None:
        return budget_allows(self.intake.cache.deployments[DAILY], self.intake.history)

    def written(self, version: int) -> None:
        """The Deployment is decided on, and its status is stored."""
        seen = observe_deployment(self.intake.cache, self.intake.history, DAILY)
        assert seen is not None
        decision = decide_deployment(seen, NOW)
        assert decision.count is not None
        self.purse.writing(decision.count)
        stored = decision.status.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.intake.deployment_seen(deployment(version, status=stored, **BUDGET))


@pytest.fixture
def world() -> World:
    return World()


def test_what_has_ended_counts_before_the_status_tells_of_it(world: World) -> None:
    """So that its slot is not given on while that is written."""
    assert (world.purse.total, world.allowed()) == (4, 3)
    world.intake.run_seen(run(2, name="r1", status=costing("3")))
    assert (world.purse.total, world.allowed()) == (7, 1)
    assert world.purse.uncounted == {"r1-uid"}


def test_once_the_status_tells_of_it_the_run_may_be_deleted(world: World) -> None:
    world.intake.run_seen(run(2, name="r1", status=costing("3")))
    world.wakes.told()
    world.written(2)
    assert (world.purse.total, world.purse.uncounted) == (7, frozenset())
    assert "Retention daily" in world.wakes.told()


def test_a_run_that_ends_while_the_status_is_written_is_not_taken_for_counted(world: World) -> None:
    """It is in the next count."""
    seen = observe_deployment(world.intake.cache, world.intake.history, DAILY)
    assert seen is not None
    decision = decide_deployment(seen, NOW)
    assert decision.count is not None
    world.purse.writing(decision.count)
    world.intake.run_seen(run(2, name="r1", status=costing("3")))
    stored = decision.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    world.intake.deployment_seen(deployment(2, status=stored, **BUDGET))
    assert (world.purse.total, world.purse.uncounted) == (7, {"r1-uid"})


def test_attempts_of_a_run_under_way_are_spent_already(world: World) -> None:
    """Its end counts them once."""
    world.intake.run_seen(run(2, name="r1", status=costing("1", over=False)))
    assert (world.purse.total, world.allowed()) == (5, 2)
    world.intake.run_seen(run(3, name="r1", status=costing("1", "2")))
    assert world.purse.total == 7


def test_what_a_deleted_run_has_cost_till_then_stays_spent(world: World) -> None:
    world.intake.run_seen(run(2, name="r1", status=costing("1", over=False)))
    world.intake.run_gone(key("r1"), "r1-uid")
    assert world.allowed() == 1  # what else it has cost is being found out
    world.intake.run_deleted(key("r1"), "r1-uid")
    assert (world.purse.total, world.allowed()) == (5, 2)
    world.written(2)
    assert (world.purse.total, world.purse.uncounted) == (5, frozenset())


def test_a_new_operator_counts_what_the_status_does_not_name() -> None:
    """Of the runs that had ended before it began."""
    intake, _ = an_intake()
    intake.flow_seen(flow())
    intake.deployment_seen(deployment(status=spent("4", counted=("a-uid",)), **BUDGET))
    assert budget_allows(intake.cache.deployments[DAILY], intake.history) == 0
    for name, amount in (("a", "4"), ("b", "3")):
        ended = run(name=name, status=costing(amount))
        intake.finished_run_listed(run_from(ended), ended)
    intake.history_listed()
    purse = intake.history.purses.of(DAILY)
    assert purse is not None
    assert (purse.total, purse.uncounted) == (7, {"b-uid"})


def is_deleted(obj: Any) -> Any:
    """Somebody's finalizer keeps it."""
    obj["metadata"].update(deletionTimestamp=stamp(NOW), finalizers=["example.com/audit"])
    return obj


def test_a_run_that_stays_though_it_was_deleted_is_not_counted_again() -> None:
    """Its operator let it go, so that the status names it no more; the next one lists it."""
    intake, _ = an_intake()
    intake.deployment_seen(deployment(status=spent("4"), **BUDGET))
    ended = is_deleted(run(name="a", status=costing("4")))
    intake.finished_run_listed(run_from(ended), ended)
    intake.history_listed()
    assert budget_allows(intake.cache.deployments[DAILY], intake.history) == 3
    assert intake.history.has_finished(key("a"), "a-uid")


def test_nor_is_it_by_the_operator_that_deleted_it(world: World) -> None:
    """One of its pods may have it look at the run once more."""
    world.intake.run_seen(run(2, name="r1", status=costing("3")))
    world.written(2)
    (kept,) = world.intake.history.of(world.intake.history.owners()[0])
    world.intake.run_retired(kept)
    world.intake.run_seen(is_deleted(run(3, name="r1", status=costing("3"))))
    assert (world.purse.total, world.purse.uncounted) == (7, frozenset())


@pytest.mark.parametrize("is_answered", [True, False], ids=["its answer comes first", "its answer comes last"])
def test_a_deleted_run_that_ends_as_a_new_operator_begins_is_counted(*, is_answered: bool) -> None:
    """It was under way: nobody else can have counted it."""
    intake, _ = an_intake()
    intake.deployment_seen(deployment(status=spent("4"), **BUDGET))
    intake.run_seen(is_deleted(run(name="a", status=costing("1", over=False))))
    ended = is_deleted(run(2, name="a", status=costing("1", "2")))
    if is_answered:
        intake.run_written(ended, is_settled=True)
    else:
        intake.run_gone(key("a"), "a-uid")
    intake.finished_run_listed(run_from(ended), ended)
    intake.run_seen(ended)
    intake.history_listed()
    purse = intake.history.purses.of(DAILY)
    assert purse is not None
    assert (purse.total, purse.uncounted) == (7, {"a-uid"})


def test_an_instant_stands_for_those_that_are_not_named() -> None:
    """But for a run that ended since the operator began: nobody can have counted it."""
    later = (NOW + timedelta(seconds=1)).isoformat()
    world = World(spent("4", countedUntil=later))
    world.intake.run_seen(run(2, name="r1", status=costing("3")))
    assert (world.purse.total, world.purse.uncounted) == (7, {"r1-uid"})


def test_somebody_else_s_edit_of_the_status_is_believed(world: World) -> None:
    """Runs that it does not name are counted."""
    world.intake.run_seen(run(2, name="r1", status=costing("3")))
    world.written(2)
    world.intake.deployment_seen(deployment(3, status=spent("1"), **BUDGET))
    assert (world.purse.total, world.purse.uncounted) == (4, {"r1-uid"})


def test_costs_that_are_of_no_concern_hold_no_run() -> None:
    """Those of another currency, and of a period that is over."""
    world = World()
    ended = costing("3")
    ended["attempts"][0]["cost"]["currency"] = "EUR"
    world.intake.run_seen(run(2, name="r1", status=ended))
    old = costing("3")
    old["attempts"][0]["finishedAt"] = stamp(NOW - 2 * DAY)
    world.intake.run_seen(run(3, name="r2", status=old))
    assert (world.purse.total, world.purse.uncounted) == (4, frozenset())


def test_nothing_starts_before_the_first_count() -> None:
    """Nor is any run sent back for it."""
    world = World({})
    record = world.intake.cache.deployments[DAILY]
    assert world.allowed() == 0
    assert attempts_payable(record, world.intake.history) is None
    waits = budget_waits(record, world.intake.history)
    assert waits is not None
    assert waits.reason is Reason.WAITING_FOR_BUDGET
    world.written(2)
    assert world.allowed() == 1


def test_no_run_is_skipped_for_what_is_not_known_yet(world: World) -> None:
    """It waits instead, and is skipped for a budget that is known to be spent."""
    fresh = World({})
    record = fresh.intake.cache.deployments[DAILY]
    assert (runs_allowed(record, fresh.intake.history), brakes_allow(record, fresh.intake.history)) == (0, None)
    world.intake.run_seen(run(2, name="r1", status=costing("6")))
    record = world.intake.cache.deployments[DAILY]
    assert (runs_allowed(record, world.intake.history), brakes_allow(record, world.intake.history)) == (0, 0)


def test_the_narrower_bound_is_told() -> None:
    """A budget that pays for more than `concurrency` allows is not what a run waits for."""
    world = World()
    narrow = deployment(2, generation=2, status=spent("4"), concurrency={"limit": 2}, **BUDGET)
    world.intake.deployment_seen(narrow)
    assert budget_waits(world.intake.cache.deployments[DAILY], world.intake.history) is None
    world.intake.deployment_seen(deployment(3, generation=3, status=spent("4"), concurrency={"limit": 4}, **BUDGET))
    assert budget_waits(world.intake.cache.deployments[DAILY], world.intake.history) is not None


def test_without_a_budget_nothing_is_kept_and_nothing_bounded(world: World) -> None:
    """What had ended meanwhile counts when there is one again."""
    world.intake.deployment_seen(deployment(2, generation=2, status={}))
    assert world.intake.history.purses.of(DAILY) is None
    assert world.allowed() is None
    world.intake.run_seen(run(2, name="r1", status=costing("3")))
    world.intake.deployment_seen(deployment(3, generation=3, status={}, **BUDGET))
    world.written(4)
    assert world.purse.total == Decimal(3)

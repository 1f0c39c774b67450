"""What is held of Backfills and their runs: under way until the end is certain, then until the status tells of it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace.api.conditions import Phase
from headrace_operator.observe.backfill import observe_backfill
from headrace_operator.observe.history import Owner
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.parse import run_from
from headrace_operator.settings import Settings
from tests.builders import NAMESPACE, NOW, stamp
from tests.unit.headrace_operator.observe.objects import (
    STATUS_DELAY_S,
    Wakes,
    an_intake,
    deployment,
    finished,
    key,
    metadata,
    run,
)

SPEC = {"deploymentRef": {"name": "daily"}, "partitions": {"list": [{"name": "p0"}, {"name": "p1"}]}}

PAID = {"attempts": [{"number": 1, "pod": "p-1", "finishedAt": stamp(NOW), "cost": {"amount": "3", "currency": "USD"}}]}
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0)
SPENT = {
    "spent": {
        "since": stamp(MIDNIGHT),
        "until": stamp(MIDNIGHT + timedelta(days=1)),
        "amount": "4",
        "settled": "4",
        "currency": "USD",
    }
}


def backfill(version: int = 1, *, status: dict[str, Any] | None = None, generation: int = 1, **spec: Any) -> Any:
    """One of two partitions."""
    return {
        "metadata": metadata("bf", version, generation=generation),
        "spec": {**SPEC, **spec},
        "status": status or {},
    }


def partition_run(version: int = 1, *, position: int = 0, status: dict[str, Any] | None = None, uid: str = "") -> Any:
    """A run of the Backfill."""
    made = run(version, name=f"bf-p{position}", uid=uid, status=status)
    made["metadata"]["labels"] = {
        "headrace.dev/backfill": "bf",
        "headrace.dev/partition": f"p{position}",
        "headrace.dev/position": str(position),
        "headrace.dev/try": "1",
    }
    made["metadata"]["ownerReferences"] = [{"kind": "Backfill", "name": "bf", "uid": "bf-uid"}]
    return made


@pytest.fixture
def heard() -> tuple[Intake, Wakes]:
    """An intake that has heard of the Backfill and its Deployment."""
    intake, wakes = an_intake()
    intake.deployment_seen(deployment())
    intake.backfills.seen(backfill())
    wakes.told()
    return intake, wakes


def under_way(intake: Intake) -> list[str]:
    return sorted(intake.backfills.runs("bf-uid").active)


def untold(intake: Intake) -> list[tuple[str, Phase]]:
    return sorted((end.key.name, end.phase) for end in intake.backfills.runs("bf-uid").ended.values())


def test_a_run_that_is_deleted_before_our_write_is_answered_is_asked_for_all_the_same(
    heard: tuple[Intake, Wakes],
) -> None:
    """The answer is older than the deletion: taken for news, its partition would count as under way for ever."""
    intake, wakes = heard
    intake.run_seen(partition_run(2))
    wakes.told()
    intake.run_gone(key("bf-p0"), "bf-p0-uid")
    intake.run_written(partition_run(3, status={"phase": "Running"}), is_settled=True)
    assert intake.history.departures.uid(key("bf-p0")) == "bf-p0-uid"
    assert "FlowRun bf-p0 in 1 s" in wakes.told()
    intake.run_deleted(key("bf-p0"), "bf-p0-uid")
    assert (under_way(intake), untold(intake)) == ([], [("bf-p0", Phase.CANCELLED)])


def test_a_run_is_under_way_from_its_creation_to_its_end(heard: tuple[Intake, Wakes]) -> None:
    """Its end wakes the Backfill a little later, and its retention."""
    intake, wakes = heard
    intake.run_seen(partition_run(2))
    assert under_way(intake) == ["bf-p0"]
    wakes.told()
    intake.run_seen(partition_run(3, status=finished()))
    assert (under_way(intake), untold(intake)) == ([], [("bf-p0", Phase.SUCCEEDED)])
    told = wakes.told()
    assert "Backfill bf in 0.05 s" in told
    assert f"BackfillRetention bf in {STATUS_DELAY_S:g} s" in told
    assert not any(name.startswith("Retention") for name in told)


def test_a_late_event_raises_no_run_from_the_dead(heard: tuple[Intake, Wakes]) -> None:
    """The stream may tell of a run as it was before the end that we wrote ourselves."""
    intake, _ = heard
    intake.run_seen(partition_run(2))
    intake.run_seen(partition_run(4, status=finished()))
    intake.backfills.seen(backfill(5, status={"outcomes": {"succeeded": "0"}}))
    intake.run_seen(partition_run(3))
    assert (under_way(intake), untold(intake)) == ([], [])


def test_a_run_that_left_the_stream_is_under_way_until_it_is_known_to_be_deleted(heard: tuple[Intake, Wakes]) -> None:
    """Then its partition counts as cancelled."""
    intake, wakes = heard
    intake.run_seen(partition_run(2))
    intake.run_gone(key("bf-p0"), "bf-p0-uid")
    assert under_way(intake) == ["bf-p0"]
    wakes.told()
    intake.run_deleted(key("bf-p0"), "bf-p0-uid")
    assert (under_way(intake), untold(intake)) == ([], [("bf-p0", Phase.CANCELLED)])
    assert "Backfill bf" in wakes.told()


def test_what_the_status_tells_is_held_no_more(heard: tuple[Intake, Wakes]) -> None:
    """However often the finished run is listed."""
    intake, _ = heard
    intake.run_seen(partition_run(2, status=finished()))
    intake.backfills.seen(backfill(3, status={"outcomes": {"succeeded": "0"}}))
    intake.run_seen(partition_run(2, status=finished()))
    assert untold(intake) == []


def test_an_end_is_told_though_its_run_was_deleted(heard: tuple[Intake, Wakes]) -> None:
    """At the start, somebody's finalizer keeping it: it is in no count of the Deployment, and its partition is over."""
    intake, _ = heard
    left = partition_run(2, status=finished())
    left["metadata"]["deletionTimestamp"] = stamp(NOW)
    intake.finished_run_listed(run_from(left), left)
    assert untold(intake) == [("bf-p0", Phase.SUCCEEDED)]


def test_runs_of_a_backfill_are_in_no_history_of_their_deployment(heard: tuple[Intake, Wakes]) -> None:
    """But how they end counts for its circuit breaker."""
    intake, _ = heard
    intake.run_seen(partition_run(2, status=finished("Failed")))
    of_deployment = Owner(NAMESPACE, "daily")
    assert intake.history.of(of_deployment) == []
    assert [end.key.name for end in intake.history.of(Owner(NAMESPACE, None, "bf"))] == ["bf-p0"]
    assert [end.key.name for end in intake.history.ends(of_deployment, NOW)] == ["bf-p0"]


def test_a_run_that_people_label_is_none_of_the_backfill(heard: tuple[Intake, Wakes]) -> None:
    """It is owned by nobody, or by another Backfill of the name."""
    intake, _ = heard
    made = partition_run(2)
    del made["metadata"]["ownerReferences"]
    intake.run_seen(made)
    assert under_way(intake) == []


def test_a_status_that_cannot_be_read_is_a_problem_and_not_an_empty_one(heard: tuple[Intake, Wakes]) -> None:
    """Nothing is known to be over, so nothing may be run."""
    intake, _ = heard
    intake.backfills.seen(backfill(2, status={"outcomes": {"succeeded": "zero"}}))
    record = intake.backfills.held[key("bf")]
    assert record.noted is None
    assert record.problem is not None
    assert record.problem[0] == "InvalidStatus"


def test_a_snapshot_says_what_stands_in_the_way(heard: tuple[Intake, Wakes]) -> None:
    """The Deployment that went, and the finished runs that are not read yet."""
    intake, _ = heard
    intake.deployment_gone(key("daily"), "daily-uid")
    seen = observe_backfill(intake, intake.backfills.held[key("bf")], Settings(), NOW)
    assert seen.deployment_problem is not None
    assert seen.deployment_problem[0] == "DeploymentNotFound"
    assert not seen.is_complete


@pytest.mark.parametrize(
    ("counting", "counted"),
    [
        pytest.param({"circuit": {"countedUntil": stamp(NOW), "counted": ["bf-p0-uid"]}}, True, id="counted"),
        pytest.param({"circuit": {"countedUntil": stamp(NOW)}}, False, id="its circuit lacks it"),
        pytest.param(
            {"circuit": {"countedUntil": stamp(NOW), "counted": ["bf-p0-uid"]}, **SPENT},
            False,
            id="its budget lacks it",
        ),
    ],
)
def test_runs_that_their_deployment_does_not_count_yet_would_be_lost_with_a_backfill(
    heard: tuple[Intake, Wakes], counting: dict[str, Any], *, counted: bool
) -> None:
    """As those that the history store lacks."""
    intake, wakes = heard
    budget = {"budget": {"amount": 10, "period": "Day"}} if "spent" in counting else {}
    intake.run_seen(partition_run(2, status={**finished("Failed"), **PAID}))
    intake.backfills.seen(backfill(3, status={"outcomes": {"failed": "0"}, "finishedAt": stamp(NOW)}))
    wakes.told()
    intake.deployment_seen(deployment(2, generation=2, status=counting, **budget))
    seen = observe_backfill(intake, intake.backfills.held[key("bf")], Settings(), NOW)
    assert seen.holds_untold is not counted
    assert "Backfill bf" in wakes.told()


def test_a_backfill_that_is_gone_takes_its_runs_with_it(heard: tuple[Intake, Wakes]) -> None:
    """A late event of one of them leaves nothing behind."""
    intake, _ = heard
    intake.run_seen(partition_run(2))
    intake.backfills.gone(key("bf"), "bf-uid")
    intake.run_seen(partition_run(3))
    assert intake.backfills.held == {}
    assert "bf-uid" not in intake.backfills._runs

"""What is done about a Backfill: runs as far as there is room, each outcome noted once, and a phase that says why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headrace.api.backfill import BackfillStatus
from headrace.api.conditions import Phase, Reason
from headrace.backfills.outcomes import decoded
from headrace_operator.decide.backfill.progress import (
    MAX_AT_ONCE,
    MAX_UNNOTED,
    PlannedRun,
    decide_backfill,
)
from headrace_operator.decide.backfill.rules import MAX_UNDELETED, RULES, UNDELETED_LOOK_S
from tests.builders import NOW
from tests.unit.headrace_operator.decide.backfill.scenes import a_spec, active, ended, later, positions, seen, told


def after(*ends: Any, total: int = 10, spec: dict[str, Any] | None = None, **changes: Any) -> BackfillStatus:
    """The status once these ends are noted."""
    status = decide_backfill(seen(total, spec=spec, ended=ends, **changes), NOW).status
    assert status is not None
    return status


def test_runs_are_created_from_the_left_as_far_as_max_active_goes() -> None:
    """Those that are under way count."""
    decision = decide_backfill(seen(spec={"maxActive": 3}, active=active(0)), NOW)
    assert decision.create == (PlannedRun(1, 1), PlannedRun(2, 1))
    assert told(decision) == ("Running", "Running")


def test_a_pass_creates_a_batch_and_the_next_one_follows_at_once() -> None:
    """So that ends are noted while ten thousand runs are being created."""
    decision = decide_backfill(seen(500, spec={"maxActive": 400}), NOW)
    assert positions(decision) == list(range(MAX_AT_ONCE))
    assert decision.look_again_at == NOW


def test_a_partition_whose_end_is_not_told_yet_is_not_created_again() -> None:
    """Its run may be deleted by hand, or by time, before the status has it."""
    decision = decide_backfill(seen(3, ended=(ended(0), ended(2))), NOW)
    assert positions(decision) == [1]


def test_ends_are_told_with_counts_outcomes_and_progress() -> None:
    """Cancelled runs count apart, those that their Deployment left out count as failed."""
    status = after(
        ended(0),
        ended(1, Phase.FAILED),
        ended(2, Phase.CANCELLED),
        ended(3, Phase.SKIPPED),
        ended(4, Phase.CRASHED),
        ended(5, Phase.CANCELLED, reason=Reason.REPLACED),
        active=active(6),
    )
    outcomes = decoded(status.outcomes)
    assert (outcomes.succeeded.text, outcomes.failed.text, outcomes.cancelled.text) == ("0", "1,3-5", "2")
    assert (status.succeeded, status.failed, status.cancelled, status.active, status.pending) == (1, 4, 1, 1, 3)
    assert status.progress == "60%"


def test_an_end_that_the_status_tells_changes_nothing() -> None:
    """However often it is seen: after a restart all finished runs are."""
    status = after(ended(0))
    again = decide_backfill(seen(status=status, ended=(ended(0, Phase.FAILED),), written_at=NOW), later(60))
    assert again.status is None
    assert 0 not in positions(again)


def test_nothing_is_created_before_the_runs_that_finished_earlier_are_known() -> None:
    """One of them may be of a partition that the status does not tell of."""
    assert decide_backfill(seen(is_complete=False), NOW).create == ()


def test_nothing_is_created_while_too_many_ends_wait_to_be_told() -> None:
    """The API would fill with runs that must not go."""
    waiting = tuple(ended(position) for position in range(MAX_UNNOTED))
    assert decide_backfill(seen(MAX_UNNOTED + 5, ended=waiting), NOW).create == ()


def test_a_failed_partition_gets_another_run_after_the_delay() -> None:
    """Only once the status tells so; its number then counts on."""
    spec = {"retries": {"limit": 1, "delaySeconds": 60}}
    failed = ended(0, Phase.FAILED)
    status = after(failed, total=1, spec=spec)
    assert [(group.attempt, group.positions) for group in status.retrying] == [(2, "0")]
    assert status.failed == 0
    early = decide_backfill(seen(1, status, spec=spec, ended=(failed,), written_at=NOW), later(30))
    assert (early.create, early.look_again_at) == ((), status.retrying[0].not_before)
    due = decide_backfill(seen(1, status, spec=spec, written_at=NOW), later(70))
    assert due.create == (PlannedRun(0, 2),)
    over = after(ended(0, Phase.FAILED, number=2), total=1, spec=spec, status=status)
    assert (over.failed, over.retrying) == (1, ())


def test_when_every_partition_is_over_it_has_succeeded_or_failed() -> None:
    """One that was cancelled was not done."""
    assert (after(ended(0), total=1).phase, after(ended(0), total=1).reason) == ("Succeeded", "Succeeded")
    assert after(ended(0, Phase.CANCELLED), total=1).reason == "PartitionsFailed"


HALTS = [
    pytest.param({"spec": {"suspend": True}}, ("Paused", "Suspended"), id="suspended"),
    pytest.param(
        {"deployment_problem": (Reason.DEPLOYMENT_NOT_FOUND, "there is none")},
        ("Waiting", "DeploymentNotFound"),
        id="without its Deployment",
    ),
    pytest.param({"is_store_full": True}, ("Waiting", "HistoryFull"), id="while the history store lags"),
    pytest.param(
        {"undeleted": MAX_UNDELETED}, ("Running", "Running"), id="while runs end faster than they are deleted"
    ),
    pytest.param(
        {"spec": {"window": {"from": "13:00", "to": "14:00"}}}, ("Waiting", "WindowClosed"), id="outside its window"
    ),
    pytest.param({"spec": {"cancel": True}}, ("Cancelled", "Cancelled"), id="cancelled"),
    pytest.param(
        {"spec": {"maxFailures": 0}, "ended": (ended(0, Phase.FAILED),)},
        ("Failed", "TooManyFailures"),
        id="after too many failures",
    ),
    pytest.param(
        {"spec": {"maxFailures": 0}, "ended": (ended(0, Phase.FAILED),), "active": active(1)},
        ("Running", "TooManyFailures"),
        id="after too many failures, with a run under way",
    ),
    pytest.param(
        {"spec": {"budget": {"amount": "1.50"}}, "ended": (ended(0, cost="1.000000"),)},
        ("Failed", "BudgetExceeded"),
        id="when one more run would exceed the budget",
    ),
]


@pytest.mark.parametrize(("scene", "expected"), HALTS)
def test_nothing_is_created(scene: dict[str, Any], expected: tuple[str, str]) -> None:
    """And the status says why."""
    decision = decide_backfill(seen(**scene), NOW)
    assert told(decision) == expected
    assert decision.create == ()


def test_runs_that_somebody_else_deletes_are_counted_anew_after_a_while() -> None:
    """Nobody tells of the deletion of a run that has finished."""
    held_up = decide_backfill(seen(undeleted=MAX_UNDELETED), NOW)
    assert held_up.look_again_at == later(UNDELETED_LOOK_S)
    assert decide_backfill(seen(undeleted=MAX_UNDELETED - 1), NOW).create


def test_a_window_that_closes_is_looked_at_when_it_opens() -> None:
    """Nothing polls for it."""
    decision = decide_backfill(seen(spec={"window": {"from": "13:00", "to": "14:00"}}), NOW)
    assert decision.look_again_at == later(3600)


def test_cancelling_tells_the_runs_under_way_and_ends_with_them() -> None:
    """A run that was told is not told again."""
    one, two = active(0, 1)
    decision = decide_backfill(seen(spec={"cancel": True}, active=(one, replace(two, cancel=True))), NOW)
    assert decision.cancel == (one,)
    assert told(decision) == ("Running", "CancelRequested")


def test_a_run_of_a_partition_that_is_over_is_removed() -> None:
    """Its creation was thought to be lost, and came late."""
    status = after(ended(0))
    decision = decide_backfill(seen(status=status, active=active(0)), NOW)
    assert decision.remove == active(0)


def test_with_a_budget_one_run_goes_ahead_to_tell_what_a_run_costs() -> None:
    """Then as many as the rest of the budget pays for, those under way counted at the mean."""
    spec = {"budget": {"amount": 10}, "maxActive": 50}
    assert positions(decide_backfill(seen(100, spec=spec), NOW)) == [0]
    status = after(ended(0, cost="2.000000"), total=100, spec=spec)
    assert status.cost is not None
    assert status.projected_cost is not None
    assert (status.cost.amount, status.projected_cost.amount) == ("2.000000", "200.000000")
    assert positions(decide_backfill(seen(100, status, spec=spec), NOW)) == [1, 2, 3, 4]
    assert positions(decide_backfill(seen(100, status, spec=spec, active=active(1, 2)), NOW)) == [3, 4]


def test_a_raised_number_runs_the_failed_ones_again_and_no_others() -> None:
    """With numbers of their own, as the runs that failed may be kept."""
    failed = after(ended(0), ended(1, Phase.FAILED), total=2)
    spec = {"rerunFailed": 1}
    decision = decide_backfill(seen(2, failed, spec=spec), NOW)
    assert decision.create == ()
    assert told(decision) == ("Running", "Running")
    assert decision.status is not None
    assert [event.reason for event in decision.events] == ["RerunStarted", "Started"]
    again = decide_backfill(seen(2, decision.status, spec=spec, ended=(ended(1, Phase.FAILED),)), NOW)
    assert again.create == ()  # its former run is seen, and its end is told: it is none of this round
    clear = decide_backfill(seen(2, decision.status, spec=spec), NOW)
    assert clear.create == (PlannedRun(1, 101),)
    over = after(ended(1, number=101), total=2, spec=spec, status=decision.status)
    assert (over.phase, over.succeeded, over.failed) == ("Succeeded", 2, 0)


def test_a_second_rerun_waits_for_the_runs_of_the_first() -> None:
    """Or the number of one of them would be taken for an old one, and its end for told."""
    status = after(ended(0, Phase.FAILED), ended(1, Phase.FAILED), total=2)
    first = decide_backfill(seen(2, status, spec={"rerunFailed": 1}), NOW).status
    assert first is not None
    under_way = decide_backfill(
        seen(
            2, first, spec={"rerunFailed": 2}, active=active(0, number=101), ended=(ended(1, Phase.FAILED, number=101),)
        ),
        NOW,
    )
    assert under_way.create == ()
    assert under_way.status is not None
    assert (under_way.status.rerun_failed, under_way.status.failed) == (1, 1)
    unsure = decide_backfill(seen(2, first, spec={"rerunFailed": 2}, unsure_until=later(15)), NOW)
    assert (unsure.create, unsure.look_again_at) == ((), later(15))


def test_changes_of_counts_are_gathered_and_a_large_status_is_written_seldom() -> None:
    """News is told at once."""
    status = after(ended(0), active=active(1))
    gathers = seen(status=status, ended=(ended(1),), written_at=NOW)
    assert decide_backfill(gathers, later(0.5)).status is None
    assert decide_backfill(gathers, later(0.5)).look_again_at == later(1)
    assert decide_backfill(gathers, later(1)).status is not None
    large = replace(gathers, status_bytes=64 * 1024)
    assert decide_backfill(large, later(7)).status is None
    assert decide_backfill(large, later(8)).status is not None
    paused = replace(large, spec=a_spec(suspend=True))
    assert decide_backfill(paused, later(0.1)).status is not None


def test_a_backfill_that_stays_as_it_is_is_not_written() -> None:
    """However much time passes."""
    status = after(ended(0), active=active(1, 2), spec={"maxActive": 2})
    idle = seen(status=status, active=active(1, 2), spec={"maxActive": 2}, written_at=NOW)
    later_on = decide_backfill(idle, later(86400))
    assert (later_on.status, later_on.create, later_on.look_again_at) == (None, (), None)


def test_the_rate_is_measured_between_marks_in_the_status_and_gives_the_end() -> None:
    """A new leader measures on from the same marks."""
    first = after(ended(0), total=100)
    decision = decide_backfill(
        seen(100, first, ended=tuple(ended(position) for position in range(1, 21)), written_at=NOW), later(60)
    )
    assert decision.status is not None
    assert decision.status.rate_per_minute == 20.0
    assert decision.status.eta == later(60 + 79 / 20 * 60)


def test_a_backfill_that_ended_goes_when_its_time_is_over() -> None:
    """Not before the history store has its runs, and its Deployment's status counts them."""
    spec = {"ttlSecondsAfterFinished": 60}
    status = after(ended(0), total=1, spec=spec)
    over = seen(1, status, spec=spec, written_at=NOW)
    assert decide_backfill(over, later(59)).look_again_at == later(60)
    assert decide_backfill(over, later(60)).expire
    assert not decide_backfill(replace(over, holds_untold=True), later(60)).expire


def test_a_backfill_stays_until_it_is_known_which_runs_the_history_store_lacks() -> None:
    """A new leader lists the finished runs last: those of a Backfill that goes now would go with it, unrecorded."""
    spec = {"ttlSecondsAfterFinished": 60}
    over = seen(1, after(ended(0), total=1, spec=spec), spec=spec, written_at=NOW, is_complete=False)
    assert not decide_backfill(over, later(3600)).expire


def test_cancelled_partitions_are_not_said_to_run_once_more() -> None:
    """spec.rerunFailed leaves them as they are."""
    status = after(ended(0, Phase.CANCELLED), total=1)
    assert (status.phase, status.reason) == ("Failed", "PartitionsFailed")
    assert "rerunFailed" not in (status.message or "")
    assert "create a new Backfill" in (status.message or "")


def test_costs_in_another_currency_than_the_budget_are_told() -> None:
    """Runs go one by one, and nobody could see why: here the budget came when costs were known."""
    status = after(ended(0, cost="2.0"))
    now = decide_backfill(seen(status=status, spec={"budget": {"amount": 100, "currency": "EUR"}}), NOW).status
    assert now is not None
    assert "in EUR (spec.budget.currency)" in (now.message or "")


def test_a_run_of_no_partition_counts_for_nothing() -> None:
    """Somebody copied a run with its labels and changed them."""
    odd = (*active(10), *active(2**60), *active(11, number=3))
    ends = (ended(10), ended(2**60), ended(12, Phase.FAILED))
    decision = decide_backfill(seen(active=odd, ended=ends, spec={"maxActive": 2}), NOW)
    assert positions(decision) == [0, 1]
    assert decision.status is not None
    assert (decision.status.succeeded, decision.status.failed, decision.status.active) == (0, 0, 0)


def test_a_rerun_that_waits_for_a_lost_creation_looks_again() -> None:
    """Nothing else wakes a Backfill that has ended."""
    status = after(ended(0, Phase.FAILED), spec={"maxFailures": 0})
    asked = seen(status=status, spec={"maxFailures": 0, "rerunFailed": 1}, unsure_until=later(9), written_at=NOW)
    decision = decide_backfill(asked, NOW)
    assert decision.create == ()
    assert decision.look_again_at == later(9)
    assert told(decide_backfill(replace(asked, unsure_until=None), later(9))) == ("Running", "Running")


def test_a_status_that_cannot_be_read_creates_nothing() -> None:
    """As empty it would have everything run once more."""
    broken = replace(seen(), noted=None, problem=(Reason.INVALID_STATUS, "status.outcomes: no range"))
    decision = decide_backfill(broken, NOW)
    assert told(decision) == ("Pending", "InvalidStatus")
    assert decision.create == ()


def test_the_order_of_the_rules() -> None:
    """It is policy: what ends a Backfill goes before what makes it wait."""
    assert [rule.__name__ for rule in RULES] == [
        "cancelled",
        "all_over",
        "too_many_failures",
        "unread",
        "budget_spent",
        "suspended",
        "no_deployment",
        "window_closed",
        "store_full",
        "undeleted",
        "draining",
        "goes_on",
    ]

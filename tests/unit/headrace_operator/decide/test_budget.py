"""What a budget lets start, and what is said of it when."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from headrace.api.budget import BudgetAction, PeriodBudget, Spent
from headrace.api.conditions import Reason
from headrace_operator.decide.budget import budget_wait, is_stopped, judge, payable
from tests.builders import NOW

STOP = PeriodBudget(amount=100, action=BudgetAction.STOP)
ALERT = PeriodBudget(amount=100)


def spent(amount: str, per_run: str | None = "10") -> Spent:
    return Spent(
        since=NOW, until=NOW + timedelta(days=1), amount=amount, currency="USD", settled=amount, per_run=per_run
    )


@pytest.mark.parametrize(
    ("amount", "per_run", "departed", "runs"),
    [
        pytest.param("0", "10", 0, 10, id="as many as the whole pays for"),
        pytest.param("55", "10", 0, 4, id="as many as the rest pays for"),
        pytest.param("95", "10", 0, 0, id="none that the rest does not pay for"),
        pytest.param("100", "10", 0, 0, id="none of nothing"),
        pytest.param("140", "10", 0, 0, id="none beyond it"),
        pytest.param("0", None, 0, 1, id="one at a time while nothing is known"),
        pytest.param("100", None, 0, 0, id="none of nothing, whatever a run costs"),
        pytest.param("55", "10", 3, 1, id="those of which it is not known yet count as spent"),
        pytest.param("55", "10", 9, 0, id="never less than none"),
    ],
)
def test_as_many_may_be_active(amount: str, per_run: str | None, departed: int, runs: int) -> None:
    assert payable(STOP, Decimal(amount), per_run, departed=departed) == runs


def test_a_budget_that_alerts_bounds_nothing() -> None:
    assert payable(ALERT, Decimal(500), "10") is None
    assert not is_stopped(ALERT, spent("500"))


@pytest.mark.parametrize(
    ("budget", "amount", "exceeded", "reason"),
    [
        (ALERT, "79.99", False, Reason.WITHIN_BUDGET),
        (ALERT, "80", False, Reason.BUDGET_NEARLY_SPENT),
        (ALERT, "95", False, Reason.BUDGET_NEARLY_SPENT),
        (ALERT, "100", True, Reason.BUDGET_EXCEEDED),
        (STOP, "85", False, Reason.BUDGET_NEARLY_SPENT),
        (STOP, "95", True, Reason.BUDGET_EXCEEDED),
        (STOP, "100", True, Reason.BUDGET_EXCEEDED),
        (PeriodBudget(amount="0.5", alert_at_percent=50), "0.25", False, Reason.BUDGET_NEARLY_SPENT),
    ],
)
def test_what_is_said_of_it(budget: PeriodBudget, amount: str, exceeded: bool, reason: Reason) -> None:
    verdict = judge(budget, spent(amount), None)
    assert (verdict.exceeded, verdict.reason) == (exceeded, reason)


@pytest.mark.parametrize(
    ("said", "amount", "events"),
    [
        (None, "10", []),
        (None, "85", [Reason.BUDGET_NEARLY_SPENT]),
        (Reason.WITHIN_BUDGET, "100", [Reason.BUDGET_EXCEEDED]),
        (Reason.BUDGET_NEARLY_SPENT, "85", []),
        (Reason.BUDGET_NEARLY_SPENT, "100", [Reason.BUDGET_EXCEEDED]),
        (Reason.BUDGET_EXCEEDED, "100", []),
        (Reason.BUDGET_EXCEEDED, "85", []),
    ],
)
def test_each_step_is_told_once_in_a_period(said: Reason | None, amount: str, events: list[Reason]) -> None:
    """A warning when it becomes worse than what was said; none when it becomes better."""
    told = judge(ALERT, spent(amount), said).events
    assert [(event.reason, event.warning) for event in told] == [(reason, True) for reason in events]


def test_a_run_is_told_when_it_goes_on() -> None:
    wait = budget_wait(STOP, spent("95"), is_spent=False)
    assert wait.reason is Reason.WAITING_FOR_BUDGET
    assert "100 USD a month" in wait.message
    assert "2026" in wait.message
    assert "one run at a time" in budget_wait(STOP, spent("0", None), is_spent=False).message
    assert "does not pay" in budget_wait(STOP, spent("100", None), is_spent=True).message


def test_the_share_that_alerts_is_told() -> None:
    until = spent("0").until.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert judge(ALERT, spent("85"), None).message == (
        f"80% of the budget of 100 USD a month is spent; it is meant to last until {until}"
    )
    assert judge(ALERT, spent("10"), None).message == (
        f"less than 80% of the budget of 100 USD a month is spent; the period ends at {until}"
    )

"""What a budget lets start, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from headrace.api.budget import BudgetAction, PeriodBudget, Spent
from headrace.api.conditions import Reason
from headrace.instants import stamp
from headrace_operator.decide.actions import RecordEvent
from headrace_operator.decide.snapshot import Blocked

RANKS: Final = {Reason.WITHIN_BUDGET: 0, Reason.BUDGET_NEARLY_SPENT: 1, Reason.BUDGET_EXCEEDED: 2}

NOT_COUNTED: Final = Blocked(
    Reason.WAITING_FOR_BUDGET, "waits until it is counted what its deployment's runs have cost in this period"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the budget is spent, why it is said, and what is to be told once in a period."""

    exceeded: bool
    reason: Reason
    message: str
    events: tuple[RecordEvent, ...] = ()


def payable(budget: PeriodBudget, spent: Decimal, per_run: str | None, *, departed: int = 0) -> int | None:
    """
    How many runs may be active, each reckoned at the mean; None for any number, as the budget stops nothing.

    Args:
        spent: In this period, as far as it is known at this moment.
        per_run: What a run is reckoned to cost. None: that is not guessed, so it is one run at a time.
        departed: Runs that may have ended: what they have cost is being found out.
    """
    if budget.action is BudgetAction.ALERT:
        return None
    left = Decimal(budget.amount) - spent
    if left <= 0:
        return 0
    runs = 1 if per_run is None else int(left // Decimal(per_run))
    return max(0, runs - departed)


def is_stopped(budget: PeriodBudget, spent: Spent) -> bool:
    """Whether no further run can be paid for in this period."""
    return payable(budget, Decimal(spent.amount), spent.per_run) == 0


def budget_wait(budget: PeriodBudget, spent: Spent, *, is_spent: bool) -> Blocked:
    """What a run waits for that the rest of its Deployment's budget does not pay for."""
    if spent.per_run is None and not is_spent:
        return Blocked(
            Reason.WAITING_FOR_BUDGET,
            f"one run at a time, as it is not known yet what one costs, and its deployment has a budget of {told(budget)} "
            "(spec.budget, action Stop)",
        )
    return Blocked(
        Reason.WAITING_FOR_BUDGET,
        f"what is left of its deployment's budget of {told(budget)} (spec.budget) does not pay for one more run; it starts "
        f"in the next period, at {stamp(spent.until)}, or when spec.budget.amount is raised",
    )


def judge(budget: PeriodBudget, spent: Spent, said: str | None) -> Verdict:
    """
    What is to be said of the budget.

    Args:
        said: The reason that was given in this period so far; None: nothing was said yet.
    """
    reason, message = _verdict(budget, spent)
    before = RANKS.get(Reason(said), 0) if said in RANKS else 0
    events = (RecordEvent(reason, message, warning=True),) if RANKS[reason] > before else ()
    return Verdict(reason is Reason.BUDGET_EXCEEDED, reason, message, events)


def told(budget: PeriodBudget) -> str:
    """For a sentence: "500 USD a month"."""
    return f"{budget.amount} {budget.currency} a {budget.period.lower()}"


def _verdict(budget: PeriodBudget, spent: Spent) -> tuple[Reason, str]:
    amount, limit = Decimal(spent.amount), Decimal(budget.amount)
    until = stamp(spent.until)
    then = f"; runs start again at {until}, or when spec.budget.amount is raised"
    stops = budget.action is BudgetAction.STOP
    if amount >= limit:
        return Reason.BUDGET_EXCEEDED, f"the budget of {told(budget)} is spent{then if stops else f', until {until}'}"
    if is_stopped(budget, spent):
        return Reason.BUDGET_EXCEEDED, f"what is left of {told(budget)} does not pay for one more run{then}"
    percent = f"{budget.alert_at_percent}%"
    if amount * 100 >= limit * budget.alert_at_percent:
        return (
            Reason.BUDGET_NEARLY_SPENT,
            f"{percent} of the budget of {told(budget)} is spent; it is meant to last until {until}",
        )
    return (
        Reason.WITHIN_BUDGET,
        f"less than {percent} of the budget of {told(budget)} is spent; the period ends at {until}",
    )

"""What a Deployment's status says of its budget, and what the budget does to its schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from headrace.api.budget import PeriodBudget, Spent
from headrace.api.conditions import ConditionType, Reason
from headrace_operator.decide.budget import Verdict, is_stopped, judge
from headrace_operator.decide.conditions import condition, find_condition, with_condition
from headrace_operator.decide.errors import InvalidSchedule
from headrace_operator.decide.recurrence import zone_of
from headrace_operator.decide.snapshot import ConditionView
from headrace_operator.decide.spending import Count, Spending, advance


@dataclass(frozen=True, slots=True)
class Account:
    """
    A budget's state.

    Args:
        spent: For the status; None before the first count.
        count: What was counted just now; None: the runs that ended before the start are not read.
        verdict: What is said of it; None: nothing new.
        stops: Schedules start no runs.
    """

    spent: Spent | None
    count: Count | None
    verdict: Verdict | None
    stops: bool


def budget_problem(budget: PeriodBudget | None) -> tuple[Reason, str] | None:
    """Why nothing can be counted, for the condition Ready; None if it can."""
    if budget is None:
        return None
    try:
        zone_of(budget.time_zone)
    except InvalidSchedule as error:
        return Reason.INVALID_SPEC, f"spec.budget.{error}"
    return None


def account(
    budget: PeriodBudget,
    memory: Spent | None,
    spending: Spending | None,
    *,
    conditions: tuple[ConditionView, ...],
    now: datetime,
) -> Account:
    """
    Count what is not counted yet, and judge it. The budget must be one without a problem.

    Args:
        memory: Its status' spent.
        spending: What there is to count; None: not known yet.
        conditions: Of its status.
    """
    if spending is None:
        lasts = memory is not None and now < memory.until
        return Account(memory, None, None, stops=lasts and memory is not None and is_stopped(budget, memory))
    count = advance(memory, budget, spending, zone=zone_of(budget.time_zone), now=now)
    before = find_condition(conditions, ConditionType.BUDGET_EXCEEDED)
    goes_on = memory is not None and memory.since == count.spent.since
    verdict = judge(budget, count.spent, before.reason if before is not None and goes_on else None)
    return Account(count.spent, count, verdict, stops=is_stopped(budget, count.spent))


def with_budget_condition(
    conditions: tuple[ConditionView, ...], found: Account | None, *, generation: int, now: datetime
) -> tuple[ConditionView, ...]:
    """The condition BudgetExceeded, for as long as there is a budget; as it was while nothing can be counted."""
    if found is None:
        return tuple(each for each in conditions if each.type != ConditionType.BUDGET_EXCEEDED)
    if found.verdict is None:
        return conditions
    said = found.verdict
    return with_condition(
        conditions,
        condition(
            ConditionType.BUDGET_EXCEEDED,
            holds=said.exceeded,
            reason=said.reason,
            message=said.message,
            now=now,
            generation=generation,
        ),
    )

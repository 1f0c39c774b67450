"""What a Deployment's budget lets start at this moment."""

from __future__ import annotations

from decimal import Decimal

from headrace.api.budget import BudgetAction, PeriodBudget
from headrace_operator.decide.budget import NOT_COUNTED, budget_wait, payable
from headrace_operator.decide.snapshot import Blocked
from headrace_operator.decide.spending import Spending
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History
from headrace_operator.observe.records import DeploymentRecord


def budget_allows(record: DeploymentRecord, history: History) -> int | None:
    """How many runs of the Deployment its budget allows to be active; None for any number."""
    budget = _stopping(record)
    if budget is None:
        return None
    purse = history.purses.of(record.key)
    if purse is None or purse.memory is None or not history.is_complete:
        return 0
    departed = history.departures.of(record.key)
    return payable(budget, purse.total, purse.memory.per_run, departed=departed)


def budget_waits(record: DeploymentRecord, history: History) -> Blocked | None:
    """What a run waits for that finds no place by the budget; None where `concurrency` is the narrower bound."""
    budget, allowed = _stopping(record), budget_allows(record, history)
    if record.spec is None or budget is None or allowed is None:
        return None
    concurrency = record.spec.concurrency
    if concurrency is not None and concurrency.limit <= allowed:
        return None
    purse = history.purses.of(record.key)
    if purse is None or purse.memory is None or not history.is_complete:
        return NOT_COUNTED
    return budget_wait(budget, purse.memory, is_spent=purse.total >= Decimal(budget.amount))


def attempts_payable(record: DeploymentRecord, history: History) -> int | None:
    """
    How many runs may be active by what is known; None for any number.

    As long as nothing is known of what they cost, those that have begun go on, and none is skipped.
    """
    purse = history.purses.of(record.key)
    is_known = purse is not None and purse.memory is not None and purse.memory.per_run is not None
    return budget_allows(record, history) if is_known and history.is_complete else None


def keep_purse(record: DeploymentRecord, cache: Cache, history: History) -> None:
    """A Deployment is there, or has changed: what was spent is counted from its status on; without a budget nothing is."""
    if record.spec is None or record.spec.budget is None:
        history.purses.close(record.key)
        return
    runs = (cache.runs[key] for key in cache.ledger(record.key).all() if key in cache.runs)
    history.purses.open(record.key, record.spent, runs)


def spending_of(record: DeploymentRecord, history: History) -> Spending | None:
    """What there is to count; None where there is no budget, or the runs that ended before the start are not read."""
    purse = history.purses.of(record.key)
    return purse.seen() if purse is not None and history.is_complete else None


def _stopping(record: DeploymentRecord) -> PeriodBudget | None:
    budget = record.spec.budget if record.spec else None
    return budget if budget is not None and budget.action is BudgetAction.STOP else None

"""What a Backfill has cost, what it will cost, and how many more runs its budget allows. Exact decimals."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from headrace.api.backfill import Budget
from headrace.api.money import Cost
from headrace_operator.decide.backfill.noted import EndedRun
from headrace_operator.decide.cost import money

ANY_NUMBER: Final = 1_000_000
"""Runs that a budget allows that cost nothing: as many as there can be partitions."""


def with_costs(known: Cost | None, budget: Budget | None, ended: Iterable[EndedRun]) -> Cost | None:
    """With what these runs have cost, in the currency of what is known, else of the budget, else of the first of them."""
    priced = [run.cost for run in ended if run.cost is not None]
    if not priced:
        return known
    currency = known.currency if known else budget.currency if budget else priced[0].currency
    added = sum((cost.exact for cost in priced if cost.currency == currency), Decimal(0))
    if not known and not any(cost.currency == currency for cost in priced):
        return None
    return money((known.exact if known else Decimal(0)) + added, currency)


def projected(known: Cost | None, over: int, total: int) -> Cost | None:
    """What all partitions will cost, at the mean of those that are over. None: nothing is known."""
    if known is None or not over:
        return None
    return money(known.exact * total / over, known.currency)


def affordable(budget: Budget, known: Cost | None, over: int, *, active: int) -> int:
    """
    How many runs more may be created, those under way counted at the mean of what is over; 0 or less is none.

    Until the first cost is known it is one run at a time: what a run costs is not guessed.
    """
    if known is None or known.currency != budget.currency:
        return 1 - active
    mean = known.exact / max(1, over)
    left = Decimal(budget.amount) - known.exact - mean * active
    if left < 0:
        return 0
    return int(left // mean) if mean else ANY_NUMBER


def described(cost: Cost | None) -> str:
    """For a sentence: "12.500000 USD"."""
    return "0" if cost is None else f"{cost.amount} {cost.currency}"

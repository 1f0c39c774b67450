"""
What a run has cost: the price of its pods' requests in their WorkPools, over the time for which nodes kept room for them.

An attempt is priced when its end is written, by the pool as it is then; a price that changes later changes no cost.
Amounts are exact decimals, rounded once for each attempt.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final, NamedTuple

from headrace.api.money import PLACES, Cost
from headrace_operator.decide.placement import Pool, price_per_hour
from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.snapshot import Attempt, HourlyPrice

SMALLEST: Final = Decimal(1).scaleb(-PLACES)
MICROSECOND: Final = timedelta(microseconds=1)
HOUR_US: Final = 3_600_000_000


class Expense(NamedTuple):
    """What one attempt has cost, and when it ended."""

    at: datetime
    amount: Decimal
    currency: str


def expenses_of(attempts: Iterable[Attempt]) -> tuple[Expense, ...]:
    """Of the attempts that ended and cost something."""
    return tuple(
        Expense(attempt.finished_at, attempt.cost.exact, attempt.cost.currency)
        for attempt in attempts
        if attempt.finished_at is not None and attempt.cost is not None and attempt.cost.exact
    )


def price_of(pool: Pool | None, requests: Amounts) -> HourlyPrice | None:
    """What a pod with these requests costs in this pool; None where there is no pool, or no price."""
    if pool is None or pool.spec is None or pool.spec.pricing is None:
        return None
    per_hour = price_per_hour(pool, requests)
    return None if per_hour is None else HourlyPrice(per_hour, pool.spec.pricing.currency)


def cost_of(price: HourlyPrice | None, *, since: datetime | None, until: datetime) -> Cost | None:
    """
    What an attempt has cost; None where its price is unknown, or no node ever took its pod.

    Args:
        since, until: When a node took the pod, and when it ended. 0 where clocks say that it ended before it began.
    """
    if price is None or since is None:
        return None
    took_us = max(0, (until - since) // MICROSECOND)
    return money(price.per_hour * took_us / HOUR_US, price.currency)


def total_cost(costs: Iterable[Cost | None]) -> Cost | None:
    """The sum of those that are known; None where none is, or where they are in several currencies."""
    known = [cost for cost in costs if cost is not None]
    currencies = {cost.currency for cost in known}
    if len(currencies) != 1:
        return None
    return money(sum((cost.exact for cost in known), Decimal(0)), currencies.pop())


def money(amount: Decimal, currency: str) -> Cost:
    """An amount as a status tells it, rounded to PLACES digits."""
    return Cost(amount=amount_text(amount), currency=currency)


def amount_text(amount: Decimal) -> str:
    """Rounded to PLACES digits."""
    return f"{amount.quantize(SMALLEST, ROUND_HALF_EVEN):f}"

"""What a Backfill has cost, will cost, and may still spend."""

from __future__ import annotations

import pytest

from headrace.api.backfill import Budget
from headrace.api.money import Cost
from headrace_operator.decide.backfill.costs import ANY_NUMBER, affordable, projected, with_costs
from tests.unit.headrace_operator.decide.backfill.scenes import ended

BUDGET = Budget(amount="10.00", currency="USD")


def usd(amount: str) -> Cost:
    """So many dollars."""
    return Cost(amount=amount, currency="USD")


def test_costs_add_up_exactly() -> None:
    """Three tenths are three tenths."""
    runs = [ended(position, cost="0.100000") for position in range(3)]
    assert with_costs(None, None, runs) == usd("0.300000")
    assert with_costs(usd("1.000000"), None, runs) == usd("1.300000")


def test_runs_without_a_price_and_of_another_currency_add_nothing() -> None:
    """No rate of exchange is guessed."""
    assert with_costs(None, None, [ended(0)]) is None
    assert with_costs(None, Budget(amount=1, currency="EUR"), [ended(0, cost="1.000000")]) is None


def test_the_whole_is_projected_from_the_mean() -> None:
    """Of the partitions that are over."""
    assert projected(usd("3.000000"), 4, 100) == usd("75.000000")
    assert projected(None, 4, 100) is None


@pytest.mark.parametrize(
    ("known", "over", "active", "expected"),
    [
        pytest.param(None, 0, 0, 1, id="the first run goes ahead"),
        pytest.param(None, 5, 1, 0, id="and alone until its cost is known"),
        pytest.param(usd("4.000000"), 4, 0, 6, id="as many as the rest pays for"),
        pytest.param(usd("4.000000"), 4, 5, 1, id="those under way are counted at the mean"),
        pytest.param(usd("12.000000"), 4, 0, 0, id="nothing when it is exceeded"),
        pytest.param(usd("0.000000"), 4, 0, ANY_NUMBER, id="any number of what costs nothing"),
        pytest.param(Cost(amount="1.0", currency="EUR"), 4, 1, 0, id="another currency is unknown"),
    ],
)
def test_a_budget_allows(known: Cost | None, over: int, active: int, expected: int) -> None:
    """So many runs more."""
    assert affordable(BUDGET, known, over, active=active) == expected

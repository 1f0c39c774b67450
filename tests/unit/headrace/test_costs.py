"""What runs have cost, added up, as the command and the dashboard show it."""

from __future__ import annotations

from decimal import Decimal
from itertools import permutations

import pytest

from headrace.costs import Total, of_run, together, totals

EURO, DOLLARS, UNPRICED = of_run("etl", Decimal(1), "EUR"), of_run("etl", Decimal(9), "USD"), of_run("etl", None, "")


def test_amounts_are_exact_and_of_one_currency_each() -> None:
    """The dearest first."""
    parts = [
        of_run("etl", Decimal("0.1"), "USD"),
        of_run("etl", Decimal("0.2"), "USD"),
        of_run("ml", Decimal(5), "EUR"),
    ]
    assert totals(parts) == [Total("ml", "EUR", Decimal(5), 1), Total("etl", "USD", Decimal("0.3"), 2)]


def test_a_run_without_a_price_is_told_beside_the_only_currency_of_its_name() -> None:
    """And of a name that has none by itself."""
    assert totals([UNPRICED, DOLLARS, of_run("new", None, "")]) == [
        Total("etl", "USD", Decimal(9), 1, 1),
        Total("new", "", unpriced=1),
    ]


@pytest.mark.parametrize("runs", [*permutations((EURO, DOLLARS, UNPRICED))])
def test_a_run_without_a_price_is_of_no_currency_where_there_are_several(runs: tuple[Total, ...]) -> None:
    """Neither the first nor the highest amount: nothing tells which of them it would have had."""
    assert totals(runs) == [
        Total("etl", "USD", Decimal(9), 1),
        Total("etl", "EUR", Decimal(1), 1),
        Total("etl", "", unpriced=1),
    ]


def test_what_was_added_up_before_is_added_once_more() -> None:
    """As a history store has it: a row of a name and a currency may have runs of both kinds, or no price at all."""
    recorded = [Total("etl", "USD", Decimal(3), 4, 2), Total("etl", "", Decimal(0), 0, 5), Total("gone", "")]
    assert totals([DOLLARS, UNPRICED, *recorded]) == [Total("etl", "USD", Decimal(12), 5, 8)]


def test_currencies_are_summed_each() -> None:
    """By their names; what is of none is no amount."""
    assert list(together(totals([DOLLARS, EURO, DOLLARS, UNPRICED])).items()) == [
        ("EUR", Decimal(1)),
        ("USD", Decimal(18)),
    ]

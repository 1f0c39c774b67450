"""What runs have cost: exact, priced when an attempt ends, summed over attempts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.money import Cost
from headrace.api.workpool import WorkPoolSpec
from headrace_operator.decide.cost import cost_of, price_of, total_cost
from headrace_operator.decide.placement import pool_of
from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.snapshot import HourlyPrice

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
REQUESTS = amounts_of({"cpu": "500m", "memory": "2Gi", "nvidia.com/gpu": 1})


def priced(currency: str = "USD", largest: dict[str, str] | None = None, **pricing: float):
    spec = {"pricing": {"currency": currency, **pricing}}
    if largest:
        spec["maxPodResources"] = largest
    return pool_of("gpu", {}, WorkPoolSpec.model_validate(spec))


def usd(amount: str) -> Cost:
    return Cost(amount=amount, currency="USD")


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (priced(cpuHour=0.04, memoryGiBHour=0.005, gpuHour=2.5), "2.53"),
        (priced(cpuHour=0.04), "0.02"),
        (priced(perHour=4, largest={"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "4"}), "2"),
    ],
)
def test_an_hour_costs_what_the_pool_asks_for(pool, expected):
    assert price_of(pool, REQUESTS) == HourlyPrice(Decimal(expected), "USD")


@pytest.mark.parametrize("pool", [None, pool_of("cpu", {}, None), pool_of("cpu", {}, WorkPoolSpec())])
def test_without_a_pool_or_a_price_nothing_is_known(pool):
    assert price_of(pool, REQUESTS) is None


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (3600, "2.530000"),
        (0, "0.000000"),
        (-5, "0.000000"),
        (1, "0.000703"),
        (0.25, "0.000176"),
        (86400 * 31, "1882.320000"),
    ],
)
def test_time_is_charged_to_the_microsecond(seconds, expected):
    """Rounded to six digits; a clock that runs backwards costs nothing."""
    price = HourlyPrice(Decimal("2.53"), "USD")

    assert cost_of(price, since=SINCE, until=SINCE + timedelta(seconds=seconds)) == usd(expected)


def test_a_pod_that_no_node_took_costs_nothing_that_is_known():
    assert cost_of(HourlyPrice(Decimal(1), "USD"), since=None, until=SINCE) is None
    assert cost_of(None, since=SINCE, until=SINCE) is None


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_sums_are_exact(millionths):
    """Floating point would lose cents over 300,000 partitions."""
    costs = [usd(f"{Decimal(n).scaleb(-6):f}") for n in millionths]

    total = total_cost(costs)

    assert total is not None
    assert total.exact * 10**6 == sum(millionths)


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ([], None),
        ([None], None),
        ([usd("1.5"), None, usd("0.25")], usd("1.750000")),
        ([usd("1.5"), Cost(amount="1", currency="EUR")], None),
    ],
)
def test_what_is_unknown_or_in_another_currency_is_not_guessed(costs, expected):
    assert total_cost(costs) == expected

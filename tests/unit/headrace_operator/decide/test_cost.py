"""What runs have cost: exact, priced when an attempt ends, summed over attempts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.conditions import Phase, Reason
from headrace.api.money import Cost
from headrace.api.workpool import WorkPoolSpec
from headrace_operator.decide.cost import cost_of, price_of, total_cost
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.placement import pool_of
from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.snapshot import HourlyPrice, RunStatus, Snapshot
from tests.builders import NOW, a_flow, a_pod, a_run, a_running_status, a_snapshot, an_attempt, ended, stamp

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


@pytest.mark.parametrize("most", ["100m", "1n"])
def test_a_pod_costs_a_node_at_most(most):
    """The pool was changed to smaller nodes while it ran; the end of the run is written all the same."""
    price = price_of(priced(perHour=1e6, largest={"cpu": most}), REQUESTS)

    assert price == HourlyPrice(Decimal(1_000_000), "USD")
    assert cost_of(price, since=SINCE, until=SINCE + timedelta(days=3650)) == usd("87600000000.000000")


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


RETRYING = a_flow(infrastructureRetries={"limit": 3}, retries={"limit": 3})
SMALL, LARGE = HourlyPrice(Decimal("1.8"), "USD"), HourlyPrice(Decimal("3.6"), "USD")


def settled(seen: Snapshot) -> RunStatus:
    decision = decide(seen, NOW + timedelta(seconds=90))
    assert decision.status is not None
    return decision.status


def test_an_attempt_that_ran_out_of_memory_is_paid_for_and_the_next_one_in_its_own_pool():
    """From when the node took the pod, not only from the start of its container; the sum is that of both."""
    taken = {"startTime": stamp(NOW - timedelta(seconds=30))}
    first = a_pod({**ended(137, reason="OOMKilled"), **taken}, attempt=1)
    seen = a_snapshot(a_run(status=a_running_status(1)), flow=RETRYING, pods=(first,), price=SMALL)

    retrying = settled(seen)

    assert (retrying.phase, retrying.attempts[-1].reason) == (Phase.RETRYING, Reason.OOM_KILLED)
    assert retrying.attempts[-1].cost == retrying.cost == usd("0.045000")

    second = a_pod(ended(0), attempt=2)
    under_way = replace(retrying, phase=Phase.RUNNING, attempts=(*retrying.attempts, an_attempt(2)))
    over = settled(a_snapshot(a_run(status=under_way), flow=RETRYING, pods=(second,), price=LARGE))

    assert over.phase is Phase.SUCCEEDED
    assert [attempt.cost for attempt in over.attempts] == [usd("0.045000"), usd("0.060000")]
    assert over.cost == usd("0.105000")


def test_without_a_price_the_status_says_nothing_of_costs():
    pod = a_pod(ended(0))
    over = settled(a_snapshot(a_run(status=a_running_status(1)), flow=RETRYING, pods=(pod,)))

    assert (over.cost, over.attempts[-1].cost) == (None, None)


def test_attempts_in_two_currencies_have_costs_and_no_sum():
    euro = replace(LARGE, currency="EUR")
    earlier = replace(an_attempt(1, reason="OOMKilled", finished_at=NOW), cost=usd("0.045000"))
    status = replace(a_running_status(2), attempts=(earlier, an_attempt(2)), cost=usd("0.045000"))
    over = settled(a_snapshot(a_run(status=status), flow=RETRYING, pods=(a_pod(ended(0), attempt=2),), price=euro))

    assert [attempt.cost for attempt in over.attempts] == [usd("0.045000"), Cost(amount="0.060000", currency="EUR")]
    assert over.cost is None


def test_a_pod_that_was_said_to_be_taken_after_it_began_costs_from_its_beginning():
    late = {"startTime": stamp(NOW + timedelta(seconds=60))}
    seen = a_snapshot(
        a_run(status=a_running_status(1)), flow=RETRYING, pods=(a_pod({**ended(0), **late}),), price=LARGE
    )

    assert settled(seen).cost == usd("0.060000")

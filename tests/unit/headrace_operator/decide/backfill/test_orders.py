"""Every order of running is a bijection, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.backfill import Order
from headrace_operator.decide.backfill.orders import ordering_of


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("total", [1, 2, 3, 4, 5, 16, 17, 1000, 4097])
def test_each_partition_has_one_place(order, total):
    ordering = ordering_of(order, total, "seed")
    indexes = [ordering.index_at(position) for position in range(total)]

    assert sorted(indexes) == list(range(total))
    assert [ordering.position_of(index) for index in indexes] == list(range(total))


@given(st.integers(1, 1_000_000), st.data(), st.text())
def test_a_place_leads_back_to_its_partition(total, data, seed):
    ordering = ordering_of(Order.RANDOM, total, seed)
    position = data.draw(st.integers(0, total - 1))

    index = ordering.index_at(position)

    assert 0 <= index < total
    assert ordering.position_of(index) == position


def test_oldest_and_newest_are_each_others_reverse():
    oldest, newest = (ordering_of(order, 4, "") for order in (Order.OLDEST, Order.NEWEST))

    assert [oldest.index_at(position) for position in range(4)] == [0, 1, 2, 3]
    assert [newest.index_at(position) for position in range(4)] == [3, 2, 1, 0]


def test_random_spreads_over_the_whole_range():
    """The first hundredth of 300,000 reaches into every thirtieth of them, about as often as into any other."""
    ordering = ordering_of(Order.RANDOM, 300_000, "seed")
    hits = [0] * 30
    for position in range(3000):
        hits[ordering.index_at(position) // 10_000] += 1

    assert min(hits) > 50
    assert max(hits) < 150


def test_neighbours_do_not_stay_neighbours():
    ordering = ordering_of(Order.RANDOM, 100_000, "seed")
    places = [ordering.index_at(position) for position in range(1000)]

    assert sum(abs(a - b) < 1000 for a, b in pairwise(places)) < 60


def test_another_process_shuffles_the_same_way():
    """Outcomes are kept by place: another order after a restart would lose all of them."""
    told = (
        "from headrace.api.backfill import Order\n"
        "from headrace_operator.decide.backfill.orders import ordering_of\n"
        "print([ordering_of(Order.RANDOM, 300_000, 'seed').index_at(n) for n in range(8)])"
    )
    answer = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "5"}
    )

    assert answer.stdout.strip() == str([ordering_of(Order.RANDOM, 300_000, "seed").index_at(n) for n in range(8)])


def test_the_shuffle_is_that_of_every_version():
    """A change of these numbers would run partitions of Backfills under way twice, and others never."""
    ordering = ordering_of(Order.RANDOM, 1000, "seed")

    assert [ordering.index_at(position) for position in range(8)] == [578, 709, 168, 816, 471, 254, 787, 568]

"""Ranges behaves as Python's own sets do, and its text reads back as itself."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.backfills.ranges import LARGEST, Ranges

NUMBERS = st.one_of(
    st.sets(st.integers(0, 40)),
    st.sets(st.integers(0, 20_000)),
    st.builds(lambda start, length: set(range(start, start + length)), st.integers(0, 9000), st.integers(0, 9000)),
)


@given(NUMBERS, NUMBERS)
def test_operations_are_those_of_a_set(left, right):
    mine, yours = Ranges.of(left), Ranges.of(right)

    assert set(mine | yours) == left | right
    assert set(mine & yours) == left & right
    assert set(mine - yours) == left - right
    assert (mine == yours) == (left == right)
    assert len(mine) == len(left)
    assert bool(mine) == bool(left)
    assert mine.last == max(left, default=-1)


@given(NUMBERS, st.integers(-3, 20_010))
def test_membership_is_that_of_a_set(numbers, number):
    assert (number in Ranges.of(numbers)) == (number in numbers)


@given(NUMBERS)
def test_members_come_in_order(numbers):
    assert list(Ranges.of(numbers)) == sorted(numbers)


@given(NUMBERS)
def test_what_is_written_reads_back_as_itself(numbers):
    ranges = Ranges.of(numbers)

    assert Ranges.parse(ranges.text) == ranges
    assert ranges.run_count == len(list(ranges.runs())) == len([n for n in numbers if n - 1 not in numbers])


@given(NUMBERS, st.integers(0, 20_010), st.integers(0, 20_010))
def test_what_is_missing_is_found_in_order(numbers, total, after):
    ranges = Ranges.of(numbers)
    expected = [number for number in range(after, total) if number not in numbers]

    assert list(ranges.missing(total, after)) == expected
    assert ranges.first_missing(after) == next(n for n in range(after, after + len(numbers) + 1) if n not in numbers)


def test_a_few_are_missing_without_looking_at_all():
    """The first ones of a million come at once."""
    ranges = Ranges.span(0, 10)

    assert list(islice(ranges.missing(1_000_000), 3)) == [10, 11, 12]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ([], ""),
        ([0], "0"),
        ([0, 1], "0-1"),
        ([7, 5, 6, 2], "2,5-7"),
        ([*range(2000), 2002, *range(2005, 2011)], "0-1999,2002,2005-2010"),
    ],
)
def test_is_written_for_people(numbers, text):
    assert Ranges.of(numbers).text == text


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-2", "1,,2", "1 ,2", "1;2", "٣", "1-2-3", "123456789"])
def test_a_text_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="is no range; write a number or two"):
        Ranges.parse(text)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Ranges.of([1, LARGEST]),
        lambda: Ranges.of([-1]),
        lambda: Ranges.of([*range(20), -1]),
        lambda: Ranges.span(-1, 4),
        lambda: Ranges.parse(f"0-{LARGEST}"),
    ],
)
def test_numbers_that_are_no_positions_are_refused(make):
    """A status that was written by hand must not fill the memory."""
    with pytest.raises(ValueError, match=f"expected 0 to {LARGEST - 1}"):
        make()

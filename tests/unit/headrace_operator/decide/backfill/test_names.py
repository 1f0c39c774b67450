"""Names of partitions and of their runs: short, valid, and never the same for two."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.backfill import MAX_NAME
from headrace.api.flowrun import MAX_NAME as MAX_RUN_NAME
from headrace_operator.decide.backfill.names import MAX_PARTITION_NAME, distinct, joined, run_name

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
TEXTS = st.text("abzAB- ._é0", max_size=30)


@given(st.lists(TEXTS, min_size=1, max_size=50))
def test_every_text_gets_a_name_of_its_own(texts):
    names = distinct(texts)

    assert len(set(names)) == len(texts)
    assert all(LABEL.fullmatch(name) and len(name) <= MAX_PARTITION_NAME and "--" not in name for name in names)


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["eu-west", "US East"], ("eu-west", "us-east")),
        (["2026-01-01"], ("2026-01-01",)),
        (["a b", "A-B"], ("a-b-0", "a-b-1")),
        (["", "x"], ("0", "x-1")),
        (["a customer with a name that is too long", "b"], ("a-customer-with-a-na-0", "b-1")),
    ],
)
def test_a_name_says_what_it_can(texts, names):
    assert distinct(texts) == names


def test_a_name_never_has_two_dashes_in_a_row():
    """They are what separates the number of a further run: a value may leave nothing of it."""
    assert joined(["a", "", "r1"]) == "a-r1"


RUNS = st.tuples(
    st.from_regex(r"[a-z0-9]+(-[a-z0-9]+){0,3}", fullmatch=True).filter(lambda name: len(name) <= MAX_PARTITION_NAME),
    st.integers(1, 11),
    st.integers(0, 99),
)


@given(RUNS, RUNS)
def test_no_two_runs_of_a_backfill_have_one_name(one, other):
    """Else the run of one partition would count for another's: "a" tried twice, and "a-2"."""
    names = [run_name("bf", partition, attempt=attempt, rerun=rerun) for partition, attempt, rerun in (one, other)]

    assert (names[0] == names[1]) == (one == other)


@pytest.mark.parametrize(
    ("attempt", "rerun", "name"),
    [(1, 0, "q1-20260101"), (2, 0, "q1-20260101--2"), (1, 3, "q1-20260101--r3"), (2, 3, "q1-20260101--r3-2")],
)
def test_a_run_is_named_for_its_partition(attempt, rerun, name):
    assert run_name("q1", "20260101", attempt=attempt, rerun=rerun) == name


def test_the_longest_name_is_one_that_pods_carry():
    assert len(run_name("b" * MAX_NAME, "p" * MAX_PARTITION_NAME, attempt=11, rerun=99)) == MAX_RUN_NAME

"""Delays between attempts."""

from hypothesis import given
from hypothesis import strategies as st

from headrace import Backoff
from headrace.engine.retries import Retries


def test_the_last_delay_of_a_list_is_repeated():
    """After the 1st, 2nd, 3rd and 4th failure."""
    assert [Retries(9, (1.0, 5.0)).delay_s(failures) for failures in (1, 2, 3, 4)] == [1, 5, 5, 5]


def test_a_function_gets_the_number_of_failures():
    """And what it returns below 0 is 0."""
    assert [Retries(9, lambda failures: failures - 2).delay_s(failures) for failures in (1, 2, 3)] == [0, 0, 1]


def test_backoff_grows_by_its_factor_up_to_its_bound():
    """Without jitter it is exact."""
    backoff = Backoff(2, factor=3, max_seconds=50, jitter=0)
    assert [backoff(failures) for failures in (1, 2, 3, 4, 5000)] == [2, 6, 18, 50, 50]


@given(st.integers(1, 10_000), st.floats(0, 1e6), st.floats(1, 100), st.floats(0, 1))
def test_backoff_stays_within_its_jitter(failures, first, factor, jitter):
    """Never below 0, never above the bound and its jitter."""
    assert 0 <= Backoff(first, factor=factor, max_seconds=60, jitter=jitter)(failures) <= 60 * (1 + jitter)

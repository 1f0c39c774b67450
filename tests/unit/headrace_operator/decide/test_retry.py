"""When a failed attempt is tried again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.common import InfrastructureRetryPolicy, RetryPolicy
from headrace.api.conditions import Reason
from headrace_operator.decide.retry import INFRASTRUCTURE_REASONS, backoff_s, failures_so_far, next_attempt_at
from tests.builders import NOW, an_attempt

POLICIES = st.fixed_dictionaries(
    {
        "limit": st.integers(0, 100),
        "delay_seconds": st.integers(0, 604800),
        "factor": st.floats(1, 100),
        "max_delay_seconds": st.integers(0, 604800),
        "jitter": st.floats(0, 1),
    }
).map(lambda fields: RetryPolicy(**fields))


def a_policy(**fields: Any) -> RetryPolicy:
    return RetryPolicy(**{"limit": 3, "delay_seconds": 10, "factor": 2, "jitter": 0, **fields})


@pytest.mark.parametrize(
    ("policy", "failures", "seconds"),
    [
        pytest.param(a_policy(), 1, 10, id="the delay itself after the first failure"),
        pytest.param(a_policy(), 4, 80, id="doubled with each further one"),
        pytest.param(a_policy(factor=1), 4, 10, id="factor 1 waits evenly"),
        pytest.param(a_policy(max_delay_seconds=30), 4, 30, id="bounded"),
        pytest.param(a_policy(delay_seconds=0), 4, 0, id="no delay, no wait"),
        pytest.param(a_policy(factor=100, max_delay_seconds=3600), 10_000, 3600, id="no overflow, ever"),
    ],
)
def test_the_wait_grows_by_its_factor_up_to_its_bound(policy: RetryPolicy, failures: int, seconds: float) -> None:
    """Seconds, without jitter."""
    assert backoff_s(policy, failures=failures, seed="uid") == seconds


@given(POLICIES, st.integers(1, 101), st.text(max_size=8))
def test_jitter_moves_a_wait_by_its_share_and_always_by_the_same(policy: RetryPolicy, failures: int, seed: str) -> None:
    """An operator that starts anew computes the same instant, within the bounds that the policy sets."""
    wait_s = backoff_s(policy, failures=failures, seed=seed)
    exact_s = backoff_s(policy.model_copy(update={"jitter": 0}), failures=failures, seed=seed)
    assert wait_s == backoff_s(policy, failures=failures, seed=seed)
    assert wait_s >= 0
    assert abs(wait_s - exact_s) <= exact_s * (policy.jitter + 1e-9)  # so much is lost by rounding, at most


def test_runs_that_fail_together_are_not_tried_together() -> None:
    """A hundred runs with half a minute of jitter spread over most of it."""
    waits = [backoff_s(a_policy(delay_seconds=60, jitter=0.25), failures=1, seed=f"uid-{n}") for n in range(100)]
    assert max(waits) - min(waits) > 25
    assert abs(sum(waits) / len(waits) - 60) < 5


@pytest.mark.parametrize(
    ("failures", "asked_s", "after_s"),
    [
        pytest.param(3, None, 40, id="the last retry that the policy allows"),
        pytest.param(4, None, None, id="exhausted"),
        pytest.param(1, 0.5, 0.5, id="the flow asked for less"),
        pytest.param(1, 86400.0, 86400, id="the flow asked for more than the bound"),
        pytest.param(1, 0.0, 0, id="the flow asked for no wait"),
        pytest.param(4, 5.0, None, id="the flow cannot ask for more retries"),
    ],
)
def test_the_next_attempt_is_due_after_the_end_of_the_last(
    failures: int, asked_s: float | None, after_s: float | None
) -> None:
    """An instant, or None when the policy is exhausted."""
    due = next_attempt_at(a_policy(), failures=failures, seed="uid", ended=NOW, asked_delay_s=asked_s)
    assert due == (None if after_s is None else NOW + timedelta(seconds=after_s))


def test_a_limit_of_0_never_tries_again() -> None:
    """The default of a flow's own retries."""
    assert next_attempt_at(RetryPolicy(), failures=1, seed="uid", ended=NOW) is None
    assert next_attempt_at(InfrastructureRetryPolicy(), failures=3, seed="uid", ended=NOW) is not None


def test_the_two_kinds_of_failure_are_counted_apart() -> None:
    """Ended attempts alone; each counts for one policy."""
    ends = [*INFRASTRUCTURE_REASONS, Reason.FLOW_FAILED, Reason.EXIT_CODE, Reason.TIMED_OUT]
    attempts = [an_attempt(n, reason=reason, finished_at=NOW) for n, reason in enumerate(ends, start=1)]
    under_way = an_attempt(len(ends) + 1)
    assert failures_so_far([*attempts, under_way], infrastructure=True) == len(INFRASTRUCTURE_REASONS)
    assert failures_so_far([*attempts, under_way], infrastructure=False) == 3

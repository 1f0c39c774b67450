"""What a replica says of itself: whether it does its part."""

from __future__ import annotations

import pytest

from headrace_operator.probes import unready


@pytest.mark.parametrize(
    ("leads", "works", "silent_s", "expected"),
    [
        pytest.param(True, True, 0.0, None, id="a leader at work"),
        pytest.param(True, False, 0.0, "caches are not filled", id="a leader that still lists"),
        pytest.param(False, False, 2.0, None, id="a standby that hears of the leader"),
        pytest.param(
            False, False, 11.0, None, id="a standby whose leader has just died, and that is about to take over"
        ),
        pytest.param(False, False, 15.1, "has not told", id="a standby that is cut off"),
        pytest.param(False, False, float("inf"), "has not told", id="one that has never reached the API server"),
    ],
)
def test_a_replica_is_ready_when_it_works_or_could_take_over(
    leads: bool, works: bool, silent_s: float, expected: str | None
):
    """A standby is ready too: a rollout waits for it."""
    told = unready(leads=leads, works=works, silent_s=silent_s, lease_s=10)

    assert told is None if expected is None else expected in str(told)

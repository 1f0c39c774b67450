"""
Runs over limits, pools and Deployments under each kind of fault: none is lost, none runs twice, nothing is exceeded.

HEADRACE_FAULT_RUNS sets the number of runs under each; `python -m bench faults` takes 10,000.
"""

from __future__ import annotations

import logging
import os

import pytest
import structlog

from tests.simulated.faults import Faults
from tests.simulated.judge import leaders
from tests.simulated.replica import LEASE_S
from tests.simulated.suite import Trial, tried
from tests.simulated.trials import TRIALS

RUNS = int(os.environ.get("HEADRACE_FAULT_RUNS", "100"))
UNSEEN = {"none", "events twice"}
"""Kinds of faults that are no single occurrences, and are not counted."""


@pytest.mark.timeout(120 + 0.5 * RUNS)
@pytest.mark.parametrize("name", TRIALS)
def test_all_holds_under(name: str) -> None:
    """Every run ends as it should, and no state that the store ever had breaks a promise."""
    verdict = tried(TRIALS[name], RUNS)
    assert verdict.found == {}
    assert verdict.faults > 0 or name in UNSEEN


@pytest.mark.parametrize("name", ["leaders stopped while they write", "leaders' writes held up"])
def test_another_operator_takes_over(name: str) -> None:
    """The leaders take turns, as a test of what a deposed one does rests on that."""
    verdict = tried(TRIALS[name], 60)
    assert set(leaders(verdict.judge.requests)) == {"left", "right"}
    assert verdict.found == {}


def test_a_slow_api_server_ends_no_leader() -> None:
    """All answers take up to nearly a third of the lease, and one process leads from the first run to the last."""
    slow = Faults(slow=1.0, slow_s=0.95 * LEASE_S / 3)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with structlog.testing.capture_logs() as told:
        verdict = tried(Trial(slow), 60)
    assert verdict.found == {}
    assert [line["event"] for line in told if line["event"].startswith("lead")] == ["leadership_acquired"]


def test_the_same_seed_has_the_same_things_happen() -> None:
    """A fault that was found can be looked at again."""
    first, again = (tried(TRIALS["all at once"], 30, seed=5) for _ in range(2))
    assert [request.order for request in first.judge.requests] == [request.order for request in again.judge.requests]
    assert first.took_s == again.took_s

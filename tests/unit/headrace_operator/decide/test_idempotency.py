"""What a run does about an idempotency key that another run has, or may have."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.snapshot import ObjectKey
from tests.builders import NAMESPACE, NOW, a_pod, a_run, a_snapshot, running
from tests.unit.headrace_operator.decide.situations import MISSING, STRICT, a_run_under_way

FIRST = ObjectKey(NAMESPACE, "first")
KEY = {"idempotency_key": "alert-7"}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="one that could start"),
        pytest.param({"flow": MISSING}, id="one whose Flow is missing does not wait for it"),
        pytest.param({"flow": STRICT}, id="one whose parameters are wrong is no failure"),
        pytest.param({"run": a_run(**KEY, suspend=True)}, id="one that is suspended does not wait for a person"),
    ],
)
def test_a_run_whose_key_another_run_has_is_skipped(changes: dict[str, Any]) -> None:
    """Its message names the other one; there is no Event and no pod."""
    decision = decide(a_snapshot(**{"run": a_run(**KEY), "first": FIRST, **changes}), NOW)
    assert decision.status is not None
    assert (decision.status.phase, decision.status.reason) == (Phase.SKIPPED, Reason.DUPLICATE)
    assert decision.status.message == 'run first has the same spec.idempotencyKey "alert-7", and counts'
    assert (decision.actions, decision.afterwards) == ((), ())


def test_a_run_that_was_cancelled_is_cancelled() -> None:
    """Duplicate or not."""
    decision = decide(a_snapshot(a_run(**KEY, cancel=True), first=FIRST), NOW)
    assert decision.reason == Reason.CANCELLED


@pytest.mark.parametrize("changes", [{"first": FIRST}, {"key_is_settled": False}])
def test_a_run_that_has_begun_goes_on(changes: dict[str, Any]) -> None:
    """Its pod is the proof that it counts."""
    seen = a_snapshot(a_run_under_way(**KEY), pods=(a_pod(running()),), admitted=True, **changes)
    assert decide(seen, NOW).reason == Reason.RUNNING


def test_until_it_is_known_who_has_the_key_nothing_is_started_or_told() -> None:
    """That takes the operator a moment after its start."""
    decision = decide(a_snapshot(a_run(**KEY), key_is_settled=False), NOW)
    assert (decision.reason, decision.actions, decision.status) == ("HistoryNotRead", (), None)

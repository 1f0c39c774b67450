"""A retry that a budget does not pay for gives its places back; one that it pays for goes on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headrace.api.conditions import Phase, Reason
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.run_status import is_back_in_line
from headrace_operator.decide.snapshot import Blocked, Place, Snapshot, Turn
from tests.builders import NOW, a_deployment, a_run, a_snapshot
from tests.unit.headrace_operator.decide.situations import retrying

WAIT = Blocked(Reason.WAITING_FOR_BUDGET, "the rest does not pay for it")
LONG_AFTER = NOW + timedelta(days=1)


def between_attempts(*, active: int, payable: int | None, **changes: Any) -> Snapshot:
    """A run whose next attempt is due, so many others active."""
    view = replace(a_deployment(), payable=payable, budget_wait=WAIT)
    return a_snapshot(
        a_run(status=retrying()),
        deployment=view,
        place=Place(active=active),
        **{"admitted": True, "turn": None, **changes},
    )


@pytest.mark.parametrize(("active", "payable"), [(0, 0), (2, 1), (1, 1)])
def test_a_retry_that_is_not_paid_for_stands_in_line_again(active: int, payable: int) -> None:
    """It holds nothing while it waits, perhaps for weeks."""
    decision = decide(between_attempts(active=active, payable=payable), LONG_AFTER)
    assert decision.status is not None
    told = (decision.status.phase, decision.status.reason, decision.status.message)
    assert told == (Phase.RETRYING, Reason.WAITING_FOR_BUDGET, WAIT.message)
    assert is_back_in_line(decision.status)
    assert decision.actions == ()


@pytest.mark.parametrize(("active", "payable"), [(0, 1), (1, 2), (9, None)])
def test_a_retry_that_is_paid_for_asks_for_its_turn(active: int, payable: int | None) -> None:
    """As one without a budget does."""
    assert decide(between_attempts(active=active, payable=payable), LONG_AFTER).asks


def test_one_that_is_being_launched_goes_on() -> None:
    """Whether its pod exists is not known; it is counted as active already."""
    decision = decide(between_attempts(active=0, payable=0, turn=Turn()), LONG_AFTER)
    assert decision.reason == "Launched"


def test_in_line_it_waits_for_its_turn_like_any_other() -> None:
    """What it is told is what the gate says; that it gave its places back stays said."""
    first = decide(between_attempts(active=0, payable=0), LONG_AFTER)
    assert first.status is not None
    run = replace(a_run(), status=first.status)
    seen = replace(between_attempts(active=0, payable=0, admitted=False), run=run)
    assert decide(seen, LONG_AFTER).asks
    waits = decide(replace(seen, turn=WAIT), LONG_AFTER)
    assert waits.status is None or is_back_in_line(waits.status)
    assert waits.reason == Reason.WAITING_FOR_BUDGET

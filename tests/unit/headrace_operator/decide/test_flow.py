"""Whether runs can be started from a Flow, and which of its revisions may go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace_operator.decide.flow import flow_conditions, flow_problem, superfluous_revisions
from headrace_operator.decide.snapshot import ConditionView
from tests.builders import NOW, a_flow, stamp

LATER = NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    ("flow", "broken", "told"),
    [
        pytest.param(a_flow(), None, None, id="nothing is wrong"),
        pytest.param(a_flow(parameters={"defaults": {"a": 1}}), None, None, id="defaults without a schema"),
        pytest.param(a_flow(parameters={"schema": {"type": "object"}}), None, None, id="a schema that is one"),
        pytest.param(None, "spec.entrypoint: no", "spec.entrypoint: no", id="what the model says of a broken spec"),
        pytest.param(None, None, "the spec cannot be read", id="no word from the model"),
    ],
)
def test_a_flow_is_told_why_no_run_can_be_started_from_it(flow: Any, broken: str | None, told: str | None) -> None:
    """None if nothing is wrong."""
    assert flow_problem(flow and flow.spec, broken) == told


def test_a_flow_is_ready_or_says_why_not() -> None:
    """With the generation that is spoken of; the time moves when it turns."""
    ready = flow_conditions((), None, generation=1, now=NOW)
    assert ready == (ConditionView("Ready", "True", "Ready", "runs can be started from this Flow", NOW, 1),)
    broken = flow_conditions(ready, "spec.x: no", generation=2, now=LATER)
    assert broken == (ConditionView("Ready", "False", "InvalidSpec", "spec.x: no", LATER, 2),)
    assert flow_conditions(broken, "spec.x: no", generation=2, now=NOW) is broken


def revisions(*ages: int, flow: str = "etl") -> list[dict[str, Any]]:
    """Stored revisions `r<age>`, each that many minutes old."""
    return [
        {"metadata": {"name": f"{flow}-r{age}", "creationTimestamp": stamp(NOW - timedelta(minutes=age))}}
        for age in ages
    ]


@pytest.mark.parametrize(
    ("stored", "in_use", "limit", "gone"),
    [
        pytest.param(revisions(3, 1, 2), {"r1"}, 2, [], id="within the limit"),
        pytest.param(revisions(3, 1, 4, 2), {"r1"}, 2, ["etl-r4"], id="the oldest of those that nothing uses"),
        pytest.param(revisions(3, 1, 4, 2), {"r1", "r4"}, 1, ["etl-r3"], id="one in use stays, however old"),
        pytest.param(revisions(3, 1, 2), {"r1"}, 0, ["etl-r2", "etl-r3"], id="newest first"),
        pytest.param(revisions(2, 1, flow="a-b"), {"r1"}, 0, ["a-b-r2"], id="a Flow whose name has dashes"),
    ],
)
def test_old_revisions_that_nothing_uses_may_go(
    stored: list[dict[str, Any]], in_use: set[str], limit: int, gone: list[str]
) -> None:
    """Beyond the limit, which counts unused ones."""
    assert [r["metadata"]["name"] for r in superfluous_revisions(stored, in_use=in_use, limit=limit)] == gone

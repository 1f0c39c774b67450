"""Triggers of Prefect's deployments: what has a counterpart, and what is left behind with a reason."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.trigger import Trigger
from headrace.migration.prefect_triggers import NoSuchTrigger, trigger_from

RELATED = {"prefect.resource.role": "flow", "prefect.resource.name": ["My Flow", "other"]}
COMPLETED = {"expect": ["prefect.flow-run.Completed"], "match_related": RELATED}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            COMPLETED, {"run": {"phases": ["Succeeded"], "flows": ["my-flow", "other"]}}, id="the end of a flow's runs"
        ),
        pytest.param(
            {"expect": "prefect.flow-run.Crashed", "enabled": False, "parameters": {"n": 1}},
            {"run": {"phases": ["Crashed"]}, "parameters": {"n": 1}, "suspend": True},
            id="any run that crashes, not now",
        ),
        pytest.param(
            {
                "expect": ["prefect.flow-run.Failed", "prefect.flow-run.TimedOut"],
                "match_related": {"prefect.resource.role": "deployment", "prefect.resource.name": "etl/nightly"},
            },
            {"run": {"phases": ["Failed"], "deployments": ["nightly"]}},
            id="a deployment's failures",
        ),
    ],
)
def test_what_waits_for_states_of_runs_is_carried_over(raw: dict[str, Any], expected: dict[str, Any]) -> None:
    """As the API takes it."""
    found = trigger_from(raw, 2)
    assert found == {"name": "prefect-3", **expected}
    assert Trigger.model_validate(found)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"type": "compound"}, "its type is compound"),
        ({"posture": "Proactive"}, "an event that does not come"),
        ({"threshold": 3}, "it counts events"),
        ({"expect": ["prefect.block.x"]}, "it waits for prefect.block.x"),
        ({"expect": []}, "it waits for any event"),
        ({"match": {"prefect.resource.id": "prefect.flow-run.abc"}}, "its match names single resources"),
        ({"match_related": [RELATED]}, "its match_related names others"),
        ({"match_related": {"prefect.resource.role": "tag", "prefect.resource.name": "x"}}, "its match_related names"),
        ({"match_related": {**RELATED, "prefect.resource.name": "etl-*"}}, "its match_related has patterns"),
        ({"parameters": {"n": "{{ event.id }}"}}, "templates of Prefect's"),
    ],
)
def test_what_has_no_counterpart_says_why(change: dict[str, Any], told: str) -> None:
    """And what to do."""
    with pytest.raises(NoSuchTrigger, match=told) as caught:
        trigger_from({**COMPLETED, **change}, 0)
    assert "docs/triggers.md" in str(caught.value)


@pytest.mark.parametrize("raw", ["DeploymentEventTrigger(...)", 7, None])
def test_what_a_program_makes_is_left_behind(raw: Any) -> None:
    with pytest.raises(NoSuchTrigger, match="made by the program"):
        trigger_from(raw, 0)


@pytest.mark.parametrize(
    "part",
    [
        {"match": [1]},
        {"match_related": {"prefect.resource.role": [], "prefect.resource.name": "etl"}},
        {"parameters": "text"},
        {"expect": 5},
    ],
    ids=lambda part: next(iter(part)),
)
def test_a_part_of_another_shape_is_an_obstacle(part):
    """Whoever wrote it by hand is told, as of what has no counterpart."""
    with pytest.raises(NoSuchTrigger):
        trigger_from({"expect": ["prefect.flow-run.Completed"], **part}, 0)

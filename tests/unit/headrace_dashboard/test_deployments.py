"""The page of a Deployment: what starts it."""

from __future__ import annotations

from typing import Any

from headrace_dashboard.pages.deployments import DeploymentView, deployment_page
from headrace_dashboard.pages.layout import Frame
from headrace_dashboard.watching.records import Kept
from tests.builders import NOW

FRAME = Frame(person="ann", csrf="", assets="x")
AFTER = {
    "name": "after",
    "run": {"phases": ["Succeeded"], "deployments": ["extract"]},
    "filter": 'event.run.name != "<b>"',
}


def shown(status: dict[str, Any] | None = None, **spec: Any) -> str:
    kept = Kept(
        "u", "team-a", "load", 1, {"flowRef": {"name": "etl"}, **spec}, status or {}, "2026-03-04T12:00:00Z", ""
    )
    return deployment_page(FRAME, DeploymentView(kept, {}, {}, (), may_start=False, may_change=False), NOW)


def test_its_triggers_are_listed_with_what_has_fired() -> None:
    """By the Automation that keeps each; what people write is shown as text."""
    page = shown(triggers=[AFTER])
    assert "extract Succeeded" in page
    assert 'href="/automations/team-a/load.after"' in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page


def test_what_blocks_them_is_told() -> None:
    blocked = {"type": "Triggering", "status": "False", "reason": "TriggerNameTaken", "message": "the name is taken"}
    assert "the name is taken" in shown({"conditions": [blocked]}, triggers=[AFTER])


def test_a_deployment_without_triggers_has_no_such_part() -> None:
    assert 'id="triggers"' in shown(triggers=[AFTER])
    assert 'id="triggers"' not in shown()

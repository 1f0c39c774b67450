"""The page of a Deployment: what starts it."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_dashboard.pages.deployments import DeploymentView, deployment_page
from headrace_dashboard.pages.layout import Frame
from headrace_dashboard.routes.deployments import start_key
from headrace_dashboard.site import Refusal
from headrace_dashboard.watching.records import Kept
from tests.builders import NOW

FRAME = Frame(person="ann", csrf="", assets="x")
AFTER = {
    "name": "after",
    "run": {"phases": ["Succeeded"], "deployments": ["extract"]},
    "filter": 'event.run.name != "<b>"',
}


FORM_ID = "0123456789abcdef" * 2


def a_kept(status: dict[str, Any] | None = None, **spec: Any) -> Kept:
    return Kept(
        "u", "team-a", "load", 1, {"flowRef": {"name": "etl"}, **spec}, status or {}, "2026-03-04T12:00:00Z", ""
    )


def shown(status: dict[str, Any] | None = None, **spec: Any) -> str:
    view = DeploymentView(a_kept(status, **spec), {}, {}, (), may_start=False, may_change=False)
    return deployment_page(FRAME, view, NOW)


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


def test_a_form_starts_one_run_and_filled_in_anew_another() -> None:
    """A browser that goes back shows the same form once more."""
    key = start_key(FORM_ID, {"day": "1", "more": [1]})
    assert start_key(FORM_ID, {"more": [1], "day": "1"}) == key
    assert start_key(FORM_ID, {"day": "2", "more": [1]}) != key
    assert start_key(FORM_ID[::-1], {"day": "1", "more": [1]}) != key


def test_the_form_says_which_one_it_is() -> None:
    view = DeploymentView(a_kept(), {}, {}, (), may_start=True, may_change=False, form_id=FORM_ID)
    assert f'name="form" value="{FORM_ID}"' in deployment_page(FRAME, view, NOW)


@pytest.mark.parametrize("form_id", ["", "x" * 32, FORM_ID.upper(), f"{FORM_ID}0"])
def test_a_form_of_no_page_starts_nothing(form_id: str) -> None:
    with pytest.raises(Refusal, match="load the page again"):
        start_key(form_id, {})

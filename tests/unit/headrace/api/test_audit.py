"""Who did what, read from what the API server noted."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.api.audit import Deed, account_of, cause_of, deeds_of


def an_object(audit: str | None = None, **labels: str) -> dict[str, Any]:
    annotations = {} if audit is None else {"headrace.dev/audit": audit}
    return {"metadata": {"annotations": annotations, "labels": {f"headrace.dev/{k}": v for k, v in labels.items()}}}


def test_each_line_is_a_deed() -> None:
    noted = "2026-03-04T12:00:00Z ada created\n? system:serviceaccount:a:b suspended, changed priority from pod b-1"
    assert deeds_of(an_object(noted)) == (
        Deed("2026-03-04T12:00:00Z", "ada", "created"),
        Deed("?", "system:serviceaccount:a:b", "suspended, changed priority from pod b-1"),
    )


@pytest.mark.parametrize("noted", [None, "", "one two", "\n\n"])
def test_what_is_no_deed_is_passed_over(noted: str | None) -> None:
    """As people could write it before the policy was there."""
    assert deeds_of(an_object(noted)) == ()


@pytest.mark.parametrize(
    ("labels", "cause"),
    [
        ({"schedule": "nightly"}, "schedule nightly"),
        ({"backfill": "march", "schedule": "x"}, "Backfill march"),
        ({"automation": "alerts"}, "Automation alerts"),
        ({"parent": "etl-1"}, "run etl-1"),
        ({}, None),
    ],
)
def test_labels_name_the_cause(labels: dict[str, str], cause: str | None) -> None:
    assert cause_of(an_object(**labels)) == cause


def test_the_cause_comes_first() -> None:
    noted = an_object("2026-03-04T12:00:00Z ada cancelled", schedule="nightly")
    assert account_of(noted) == ("started by schedule nightly", "2026-03-04T12:00:00Z ada cancelled")
    assert account_of({"metadata": {}}) == ()

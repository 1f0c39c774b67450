"""Artifacts in reports and in the status."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_operator.decide.artifacts import artifacts_from, with_artifacts

REPORT = {"name": "rows", "kind": "table", "url": "s3://b/rows.json", "description": "Rows of the day"}


def named(*names: str) -> tuple[dict[str, str], ...]:
    return tuple({"name": name, "kind": "link"} for name in names)


def test_what_a_report_tells_is_kept_as_it_is() -> None:
    """Fields that are not known are left out, a description is one line."""
    assert artifacts_from([{**REPORT, "description": "Rows\n of the day", "size": 3}]) == (REPORT,)


@pytest.mark.parametrize(
    "report",
    [None, {}, "x", [None], [{}], [{"name": "a"}], [{**REPORT, "url": "no url"}], [{**REPORT, "name": "\x1b[2J"}]],
)
def test_what_is_no_artifact_is_left_out(report: Any) -> None:
    """Reports are foreign input."""
    assert artifacts_from(report) == ()


@given(st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner, max_size=3)))
def test_nothing_in_a_report_raises(report: Any) -> None:
    """Whatever it is, at most 32 artifacts come of it."""
    assert len(artifacts_from(report)) <= 32


def test_the_newest_of_a_name_counts_and_the_newest_names_stay() -> None:
    """Over all attempts."""
    known = named("a", "b", *(f"n{number}" for number in range(30)))
    new = ({"name": "a", "kind": "table"}, {"name": "c", "kind": "link"})
    kept = with_artifacts(known, new)
    assert len(kept) == 32
    assert [each["name"] for each in kept] == [*(f"n{number}" for number in range(30)), "a", "c"]
    assert kept[-2]["kind"] == "table"

"""A status goes into the API and comes back the same, and no more than what changed is written."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.conditions import Phase
from headrace.api.flowrun import FlowRunStatus
from headrace.api.money import Cost
from headrace_operator.decide.snapshot import Attempt, ConditionView, RunStatus
from headrace_operator.manifests.patches import status_changes
from headrace_operator.manifests.run_status import render_condition, render_status, status_patch
from headrace_operator.observe.parse import status_from
from tests.builders import NOW, a_running_status

SECONDS = st.integers(0, 4 * 10**9).map(lambda s: datetime.fromtimestamp(s, UTC))
WORDS = st.text("abcDEF", min_size=1, max_size=6)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | WORDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS, inner, max_size=2),
    max_leaves=5,
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


COSTS = st.builds(Cost, amount=st.sampled_from(["0.000000", "1.500000"]), currency=st.sampled_from(["USD", "EUR"]))
CONDITIONS = st.builds(
    ConditionView,
    type=WORDS,
    status=st.sampled_from(["True", "False", "Unknown"]),
    reason=WORDS,
    message=WORDS,
    last_transition_time=SECONDS,
    observed_generation=maybe(st.integers(0, 9)),
)
ATTEMPTS = st.builds(
    Attempt,
    number=st.integers(1, 9),
    pod=WORDS,
    node=maybe(WORDS),
    reason=maybe(WORDS),
    message=maybe(WORDS),
    exit_code=maybe(st.integers(0, 255)),
    started_at=maybe(SECONDS),
    finished_at=maybe(SECONDS),
    pool=maybe(WORDS),
    cost=maybe(COSTS),
)
STATUSES = st.builds(
    RunStatus,
    phase=maybe(st.sampled_from(Phase)),
    reason=maybe(WORDS),
    message=maybe(WORDS),
    observed_generation=maybe(st.integers(0, 9)),
    conditions=st.lists(CONDITIONS, max_size=2, unique_by=lambda c: c.type).map(tuple),
    flow_revision=maybe(WORDS),
    parameters=maybe(st.dictionaries(WORDS, JSON, max_size=2)),
    attempts=st.lists(ATTEMPTS, max_size=2, unique_by=lambda a: a.number).map(tuple),
    next_attempt_at=maybe(SECONDS),
    tasks=maybe(st.dictionaries(st.sampled_from(["total", "failed"]), st.integers(0, 9))),
    result=maybe(JSON.map(lambda value: {"value": value})),
    usage=maybe(st.dictionaries(st.sampled_from(["cpuSeconds"]), st.floats(0, 9))),
    cost=maybe(COSTS),
    queued_at=maybe(SECONDS),
    started_at=maybe(SECONDS),
    finished_at=maybe(SECONDS),
    pool=maybe(WORDS),
)


def stored(status: RunStatus) -> dict[str, Any]:
    return {"metadata": {"resourceVersion": "7"}, "status": render_status(status)}


@settings(max_examples=50, deadline=None)
@given(STATUSES)
def test_a_status_comes_back_as_it_was_written(status: RunStatus) -> None:
    """Every field, nulls inside parameters and results included."""
    assert status_from(render_status(status)) == status


@settings(max_examples=50, deadline=None)
@given(STATUSES, STATUSES)
def test_a_patch_turns_one_status_into_the_other(old: RunStatus, new: RunStatus) -> None:
    """Applied as the API server applies it; None when they are the same."""
    patch = status_patch(old, new, resource_version=7)
    if patch is None:
        assert old == new
    else:
        assert jsonpatch.apply_patch(stored(old), patch) == stored(new)


@settings(max_examples=50, deadline=None)
@given(STATUSES, STATUSES)
def test_a_patch_names_what_changed_and_nothing_else(old: RunStatus, new: RunStatus) -> None:
    """The first operation binds it to what was read."""
    before, after = render_status(old), render_status(new)
    patch = status_patch(old, new, resource_version=7) or []
    touched = {operation["path"].removeprefix("/status/") for operation in patch[1:]}
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert touched == (changed if before else {"/status"} if after else set())


def test_a_patch_is_bound_to_the_version_that_was_read() -> None:
    """Another writer's change makes it a conflict, not a loss."""
    patch = status_patch(RunStatus(), a_running_status(), resource_version=7)
    assert patch is not None
    assert patch[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "7"}


@pytest.mark.parametrize(
    ("before", "after", "operations"),
    [
        pytest.param({"a": 1}, {"a": 1}, None, id="nothing changed"),
        pytest.param({}, {}, None, id="nothing was there and nothing comes"),
        pytest.param({}, {"a": None}, [("add", "/status", {"a": None})], id="the first status is added as a whole"),
        pytest.param({"a": 1}, {"a": 1, "b": 2}, [("add", "/status/b", 2)], id="a field comes"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, [("remove", "/status/b", None)], id="a field goes"),
        pytest.param(
            {"a": {"x": 1, "y": 2}}, {"a": {"x": 1}}, [("add", "/status/a", {"x": 1})], id="a map is taken as a whole"
        ),
        pytest.param({"a": {"x": 1}}, {"a": {"x": None}}, [("add", "/status/a", {"x": None})], id="a null is a value"),
    ],
)
def test_what_a_patch_consists_of(
    before: dict[str, Any], after: dict[str, Any], operations: list[tuple[str, str, Any]] | None
) -> None:
    """Operations after the one on the version."""
    patch = status_changes(before, after, resource_version=7)
    told = None if patch is None else [(o["op"], o["path"], o.get("value")) for o in patch[1:]]
    assert told == operations


def test_a_status_is_one_that_the_model_knows() -> None:
    """What is written passes the schema that the definitions are made from."""
    cost = Cost(amount="0.045000", currency="USD")
    rendered = render_status(
        a_running_status(parameters={"a": None}, result={"value": 1}, tasks={"total": 1}, cost=cost)
    )
    FlowRunStatus.model_validate(copy.deepcopy(rendered))
    assert set(rendered) <= {field.alias for field in FlowRunStatus.model_fields.values()}


def test_a_condition_without_a_generation_has_none() -> None:
    """An absent field, not a null."""
    rendered = render_condition(ConditionView("Ready", "True", "Ready", "fine", NOW))
    assert rendered == {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "fine",
        "lastTransitionTime": "2026-03-04T12:00:00Z",
    }

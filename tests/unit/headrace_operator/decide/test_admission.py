"""Who may start under a deployment's concurrency."""

from __future__ import annotations

import pytest

from headrace.api.deployment import OnConflict
from headrace_operator.decide.admission import free_slots, is_replaced, is_skipped, may_start
from headrace_operator.decide.snapshot import Place, Snapshot
from tests.builders import a_deployment, a_snapshot


def in_place(policy: OnConflict, *, limit: int = 2, admitted: bool = False, **place: int) -> Snapshot:
    deployment = a_deployment(concurrency={"limit": limit, "onConflict": policy})
    return a_snapshot(deployment=deployment, admitted=admitted, place=Place(**place))


@pytest.mark.parametrize(
    ("place", "starts"),
    [
        pytest.param({}, True, id="alone"),
        pytest.param({"active": 1}, True, id="one slot left"),
        pytest.param({"active": 1, "ahead": 1}, False, id="the last slot is promised to another"),
        pytest.param({"active": 0, "ahead": 1}, True, id="two slots, one promised"),
        pytest.param({"active": 2}, False, id="full"),
        pytest.param({"active": 5}, False, id="over the limit, as it was lowered"),
    ],
)
def test_a_run_starts_when_a_slot_is_left_after_those_ahead(place: dict[str, int], starts: bool) -> None:
    """Queue, with 2 slots."""
    assert may_start(in_place(OnConflict.QUEUE, **place)) is starts


@pytest.mark.parametrize(
    ("place", "admitted", "skipped"),
    [
        pytest.param({"active": 1}, False, False, id="a slot is free"),
        pytest.param({"active": 2}, False, True, id="every slot is taken"),
        pytest.param({"active": 1, "ahead": 1}, False, True, id="the last one is promised to a run ahead"),
        pytest.param({"active": 2}, True, False, id="it holds a slot itself"),
    ],
)
def test_skip_ends_a_run_that_finds_no_slot_at_its_first_look(
    place: dict[str, int], admitted: bool, skipped: bool
) -> None:
    """A run of a skipping deployment never waits: it starts or it is skipped."""
    seen = in_place(OnConflict.SKIP, admitted=admitted, **place)
    assert is_skipped(seen) is skipped
    assert is_skipped(in_place(OnConflict.QUEUE, admitted=admitted, **place)) is False


@pytest.mark.parametrize(
    ("place", "replaced"),
    [
        pytest.param({"newer": 1}, False, id="newer runs leave it a slot"),
        pytest.param({"newer": 2}, True, id="newer runs fill every slot"),
        pytest.param({"active": 9, "ahead": 9}, False, id="older ones do not matter"),
    ],
)
def test_replace_ends_the_oldest_runs(place: dict[str, int], replaced: bool) -> None:
    """With 2 slots, the two newest runs win."""
    assert is_replaced(in_place(OnConflict.REPLACE, **place)) is replaced
    assert is_replaced(in_place(OnConflict.QUEUE, **place)) is False


@pytest.mark.parametrize("deployment", [None, a_deployment()], ids=["no deployment", "a deployment without a limit"])
def test_without_a_limit_nothing_holds_a_run_back(deployment: object) -> None:
    """However many there are."""
    seen = a_snapshot(deployment=deployment, place=Place(active=1000, ahead=1000, newer=1000))
    assert free_slots(seen) is None
    assert (may_start(seen), is_skipped(seen), is_replaced(seen)) == (True, False, False)

"""Whom a run of higher priority sends away."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.preemption import Occupant, still_missing, victims
from headrace_operator.decide.queueing.resources import Resource, runs_in, slots_of
from headrace_operator.decide.queueing.terms import LimitTerms, PoolTerms
from tests.unit.headrace_operator.decide.queueing.demands import (
    NOON,
    a_demand,
    a_holding,
    after,
    enrol,
    granted,
    key,
)


def a_board(*, preempts: bool = False) -> Board:
    board = Board()
    board.set_limit("db", LimitTerms(slots=2))
    board.set_pool("cpu", PoolTerms(runs=2, preempts=preempts))
    return board


def sent_away(board: Board, now: datetime = NOON) -> list[str]:
    return [run.name for run in board.admit(now).preempt]


@pytest.mark.parametrize(
    ("held", "wants", "named"),
    [
        pytest.param({"pool": "cpu"}, {"pools": ("cpu",)}, ["b"], id="for a place in a pool, the newest"),
        pytest.param({"limits": (("db", 1),)}, {"limits": (("db", 1),)}, ["b"], id="for a slot"),
        pytest.param({"limits": (("db", 1),)}, {"limits": (("db", 2),)}, ["a", "b"], id="both, for both slots"),
        pytest.param(
            {"limits": (("db", 1),), "pool": "cpu"},
            {"limits": (("db", 1),), "pools": ("cpu",)},
            ["b"],
            id="one that frees both things",
        ),
        pytest.param({"pool": "cpu", "priority": 5}, {"pools": ("cpu",)}, [], id="nobody of the same priority"),
        pytest.param({"pool": "cpu", "priority": 9}, {"pools": ("cpu",)}, [], id="nobody of a higher priority"),
        pytest.param({"pool": "cpu"}, {"pools": ("cpu",), "preempts": False}, [], id="nobody, unless it is asked for"),
        pytest.param({"pool": "cpu"}, {"pools": ("cpu",), "limits": (("db", 3),)}, [], id="nobody, in vain"),
        pytest.param(
            {"pool": "cpu"}, {"pools": ("cpu",), "deployment": key("d")}, [], id="nobody, as its own deployment is full"
        ),
        pytest.param(
            {"pool": "cpu", "leaving": True}, {"pools": ("cpu",)}, [], id="nobody, as those who leave make enough room"
        ),
    ],
)
def test_the_fewest_of_lower_priority_go(held: dict[str, Any], wants: dict[str, Any], named: list[str]) -> None:
    """Two runs hold all there is; one of priority 5 comes."""
    board = a_board()
    board.set_deployment(key("d"), 0)
    board.hold(key("a"), a_holding("a", since=1, **held))
    board.hold(key("b"), a_holding("b", since=2, **held))
    board.enrol(a_demand("urgent", **{"priority": 5, "preempts": True, **wants}))
    assert sorted(sent_away(board)) == named


def test_a_pool_may_ask_for_preemption_for_its_own_places_alone() -> None:
    """Slots of limits are sent for only where the deployment asks for it."""
    board = a_board(preempts=True)
    for name in "ab":
        board.hold(key(name), a_holding(name, pool="cpu", limits=(("db", 1),)))
    board.enrol(a_demand("urgent", priority=5, pools=("cpu",), limits=(("db", 1),)))
    assert sent_away(board) == []
    board.enrol(a_demand("urgent", priority=5, pools=("cpu",)))
    assert sent_away(board) == ["a"]


def test_the_lowest_priority_goes_first_then_the_newest() -> None:
    """The one whose loss costs least."""
    board = Board()
    board.set_pool("cpu", PoolTerms(runs=3, preempts=True))
    board.hold(key("low-old"), a_holding("low-old", pool="cpu", since=1))
    board.hold(key("low-new"), a_holding("low-new", pool="cpu", since=2))
    board.hold(key("middle"), a_holding("middle", pool="cpu", since=3, priority=1))
    board.enrol(a_demand("urgent", priority=5, pools=("cpu",)))
    assert sent_away(board) == ["low-new"]


def test_nobody_goes_if_all_of_them_were_not_enough() -> None:
    """A task holds the other slot; tasks are never sent away."""
    board = a_board()
    board.hold(key("a"), a_holding("a", limits=(("db", 1),)))
    board.set_leases("db", {"pod/team-a/p/uid/1": 1})
    board.enrol(a_demand("urgent", priority=5, limits=(("db", 2),), preempts=True))
    assert sent_away(board) == []


def test_each_is_named_once_and_the_room_is_counted_on() -> None:
    """Until it has gone; then the run that it made room for starts."""
    board = a_board(preempts=True)
    for name in "ab":
        board.hold(key(name), a_holding(name, pool="cpu"))
    enrol(board, a_demand("urgent", priority=5, pools=("cpu",)), a_demand("next", priority=4, pools=("cpu",)))
    assert sent_away(board) == ["a"]
    board.hold(key("team-b/x"), a_holding("team-b/x"))
    assert sent_away(board) == []
    board.release(key("a"))
    admission = board.admit(NOON)
    assert granted(admission) == ["urgent"]
    assert [run.name for run in admission.preempt] == ["b"]


@pytest.mark.parametrize(
    ("asks", "preempts"), [({"preempts": True}, False), ({}, True)], ids=["by its deployment", "by the pool"]
)
def test_who_was_let_in_may_be_sent_away_as_soon_as_it_runs(asks: dict[str, Any], preempts: bool) -> None:
    """It uses what it was granted, no more and no less; but who holds it is known only now."""
    board = a_board(preempts=preempts)
    enrol(board, *(a_demand(name, pools=("cpu",)) for name in "ab"))
    board.admit(NOON)
    board.enrol(a_demand("urgent", priority=5, pools=("cpu",), **asks))
    assert sent_away(board) == []
    board.hold(key("a"), a_holding("a", pool="cpu", priority=5))
    assert sent_away(board) == []
    board.hold(key("a"), a_holding("a", pool="cpu", priority=1))
    assert sent_away(board) == ["a"]


@pytest.mark.parametrize("given_up", [False, True])
def test_a_run_that_was_sent_away_and_came_back_may_be_sent_away_again(given_up: bool) -> None:
    """Its next attempt holds a place of its own, whether it gave up all that it held meanwhile, or its pool alone."""
    board = a_board(preempts=True)
    board.hold(key("a"), a_holding("a", pool="cpu"))
    board.hold(key("b"), a_holding("b", pool="cpu", priority=9))
    board.enrol(a_demand("urgent", priority=5, pools=("cpu",)))
    assert sent_away(board) == ["a"]
    if given_up:
        board.release(key("a"))
    else:
        board.hold(key("a"), a_holding("a"))
    assert granted(board.admit(NOON)) == ["urgent"]
    board.release(key("urgent"))
    board.hold(key("a"), a_holding("a", pool="cpu"))
    board.enrol(a_demand("again", priority=5, pools=("cpu",)))
    assert sent_away(board) == ["a"]


def test_the_best_pool_where_it_helps_is_cleared() -> None:
    """And once somebody leaves for it there, no other pool is looked at."""
    board = a_board(preempts=True)
    board.set_pool("best", PoolTerms(runs=1, preempts=True))
    board.hold(key("strong"), a_holding("strong", pool="best", priority=9))
    for name in "ab":
        board.hold(key(name), a_holding(name, pool="cpu"))
    board.enrol(a_demand("urgent", priority=5, pools=("best", "cpu")))
    assert sent_away(board) == ["a"]
    board.hold(key("strong"), a_holding("strong", pool="best", priority=1))
    assert sent_away(board) == []


def test_who_makes_room_for_nothing_stays() -> None:
    """A large run makes enough room alone; the small one, looked at first, stays."""
    board = Board()
    board.set_pool("cpu", PoolTerms(resources=amounts_of({"cpu": 8}), preempts=True))
    board.hold(key("small"), a_holding("small", since=2, pool="cpu", requests=amounts_of({"cpu": 1})))
    board.hold(key("large"), a_holding("large", since=1, pool="cpu", requests=amounts_of({"cpu": 7})))
    board.enrol(a_demand("urgent", priority=5, pools=("cpu",), requests=amounts_of({"cpu": 6})))
    assert sent_away(board) == ["large"]


RESOURCES = (slots_of("db"), runs_in("cpu"), Resource("requests", "cpu", "memory"))
AMOUNTS = st.dictionaries(st.sampled_from(RESOURCES), st.integers(1, 4), min_size=1)
OCCUPANTS = st.lists(
    st.builds(
        Occupant,
        run=st.integers(0, 99).map(lambda number: key(f"r{number}")),
        priority=st.integers(0, 4),
        since=st.integers(0, 9).map(after),
        leaving=st.booleans(),
        holds=AMOUNTS,
    ),
    max_size=8,
    unique_by=lambda occupant: occupant.run,
)


@given(AMOUNTS, OCCUPANTS, st.integers(0, 5))
def test_those_who_go_are_enough_and_none_of_them_could_stay(
    missing: dict[Resource, int], occupants: list[Occupant], priority: int
) -> None:
    """Nobody is named only if nobody is needed, or all below this priority are too few."""

    def enough(runs: list[Occupant]) -> bool:
        return all(sum(run.holds.get(resource, 0) for run in runs) >= amount for resource, amount in missing.items())

    leaving = [occupant for occupant in occupants if occupant.leaving]
    below = [occupant for occupant in occupants if not occupant.leaving and occupant.priority < priority]
    lacking = still_missing(missing, occupants)
    assert enough(leaving) is not bool(lacking)
    named = victims(lacking, occupants, priority)
    going = [occupant for occupant in below if occupant.run in named]
    assert len(going) == len(named)
    assert bool(named) is (bool(lacking) and enough([*leaving, *below]))
    if named:
        assert enough([*leaving, *going])
        assert not any(enough([*leaving, *(other for other in going if other is not one)]) for one in going)

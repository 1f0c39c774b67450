"""Runs that hold something while they wait: who waits for that keeps nothing from them, or all would wait for ever."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.slots import run_holder
from headrace_operator.decide.queueing.terms import LimitTerms, PoolTerms
from tests.unit.headrace_operator.decide.queueing.demands import NOON, a_demand, a_holding, enrol, granted, key

DB = (("db", 1),)
URGENT: dict[str, Any] = {"priority": 9, "limits": DB, "pools": ("gpu",)}
RETRY: dict[str, Any] = {"pools": ("gpu",), "counts": False}


@pytest.fixture
def board() -> Board:
    """One slot, and one place in each pool."""
    board = Board()
    for limit in ("api", "db"):
        board.set_limit(limit, LimitTerms(1))
    for pool in ("cpu", "gpu"):
        board.set_pool(pool, PoolTerms(1))
    return board


def test_a_retry_gets_the_room_that_one_who_waits_for_its_slot_has_reserved(board: Board) -> None:
    board.hold(key("a"), a_holding("a", limits=DB))
    enrol(board, a_demand("b", **URGENT), a_demand("a", **RETRY))
    assert granted(board.admit(NOON)) == ["a"]


def test_a_retry_gets_the_room_that_comes_free_before_one_who_waits_for_its_slot_too(board: Board) -> None:
    board.hold(key("a"), a_holding("a", limits=DB))
    board.hold(key("x"), a_holding("x", pool="gpu"))
    enrol(board, a_demand("b", **URGENT), a_demand("a", **RETRY))
    assert granted(board.admit(NOON)) == []
    board.release(key("x"))
    assert granted(board.admit(NOON)) == ["a"]


def test_new_runs_do_not_get_it(board: Board) -> None:
    board.hold(key("a"), a_holding("a", limits=DB))
    enrol(board, a_demand("b", **URGENT), a_demand("c", pools=("gpu",)), a_demand("a", pools=("cpu",), counts=False))
    assert granted(board.admit(NOON)) == ["a"]
    assert granted(board.admit(NOON)) == []


def test_two_who_wait_for_two_retries_let_both_through(board: Board) -> None:
    """Each retry needs the room that is reserved by the one who waits for the other."""
    board.hold(key("a"), a_holding("a", limits=DB))
    board.hold(key("z"), a_holding("z", limits=(("api", 1),)))
    enrol(
        board,
        a_demand("b", **URGENT),
        a_demand("y", priority=9, limits=(("api", 1),), pools=("cpu",)),
        a_demand("a", pools=("cpu",), counts=False),
        a_demand("z", **RETRY),
    )
    assert granted(board.admit(NOON)) == ["a", "z"]


@pytest.mark.parametrize("parents", [("parent",), ("other", "parent")])
def test_a_task_gets_the_room_that_one_who_waits_for_its_parent_has_reserved(
    board: Board, parents: tuple[str, ...]
) -> None:
    """A task of a task too."""
    board.hold(key("parent"), a_holding("parent", limits=DB, pool="cpu"))
    enrol(board, a_demand("b", **URGENT), a_demand("t", **RETRY, parents=tuple(map(key, parents))))
    assert granted(board.admit(NOON)) == ["t"]


def test_a_task_gets_it_as_soon_as_its_parent_holds_what_it_was_granted(board: Board) -> None:
    """Not a slot more or less is free for that: the parent is known as who holds it."""
    enrol(board, a_demand("parent", limits=DB))
    board.admit(NOON)
    enrol(board, a_demand("b", **URGENT), a_demand("t", **RETRY, parents=(key("parent"),)))
    assert granted(board.admit(NOON)) == []
    board.hold(key("parent"), a_holding("parent", limits=DB))
    assert granted(board.admit(NOON)) == ["t"]


def test_a_task_gets_room_beside_its_parent_though_one_waits_for_all_of_the_pool(board: Board) -> None:
    board.set_pool("gpu", PoolTerms(resources=amounts_of({"cpu": "4"})))
    board.hold(key("parent"), a_holding("parent", pool="gpu", requests=amounts_of({"cpu": "1"})))
    enrol(
        board,
        a_demand("b", priority=9, pools=("gpu",), requests=amounts_of({"cpu": "4"})),
        a_demand("t", **RETRY, requests=amounts_of({"cpu": "1"}), parents=(key("parent"),)),
    )
    assert granted(board.admit(NOON)) == ["t"]


def test_slots_that_an_operator_before_this_one_took_are_used_by_their_holder(board: Board) -> None:
    """It died between the first of them and the second."""
    board.set_leases("api", {run_holder(key("a"), "uid-of-a"): 1})
    both = (("api", 1), ("db", 1))
    enrol(board, a_demand("b", priority=9, limits=both), a_demand("a", limits=both))
    assert granted(board.admit(NOON)) == ["a"]


def test_a_retry_stands_behind_one_who_waits_for_a_run_that_goes_on(board: Board) -> None:
    """That one ends by itself, and retries must not starve a run that needs much."""
    board.hold(key("x"), a_holding("x", limits=DB))
    board.hold(key("a"), a_holding("a"))
    enrol(board, a_demand("b", **URGENT), a_demand("a", **RETRY))
    assert granted(board.admit(NOON)) == []


@pytest.mark.parametrize(("leaves", "through"), [(False, ["c"]), (True, [])])
def test_a_retry_that_has_left_the_line_is_as_good_as_any_active_run(
    board: Board, leaves: bool, through: list[str]
) -> None:
    """Nobody is let through for its sake any more."""
    for name, holds in (("a", {"limits": DB}), ("x", {"pool": "cpu"}), ("c", {})):
        board.hold(key(name), a_holding(name, **holds))
    enrol(board, a_demand("b", **URGENT), a_demand("a", pools=("cpu",), counts=False), a_demand("c", **RETRY))
    if leaves:
        board.withdraw(key("a"))
    assert granted(board.admit(NOON)) == through


def test_a_retry_that_joins_others_lets_them_through_if_somebody_waits_for_it(board: Board) -> None:
    """It stands in line behind one that holds nothing, and that one stood behind who waits for it."""
    for name, holds in (("a", {"limits": DB}), ("c", {})):
        board.hold(key(name), a_holding(name, **holds))
    enrol(board, a_demand("b", **URGENT), a_demand("c", **RETRY))
    assert granted(board.admit(NOON)) == []
    enrol(board, a_demand("a", due=1, **RETRY))
    assert granted(board.admit(NOON)) == ["c"]

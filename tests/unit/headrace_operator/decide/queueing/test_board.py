"""Who may start: each rule of the board by itself."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from headrace.api.conditions import Reason
from headrace_operator.decide.quantities import amounts_of
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.terms import Admission, Grant, LimitTerms, PoolTerms, Rate
from headrace_operator.decide.snapshot import Blocked
from tests.unit.headrace_operator.decide.queueing.demands import (
    ETL,
    NOON,
    a_demand,
    a_holding,
    after,
    enrol,
    granted,
    key,
)


def a_board() -> Board:
    """One of each: a limit "db" of 3 slots, a pool "cpu" of 2 runs and 4 cores, a Deployment of 1 run."""
    board = Board()
    board.set_limit("db", LimitTerms(slots=3))
    board.set_limit("api", LimitTerms(rate=Rate(2, 10)))
    board.set_pool("cpu", PoolTerms(runs=2, resources=amounts_of({"cpu": 4})))
    board.set_pool("big", PoolTerms(runs=1))
    board.set_deployment(ETL, 1)
    return board


def reason_for(board: Board, name: str) -> Reason | None:
    blocked = board.explain(key(name))
    return None if blocked is None else blocked.reason


@pytest.mark.parametrize(
    ("wants", "reason"),
    [
        pytest.param({}, None, id="nothing is scarce for it"),
        pytest.param({"limits": (("db", 3),)}, None, id="as many slots as there are"),
        pytest.param({"limits": (("db", 4),)}, Reason.LIMIT_TOO_SMALL, id="more slots than the limit has"),
        pytest.param({"limits": (("nope", 1),)}, Reason.LIMIT_NOT_FOUND, id="a limit that is not there"),
        pytest.param({"rates": ("nope",)}, Reason.LIMIT_NOT_FOUND, id="a rate that is not there"),
        pytest.param({"limits": (("api", 99),)}, None, id="a limit that bounds the rate alone has any number of slots"),
        pytest.param({"rates": ("db",)}, None, id="a limit without a rate lets everybody through"),
        pytest.param({"pools": ("cpu",)}, None, id="a pool with room"),
        pytest.param({"pools": ()}, Reason.NO_POOL_FITS, id="no pool fits"),
        pytest.param({"pools": ("gone",)}, Reason.POOL_NOT_FOUND, id="its pool is gone"),
        pytest.param({"pools": ("gone", "cpu")}, None, id="one of its pools is gone"),
        pytest.param(
            {"pools": ("cpu",), "requests": amounts_of({"cpu": 5})},
            Reason.NO_POOL_FITS,
            id="it alone is more than the pool's capacity",
        ),
        pytest.param(
            {"pools": ("cpu",), "requests": amounts_of({"memory": "1Ti"})},
            None,
            id="capacity names no memory: no bound",
        ),
        pytest.param({"deployment": ETL}, None, id="a free slot of its deployment"),
        pytest.param({"deployment": key("other")}, None, id="a deployment without a limit"),
    ],
)
def test_a_run_starts_when_all_that_it_needs_is_there(wants: dict[str, Any], reason: Reason | None) -> None:
    """On a board where nobody holds anything."""
    board = a_board()
    board.enrol(a_demand("x", **wants))
    admission = board.admit(NOON)
    assert granted(admission) == ([] if reason else ["x"])
    assert reason_for(board, "x") is reason
    assert [name for name, _ in admission.blocked] == ([key("x")] if reason else [])


@pytest.mark.parametrize(
    ("held", "wants", "reason"),
    [
        pytest.param({"limits": (("db", 2),)}, {"limits": (("db", 1),)}, None, id="a slot is left"),
        pytest.param({"limits": (("db", 2),)}, {"limits": (("db", 2),)}, Reason.WAITING_FOR_LIMIT, id="one slot short"),
        pytest.param({"deployment": ETL}, {"deployment": ETL}, Reason.WAITING_FOR_SLOT, id="its deployment is full"),
        pytest.param({"pool": "big"}, {"pools": ("big",)}, Reason.WAITING_FOR_POOL, id="its pool is full by runs"),
        pytest.param(
            {"pool": "cpu", "requests": amounts_of({"cpu": "3500m"})},
            {"pools": ("cpu",), "requests": amounts_of({"cpu": 1})},
            Reason.WAITING_FOR_POOL,
            id="its pool is full by requests",
        ),
        pytest.param(
            {"pool": "cpu", "requests": amounts_of({"cpu": 3})},
            {"pools": ("cpu",), "requests": amounts_of({"cpu": 1})},
            None,
            id="what is left of the pool is just enough",
        ),
        pytest.param({"pool": "big"}, {"pools": ("big", "cpu")}, None, id="the second best pool has room"),
    ],
)
def test_a_run_waits_while_another_holds_what_it_needs(
    held: dict[str, Any], wants: dict[str, Any], reason: Reason | None
) -> None:
    """And starts once the other has ended."""
    board = a_board()
    board.hold(key("other"), a_holding("other", **held))
    board.enrol(a_demand("x", **wants))
    assert granted(board.admit(NOON)) == ([] if reason else ["x"])
    assert reason_for(board, "x") is reason
    board.release(key("other"))
    assert granted(board.admit(NOON)) == (["x"] if reason else [])


def test_the_best_pool_with_room_is_taken() -> None:
    """In the order of the demand."""
    board = a_board()
    enrol(board, *(a_demand(f"x{turn}", due=turn, pools=("big", "cpu")) for turn in range(3)))
    assert [grant.pool for grant in board.admit(NOON).grants] == ["big", "cpu", "cpu"]


def test_why_no_pool_fits_is_told_as_it_was_found() -> None:
    """Placement knows better than the board."""
    problem = Blocked(Reason.NO_POOL_FITS, "needs 4 GPUs and pool gpu has pods with up to 2; lower spec.resources")
    board = a_board()
    board.enrol(a_demand("x", pools=(), pools_problem=problem))
    assert board.admit(NOON).blocked == ((key("x"), problem),)


def test_a_quota_bounds_the_active_runs_of_a_namespace() -> None:
    """Retries count already and pass; other namespaces are not concerned."""
    board = a_board()
    board.set_namespace("team-a", quota=1)
    board.hold(key("other"), a_holding("other"))
    enrol(board, a_demand("x"), a_demand("retry", counts=False), a_demand("team-b/y"))
    assert sorted(granted(board.admit(NOON))) == ["retry", "y"]
    assert reason_for(board, "x") is Reason.WAITING_FOR_QUOTA
    board.set_namespace("team-a", quota=2)
    assert granted(board.admit(NOON)) == ["x"]


def test_an_open_circuit_says_so() -> None:
    """The board is told the effective limit, and the words."""
    board = a_board()
    why = Blocked(Reason.CIRCUIT_OPEN, "the deployment failed 5 times in a row; it is tried again later")
    board.set_deployment(ETL, 0, why=why)
    board.enrol(a_demand("x", deployment=ETL))
    assert board.admit(NOON).blocked == ((key("x"), why),)
    board.set_deployment(ETL, 0)
    board.admit(NOON)
    assert reason_for(board, "x") is Reason.WAITING_FOR_SLOT
    board.drop_deployment(ETL)
    assert granted(board.admit(NOON)) == ["x"]


def test_one_pass_never_gives_one_slot_twice() -> None:
    """A grant is charged at once."""
    board = a_board()
    enrol(board, *(a_demand(f"x{turn}", due=turn, limits=(("db", 2),)) for turn in range(3)))
    assert granted(board.admit(NOON)) == ["x0"]
    assert board.active_in_limit("db") == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param({"priority": 5, "due": 9}, {"due": 0}, id="the higher priority, however young"),
        pytest.param({"counts": False, "due": 9}, {"due": 0}, id="a retry before a new run"),
        pytest.param({"due": 0}, {"due": 1}, id="the older"),
        pytest.param({"due": 0}, {"due": 0}, id="the name, where all else is equal"),
        pytest.param({"priority": 1}, {"counts": False}, id="priority before what is held already"),
    ],
)
def test_the_order_is_priority_then_retries_then_age(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Whichever was enrolled first."""
    for order in (("a", "b"), ("b", "a")):
        board = a_board()
        wants = {"a": first, "b": second}
        enrol(board, *(a_demand(name, limits=(("db", 2),), **wants[name]) for name in order))
        assert granted(board.admit(NOON)) == ["a"]


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        pytest.param(
            {}, ["b1", "b2", "a1", "b3"], id="equal weights: the namespace that uses less, till both are equal"
        ),
        pytest.param({"team-a": 4.0}, ["b1", "a1", "a2", "a3"], id="a namespace that weighs four times as much"),
    ],
)
def test_namespaces_share_by_weight(weights: dict[str, float], order: list[str]) -> None:
    """team-a holds 2 of 10 slots and has the older runs."""
    board = Board()
    board.set_limit("db", LimitTerms(slots=10))
    for name, weight in weights.items():
        board.set_namespace(name, weight=weight)
    board.hold(key("old"), a_holding("old", limits=(("db", 2),)))
    for turn in (1, 2, 3):
        board.enrol(a_demand(f"a{turn}", due=turn, limits=(("db", 1),)))
        board.enrol(a_demand(f"team-b/b{turn}", due=10 + turn, limits=(("db", 1),)))
    assert granted(board.admit(NOON))[:4] == order


def test_a_share_is_the_largest_part_of_what_the_run_asks_for() -> None:
    """What a namespace uses of other things does not hold its run back."""
    board = a_board()
    board.hold(key("other"), a_holding("other", pool="cpu"))
    board.hold(key("team-b/other"), a_holding("team-b/other", limits=(("db", 1),)))
    enrol(board, a_demand("x", due=5, limits=(("db", 2),)), a_demand("team-b/y", limits=(("db", 2),)))
    assert granted(board.admit(NOON)) == ["x"]


def test_tasks_count_for_the_share_of_their_namespace() -> None:
    """They hold Leases."""
    board = a_board()
    board.set_leases("db", {"pod/team-a/p/uid/1": 1})
    enrol(board, a_demand("x", limits=(("db", 2),)), a_demand("team-b/y", due=5, limits=(("db", 2),)))
    assert granted(board.admit(NOON)) == ["y"]


def test_many_small_runs_do_not_starve_a_large_one() -> None:
    """What comes free gathers for the run that is first in line."""
    board = a_board()
    enrol(board, *(a_demand(f"s{turn}", limits=(("db", 1),)) for turn in range(3)))
    board.admit(NOON)
    for turn in range(3):
        board.hold(key(f"s{turn}"), a_holding(f"s{turn}", limits=(("db", 1),)))
    board.enrol(a_demand("large", due=1, limits=(("db", 3),)))
    for turn in range(3, 6):
        board.enrol(a_demand(f"s{turn}", due=2, limits=(("db", 1),)))
    let_in = []
    for turn in range(3):
        board.release(key(f"s{turn}"))
        let_in += granted(board.admit(NOON))
    assert let_in == ["large"]


def test_the_first_in_line_keeps_what_else_it_needs() -> None:
    """It is short of slots; the only place in its pool is not given away meanwhile."""
    board = a_board()
    board.hold(key("team-b/other"), a_holding("team-b/other", limits=(("db", 1),)))
    enrol(board, a_demand("large", limits=(("db", 3),), pools=("big",)), a_demand("x", due=1, pools=("big",)))
    assert granted(board.admit(NOON)) == []
    assert reason_for(board, "x") is Reason.WAITING_FOR_POOL
    board.release(key("team-b/other"))
    assert granted(board.admit(NOON)) == ["large"]


@pytest.mark.parametrize(
    "wants",
    [
        pytest.param({"limits": (("db", 1),), "deployment": ETL}, id="its deployment"),
        pytest.param({"limits": (("db", 1),), "rates": ("slow",)}, id="a rate"),
        pytest.param({"limits": (("db", 9),)}, id="what will never be"),
        pytest.param({"limits": (("db", 3), ("nope", 1))}, id="a limit that is not there"),
    ],
)
def test_who_waits_for_other_than_slots_and_pools_holds_nobody_back(wants: dict[str, Any]) -> None:
    """Slots stay open to those behind a run that waits for something of its own, for time, or in vain."""
    board = a_board()
    board.set_limit("slow", LimitTerms(rate=Rate(1, 3600)))
    board.set_starts("slow", (NOON,))
    board.hold(key("other"), a_holding("other", deployment=ETL))
    enrol(board, a_demand("blocked", priority=9, **wants), a_demand("x", limits=(("db", 3),)))
    assert granted(board.admit(after(1))) == ["x"]


def test_a_rate_lets_so_many_through_and_says_when_to_look_again() -> None:
    """Two in any ten seconds."""
    board = a_board()
    board.set_starts("api", (after(-4), after(-30)))
    enrol(board, *(a_demand(f"x{turn}", due=turn, rates=("api",)) for turn in range(4)))
    first = board.admit(NOON)
    assert granted(first) == ["x0"]
    assert first.look_again_at == after(6)
    assert reason_for(board, "x3") is Reason.WAITING_FOR_RATE
    board.set_starts("api", (after(-4), NOON))
    board.hold(key("x0"), a_holding("x0"))
    assert granted(board.admit(after(5.9))) == []
    second = board.admit(after(6))
    assert granted(second) == ["x1"]
    assert second.look_again_at == after(10)


@pytest.mark.parametrize("held_first", [False, True])
def test_a_granted_start_counts_until_it_is_stored(held_first: bool) -> None:
    """Once, in whichever order its run is held and its start stored."""
    board = a_board()
    enrol(board, *(a_demand(f"x{turn}", due=turn, rates=("api",)) for turn in range(4)))
    assert granted(board.admit(NOON)) == ["x0", "x1"]
    for held in (held_first, not held_first):
        if held:
            board.hold(key("x0"), a_holding("x0"))
        else:
            board.set_starts("api", (NOON,))
        assert granted(board.admit(after(1))) == []
    board.set_starts("api", (NOON, after(2)))
    assert board.admit(after(9)).look_again_at == after(10)
    assert granted(board.admit(after(10))) == ["x2"]


@pytest.mark.parametrize("held", [False, True])
def test_a_start_that_fell_through_counts_no_more(held: bool) -> None:
    """Its run may have been held as active already while its slots were being taken."""
    board = a_board()
    enrol(board, *(a_demand(f"x{turn}", due=turn, rates=("api",)) for turn in range(3)))
    board.admit(NOON)
    if held:
        board.hold(key("x0"), a_holding("x0"))
    board.forgo(key("x0"))
    board.release(key("x0"))
    assert granted(board.admit(NOON)) == ["x2"]


def test_of_two_starts_under_way_the_one_to_come_counts_though_the_other_run_is_over() -> None:
    """Short runs end before their neighbours have started."""
    board = a_board()
    enrol(board, *(a_demand(f"x{turn}", due=turn, rates=("api",)) for turn in range(3)))
    board.admit(NOON)
    board.hold(key("x0"), a_holding("x0"))
    board.set_starts("api", (NOON,))
    board.release(key("x0"))
    assert granted(board.admit(after(9))) == []
    assert granted(board.admit(after(10))) == ["x2"]


def test_each_attempt_is_a_start_of_its_own() -> None:
    """A retry that lacks nothing else is held as before; its start counts all the same, and only once."""
    board = a_board()
    for attempt in range(2):
        board.enrol(a_demand("x", rates=("api",), counts=False))
        assert granted(board.admit(after(attempt))) == ["x"]
        board.hold(key("x"), a_holding("x"))
        assert board.grant_of(key("x")) is None
        board.set_starts("api", tuple(after(start) for start in range(attempt + 1)))
    board.enrol(a_demand("y", rates=("api",)))
    assert board.admit(after(2)).look_again_at == after(10)


def test_a_start_that_was_never_stored_ends_with_its_run() -> None:
    """As when the rate was taken off the limit for a while."""
    board = a_board()
    enrol(board, a_demand("x", rates=("api",)), a_demand("y", rates=("api",)), a_demand("z", rates=("api",)))
    board.admit(NOON)
    board.hold(key("x"), a_holding("x"))
    assert granted(board.admit(after(60))) == []
    board.release(key("x"))
    assert granted(board.admit(after(60))) == ["z"]


def test_a_granted_start_that_is_not_made_yet_stays_within_the_window() -> None:
    """It may be made at any moment, however long ago it was granted."""
    board = a_board()
    enrol(board, *(a_demand(f"x{turn}", due=turn, rates=("api",)) for turn in range(3)))
    assert granted(board.admit(NOON)) == ["x0", "x1"]
    board.hold(key("team-b/y"), a_holding("team-b/y"))
    admission = board.admit(after(60))
    assert [run.name for run, _ in admission.blocked] == ["x2"]
    assert admission.look_again_at is None


def test_starts_under_several_rates_are_gathered() -> None:
    """Else a run that needs two rates would find one of them used up, each time the other opens."""
    board = a_board()
    board.set_limit("web", LimitTerms(rate=Rate(1, 60)))
    board.set_starts("web", (after(-30),))
    board.set_starts("api", (after(-5),))
    enrol(board, a_demand("both", rates=("api", "web")), a_demand("x", due=1, rates=("api",)))
    assert granted(board.admit(NOON)) == []
    assert granted(board.admit(after(30))) == ["both", "x"]


def test_leases_and_the_boards_own_word_count_once() -> None:
    """With the larger figure; what an ended run left in Leases still counts."""
    board = a_board()
    board.enrol(a_demand("x", limits=(("db", 2),)))
    board.admit(NOON)
    board.set_leases("db", {"run/team-a/x/uid-of-x": 1, "pod/team-b/p/uid/1": 1})
    assert board.holders_of("db") == {"pod/team-b/p/uid/1": 1, "run/team-a/x/uid-of-x": 2}
    board.hold(key("x"), a_holding("x", limits=(("db", 2),)))
    assert board.active_in_limit("db") == 3
    board.set_leases("db", {"run/team-a/x/uid-of-x": 2, "pod/team-b/p/uid/1": 0})
    board.release(key("x"))
    assert board.active_in_limit("db") == 2
    board.set_leases("db", {"run/team-a/x/uid-of-x": 0})
    assert board.active_in_limit("db") == 0


def test_leases_that_a_waiting_run_has_already_are_its_own() -> None:
    """An operator took them for it and died before it made the pod."""
    board = a_board()
    board.set_leases("db", {"run/team-a/x/uid-of-x": 2, "pod/team-b/p/uid/1": 1})
    enrol(board, a_demand("x", due=9, limits=(("db", 2),)), a_demand("older", limits=(("db", 2),)))
    assert granted(board.admit(NOON)) == ["x"]
    assert board.active_in_limit("db") == 3


def test_leases_may_be_told_after_the_demand() -> None:
    """And of a run of that name that is gone, they are somebody else's."""
    board = a_board()
    enrol(board, a_demand("x", due=9, limits=(("db", 2),)), a_demand("older", limits=(("db", 2),)))
    board.set_leases("db", {"run/team-a/x/uid-of-x": 2})
    assert granted(board.admit(NOON)) == ["x"]
    board.set_leases("db", {"run/team-a/x/uid-of-x": 0, "run/team-a/older/another-uid": 2})
    assert granted(board.admit(NOON)) == []


def test_a_run_that_has_all_its_leases_stands_behind_nobody() -> None:
    """Else one of higher priority would wait for its slot, and it for that one."""
    board = a_board()
    board.set_leases("db", {"run/team-a/x/uid-of-x": 1})
    enrol(board, a_demand("urgent", priority=9, limits=(("db", 3),)), a_demand("x", limits=(("db", 1),)))
    assert granted(board.admit(NOON)) == ["x"]


def test_leases_that_the_run_is_charged_with_are_not_counted_for_what_it_lacks() -> None:
    """It holds one slot and needs three more."""
    board = a_board()
    board.set_leases("db", {"run/team-a/x/uid-of-x": 1})
    board.enrol(a_demand("x", limits=(("db", 3),)))
    board.hold(key("x"), a_holding("x", limits=(("db", 1),)))
    assert granted(board.admit(NOON)) == []
    board.release(key("x"))
    assert granted(board.admit(NOON)) == ["x"]


@pytest.mark.parametrize("shrunk", [0, 1])
def test_after_a_shrink_nothing_is_granted_until_enough_has_ended(shrunk: int) -> None:
    """Nobody is sent away for a shrink."""
    board = a_board()
    board.hold(key("a"), a_holding("a", limits=(("db", 1),)))
    board.hold(key("b"), a_holding("b", limits=(("db", 1),)))
    board.set_limit("db", LimitTerms(slots=shrunk))
    board.enrol(a_demand("x", limits=(("db", 1),), preempts=True))
    board.release(key("a"))
    assert granted(board.admit(NOON)) == []
    board.release(key("b"))
    assert granted(board.admit(NOON)) == ["x"] * shrunk


def test_a_limit_that_is_made_anew_knows_its_holders() -> None:
    """Between, those who need it are told that it is not there."""
    board = a_board()
    board.hold(key("a"), a_holding("a", limits=(("db", 3),)))
    board.drop_limit("db")
    board.enrol(a_demand("x", limits=(("db", 1),)))
    board.admit(NOON)
    assert reason_for(board, "x") is Reason.LIMIT_NOT_FOUND
    board.set_limit("db", LimitTerms(slots=3))
    board.admit(NOON)
    assert reason_for(board, "x") is Reason.WAITING_FOR_LIMIT


def test_a_retry_holds_its_grant_beside_what_it_held() -> None:
    """It held slots and needs a pool; told of the same holding again, the grant stays."""
    board = a_board()
    kept = a_holding("x", limits=(("db", 3),))
    board.hold(key("x"), kept)
    board.enrol(a_demand("x", counts=False, pools=("big",)))
    assert board.admit(NOON).grants == (Grant(key("x"), "big"),)
    board.hold(key("x"), kept)
    assert board.grant_of(key("x")) == Grant(key("x"), "big")
    assert board.active_in_pool("big") == (1, ())
    board.hold(key("x"), a_holding("x", since=1, limits=(("db", 3),), pool="big"))
    assert board.grant_of(key("x")) is None
    assert (board.active_in_pool("big"), board.active_in_limit("db")) == ((1, ()), 3)
    assert board.active_in_namespace("team-a") == 1


def test_a_grant_that_fell_through_is_given_back_whole() -> None:
    """And the run that held something before holds it still."""
    board = a_board()
    board.hold(key("x"), a_holding("x", limits=(("db", 1),)))
    board.enrol(a_demand("x", counts=False, pools=("cpu",), requests=amounts_of({"cpu": 2})))
    board.admit(NOON)
    assert board.active_in_pool("cpu") == (1, (("cpu", Decimal(2)),))
    board.forgo(key("x"))
    assert board.active_in_pool("cpu") == (0, ())
    assert board.active_in_limit("db") == 1
    assert not board.is_waiting(key("x"))


def test_what_is_told_twice_counts_once() -> None:
    """Holdings, demands, releases, grants."""
    board = a_board()
    for _ in range(2):
        board.hold(key("a"), a_holding("a", limits=(("db", 1),), pool="cpu", deployment=ETL))
        board.enrol(a_demand("x", limits=(("db", 3),)))
        board.admit(NOON)
    assert (board.active_in_limit("db"), board.active_in_pool("cpu"), board.active_of(ETL)) == (1, (1, ()), 1)
    assert board.waiting_for_limit("db") == 1
    for _ in range(2):
        board.release(key("a"))
    assert granted(board.admit(NOON)) == ["x"]
    board.enrol(a_demand("x", limits=(("db", 3),)))
    assert not board.is_waiting(key("x"))
    assert (board.active_in_limit("db"), board.active_in_namespace("team-a")) == (3, 1)


def test_a_run_that_was_made_anew_does_not_inherit_the_grant() -> None:
    """Another uid is another run."""
    board = a_board()
    board.enrol(a_demand("x", limits=(("db", 3),)))
    board.admit(NOON)
    board.enrol(a_demand("x", uid="another", limits=(("db", 2),)))
    assert granted(board.admit(NOON)) == ["x"]
    assert board.holders_of("db") == {"run/team-a/x/another": 2}


def test_a_demand_that_changed_takes_the_place_of_the_old_one() -> None:
    """A run waits once."""
    board = a_board()
    board.hold(key("a"), a_holding("a", limits=(("db", 3),)))
    board.enrol(a_demand("x", limits=(("db", 1),)))
    board.admit(NOON)
    board.enrol(a_demand("x", pools=("cpu",)))
    assert (board.waiting_for_limit("db"), board.waiting_for_pool("cpu")) == (0, 1)
    assert granted(board.admit(NOON)) == ["x"]


def test_a_run_whose_age_changed_stands_where_it_belongs() -> None:
    """Further back, or further ahead."""
    board = a_board()
    enrol(board, a_demand("x", due=1, limits=(("db", 2),)), a_demand("y", due=2, limits=(("db", 2),)))
    board.enrol(a_demand("x", due=3, limits=(("db", 2),)))
    assert granted(board.admit(NOON)) == ["y"]


def test_many_who_leave_the_line_leave_no_trace() -> None:
    """Whoever is left is first."""
    board = a_board()
    enrol(board, *(a_demand(f"x{turn}", due=turn, limits=(("db", 1),)) for turn in range(100)))
    for turn in range(99):
        board.withdraw(key(f"x{turn}"))
    assert board.waiting_for_limit("db") == 1
    assert granted(board.admit(NOON)) == ["x99"]
    assert board.waiting_for_limit("db") == 0


def test_everybody_in_a_line_is_told_what_its_head_waits_for() -> None:
    """Before the first pass nothing is known."""
    board = a_board()
    board.hold(key("a"), a_holding("a", limits=(("db", 3),)))
    enrol(board, *(a_demand(f"x{turn}", due=turn, limits=(("db", 1),)) for turn in range(3)))
    assert board.explain(key("x2")) is None
    assert [name for name, _ in board.admit(NOON).blocked] == [key("x0")]
    assert board.explain(key("x2")) == Blocked(
        Reason.WAITING_FOR_LIMIT,
        'waits for a slot of ConcurrencyLimit "db"; kubectl get cl db -o yaml tells who holds them',
    )
    board.withdraw(key("x2"))
    assert board.explain(key("x2")) is None


def test_a_pass_costs_the_same_whatever_the_length_of_a_line() -> None:
    """Looked at per ended run: who goes, and who is next."""
    costs = []
    for queue in (10, 1000):
        board = a_board()
        enrol(board, *(a_demand(f"x{turn:04}", due=turn, limits=(("db", 1),)) for turn in range(queue)))
        board.admit(NOON)
        before = board.looked_at
        board.release(key("x0000"))
        assert granted(board.admit(NOON)) == ["x0003"]
        costs.append(board.looked_at - before)
    assert costs == [2, 2]


def test_an_idle_pass_looks_at_nobody() -> None:
    """Nothing was told, and no instant has come."""
    board = a_board()
    board.set_starts("api", (NOON, NOON))
    enrol(board, a_demand("x", rates=("api",)), a_demand("y", limits=(("db", 9),)))
    first = board.admit(NOON)
    before = board.looked_at
    assert board.admit(after(9)) == first
    assert board.looked_at == before
    assert board.admit(after(10)) == Admission(
        grants=(Grant(key("x"), None),), blocked=tuple(item for item in first.blocked if item[0] == key("y"))
    )


def test_who_joins_a_line_that_waits_causes_no_pass() -> None:
    """Nor do the thousands after it; who comes before its head does."""
    board = a_board()
    board.hold(key("a"), a_holding("a", limits=(("db", 1),)))
    board.enrol(a_demand("x", due=5, limits=(("db", 3),)))
    board.admit(NOON)
    before = board.looked_at
    board.enrol(a_demand("behind", due=6, limits=(("db", 3),)))
    assert (granted(board.admit(NOON)), board.looked_at) == ([], before)
    assert board.explain(key("behind")) == board.explain(key("x"))
    board.enrol(a_demand("ahead", due=4, limits=(("db", 3),)))
    assert [run.name for run, _ in board.admit(NOON).blocked] == ["ahead"]


def test_a_launch_that_goes_as_it_was_granted_causes_no_pass() -> None:
    """Its Lease, its pod and its beginning are told one by one: nothing is free for that, and nothing less."""
    board = a_board()
    enrol(board, *(a_demand(name, due=due, limits=(("db", 3),)) for due, name in enumerate("xy")))
    assert granted(board.admit(NOON)) == ["x"]
    before = board.looked_at
    board.set_leases("db", {"run/team-a/x/uid-of-x": 3})
    board.hold(key("x"), a_holding("x", limits=(("db", 3),)))
    board.hold(key("x"), a_holding("x", limits=(("db", 3),), since=7))
    assert not board.changed
    assert (granted(board.admit(NOON)), board.looked_at) == ([], before)
    board.release(key("x"))
    assert granted(board.admit(NOON)) == [], "its Lease is there yet"
    board.set_leases("db", {"run/team-a/x/uid-of-x": 0})
    assert granted(board.admit(NOON)) == ["y"]


def test_lines_that_wait_for_their_own_deployment_cost_nothing_until_it_has_a_slot() -> None:
    """Five hundred full deployments are not looked at for each run that ends elsewhere."""
    board = a_board()
    board.hold(key("other"), a_holding("other"))
    for number in range(500):
        deployment = key(f"d{number}")
        board.set_deployment(deployment, 1)
        board.hold(key(f"active{number}"), a_holding(f"active{number}", deployment=deployment))
        board.enrol(a_demand(f"x{number}", deployment=deployment))
    board.admit(NOON)
    before = board.looked_at
    board.release(key("other"))
    assert granted(board.admit(NOON)) == []
    assert board.looked_at == before
    board.release(key("active7"))
    assert granted(board.admit(NOON)) == ["x7"]
    assert board.looked_at == before + 1


def test_a_weight_of_nothing_is_refused() -> None:
    """A namespace with it would never come first."""
    with pytest.raises(ValueError, match="namespace team-a: weight 0 is not above zero"):
        Board().set_namespace("team-a", weight=0)


def test_a_namespace_that_is_gone_has_no_quota() -> None:
    """Nor a weight."""
    board = a_board()
    board.set_namespace("team-a", quota=0, weight=2)
    board.enrol(a_demand("x"))
    assert granted(board.admit(NOON)) == []
    board.drop_namespace("team-a")
    assert granted(board.admit(NOON)) == ["x"]


def test_a_pool_that_is_gone_takes_nobody() -> None:
    """Made anew with another capacity it takes as many as that, those that it has counted."""
    board = a_board()
    board.hold(key("a"), a_holding("a", pool="cpu", requests=amounts_of({"cpu": 4})))
    board.drop_pool("cpu")
    board.enrol(a_demand("x", pools=("cpu",), requests=amounts_of({"cpu": 4})))
    board.admit(NOON)
    assert reason_for(board, "x") is Reason.POOL_NOT_FOUND
    board.set_pool("cpu", PoolTerms(resources=amounts_of({"cpu": 7})))
    board.admit(NOON)
    assert reason_for(board, "x") is Reason.WAITING_FOR_POOL
    board.set_pool("cpu", PoolTerms())
    assert granted(board.admit(NOON)) == ["x"]

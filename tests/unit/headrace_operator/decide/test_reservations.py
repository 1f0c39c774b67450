"""Shards that share a pool: never more than its capacity, whoever dies when, and everybody gets a turn."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_operator.decide.reservations import RUNS, Appetite, Booking, Ledger, held_throughout, settled

SHARDS = ("0", "1", "2")
ALL = frozenset(SHARDS)
NAUGHT: dict[str, Decimal] = {}


def extent(runs: int, cpu: int = 0) -> dict[str, Decimal]:
    return {unit: Decimal(amount) for unit, amount in ((RUNS, runs), ("cpu", cpu)) if amount}


def appetite(used: int = 0, wanted: int = 0) -> Appetite:
    return Appetite(extent(used), extent(wanted), extent(min(wanted, 1)))


def ledger(**bookings: Booking) -> Ledger:
    """Each has told what it uses, be it nothing."""
    told = {name: bookings.get(f"s{name}", Booking()) for name in SHARDS}
    none = {RUNS: Decimal(0), "cpu": Decimal(0)}
    return Ledger({name: replace(booking, room={**none, **booking.room}) for name, booking in told.items()}, ALL)


def test_what_is_wanted_is_booked_in_one_go() -> None:
    """One write for many launches."""
    assert settled(extent(10), ledger(), "0", appetite=appetite(1, 6), now_ms=5) == Booking(extent(7))


def test_what_is_not_used_stays_booked_while_nobody_wants_it() -> None:
    """So an idle shard writes nothing."""
    held = ledger(s0=Booking(extent(7)))
    assert settled(extent(10), held, "0", appetite=appetite(2, 0), now_ms=5) == Booking(extent(7))


def test_what_is_not_used_is_given_back_when_another_wants_it() -> None:
    held = ledger(s0=Booking(extent(7)), s1=Booking(extent(3), wants=True))
    assert settled(extent(10), held, "0", appetite=appetite(2, 0), now_ms=5) == Booking(extent(2))


def test_nobody_books_beyond_the_capacity() -> None:
    held = ledger(s1=Booking(extent(8)))
    assert settled(extent(10), held, "0", appetite=appetite(1, 5), now_ms=5) == Booking(extent(2), wants=True)


@pytest.mark.parametrize(
    ("mine", "wanted", "held"),
    [
        pytest.param(Booking(extent(3)), Booking(extent(5)), extent(3), id="what is not booked yet is not used"),
        pytest.param(Booking(extent(5)), Booking(extent(3)), extent(3), id="what is given back is not used any more"),
        pytest.param(Booking(extent(5)), Booking(extent(3, 2)), extent(3), id="a unit that was not booked is not used"),
        pytest.param(None, Booking(extent(3)), {}, id="who has booked nothing uses nothing"),
    ],
)
def test_while_a_booking_is_changed_what_both_hold_is_used(mine, wanted, held) -> None:
    """The answer to the write may be lost."""
    assert held_throughout(mine, wanted) == held


@pytest.mark.parametrize(
    ("capacity", "leaves"),
    [
        pytest.param(extent(10, 10), True, id="of all units"),
        pytest.param(extent(7, 10), False, id="of one unit there is nothing left"),
        pytest.param(extent(6), False, id="more is booked than there is"),
    ],
)
def test_something_is_left_where_each_unit_has_some(capacity, leaves) -> None:
    held = ledger(s0=Booking(extent(4, 1)), s1=Booking(extent(3, 1)))
    assert held.leaves(capacity) is leaves


def test_what_runs_is_booked_though_the_capacity_was_lowered() -> None:
    """It is the truth, and the others must know it."""
    assert settled(extent(2), ledger(), "0", appetite=appetite(5, 5), now_ms=5) == Booking(extent(5), wants=True)


def test_nothing_more_is_booked_until_every_shard_has_told_what_it_uses() -> None:
    """Pods of another shard may run that nobody has booked."""
    partly = Ledger({"0": Booking(), "1": Booking()}, ALL)
    assert settled(extent(10), partly, "0", appetite=appetite(1, 5), now_ms=5).room == extent(1)


def test_bookings_of_another_number_of_shards_go_when_all_new_ones_are_there() -> None:
    old = Ledger({"old": Booking(extent(9)), "0": Booking(), "1": Booking()}, ALL)
    assert "old" in old.with_mine("0", Booking()).bookings
    assert old.with_mine("2", Booking()).bookings.keys() == ALL


def test_who_has_nothing_comes_before_who_has_something() -> None:
    """The others book no more than they use until it has its turn."""
    held = ledger(s0=Booking(extent(4)), s1=Booking(wants=True, hungry_since_ms=1))
    assert settled(extent(4), held, "0", appetite=appetite(3, 9), now_ms=5).room == extent(3)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_pods_never_exceed_the_capacity_whatever_is_lost_and_whoever_dies(data: st.DataObject) -> None:
    """
    Shards launch, end, book; a booking may be refused as another one was quicker, its answer lost, its writer killed before or after.

    The ledger is what the API has. `allowed` is what a shard's board goes by: the least of what was booked and what is meant to be.
    """
    capacity = extent(data.draw(st.integers(1, 6)))
    limit = int(capacity[RUNS])
    stored = Ledger({}, ALL)
    running, waiting, allowed = dict.fromkeys(SHARDS, 0), dict.fromkeys(SHARDS, 5), dict.fromkeys(SHARDS, 0)
    read: dict[str, Ledger] = dict.fromkeys(SHARDS, stored)
    for now_ms in range(1, data.draw(st.integers(1, 60))):
        me = data.draw(st.sampled_from(SHARDS))
        match data.draw(st.sampled_from(["read", "book", "book", "launch", "launch", "end", "dies"])):
            case "read":
                read[me] = stored
                allowed[me] = min(allowed[me], int(stored.bookings.get(me, Booking()).room.get(RUNS, 0)))
            case "book":
                booking = settled(capacity, read[me], me, appetite=appetite(running[me], waiting[me]), now_ms=now_ms)
                runs = int(booking.room.get(RUNS, 0))
                allowed[me] = min(allowed[me], runs)
                if read[me] is not stored:  # refused: the version is another one
                    continue
                stored = stored.with_mine(me, booking)
                if data.draw(st.booleans()):  # else the answer was lost
                    read[me], allowed[me] = stored, runs
            case "launch" if running[me] < allowed[me] and waiting[me]:
                running[me], waiting[me] = running[me] + 1, waiting[me] - 1
            case "end" if running[me]:
                running[me] -= 1
            case "dies":
                allowed[me], read[me] = 0, Ledger({}, ALL)
        assert sum(running.values()) <= limit
        assert all(running[name] <= stored.bookings.get(name, Booking()).room.get(RUNS, 0) for name in SHARDS)


@pytest.mark.parametrize("capacity", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_every_run_of_every_shard_gets_its_turn(capacity: int, seed: int) -> None:
    """However small the pool: nobody waits for ever while the others go round."""
    stored = ledger()
    running, waiting = dict.fromkeys(SHARDS, 0), dict.fromkeys(SHARDS, 6)
    dice = random.Random(seed)
    for now_ms in range(1, 500):
        me = dice.choice(SHARDS)
        running[me] = max(0, running[me] - 1)
        stored = stored.with_mine(
            me, settled(extent(capacity), stored, me, appetite=appetite(running[me], waiting[me]), now_ms=now_ms)
        )
        room = int(stored.bookings[me].room.get(RUNS, 0))
        begun = min(waiting[me], room - running[me])
        running[me], waiting[me] = running[me] + begun, waiting[me] - begun
        assert sum(running.values()) <= capacity
        if not any(waiting.values()):
            return
    raise AssertionError(waiting)


def test_a_run_that_needs_most_of_the_pool_gets_it() -> None:
    """Others go on with small ones until it is hungry, then let it have what comes free."""
    held = ledger(s0=Booking({RUNS: Decimal(4), "cpu": Decimal(4)}), s1=Booking(wants=True, hungry_since_ms=1))
    capacity = {RUNS: Decimal(8), "cpu": Decimal(4)}
    small = Appetite({RUNS: Decimal(1), "cpu": Decimal(1)}, {RUNS: Decimal(9), "cpu": Decimal(9)}, extent(1, 1))
    held = held.with_mine("0", settled(capacity, held, "0", appetite=small, now_ms=5))
    large = Appetite(NAUGHT, extent(1, 3), extent(1, 3))
    assert settled(capacity, held, "1", appetite=large, now_ms=6).room == extent(1, 3)


def test_a_unit_that_the_pool_has_only_now_a_bound_in_is_not_booked_until_all_have_told() -> None:
    """Pods of other shards use some of it already, and nobody has counted them."""
    told = Booking({RUNS: Decimal(3)})
    held = Ledger(dict.fromkeys(SHARDS, told), ALL)
    capacity = {RUNS: Decimal(20), "cpu": Decimal(4)}
    eager = Appetite({RUNS: Decimal(1), "cpu": Decimal(1)}, {RUNS: Decimal(3), "cpu": Decimal(3)}, extent(1, 1))
    assert settled(capacity, held, "0", appetite=eager, now_ms=5).room == extent(1, 1)
    for name, cpu in (("1", 3), ("2", 0)):
        uses = Appetite({RUNS: Decimal(3), "cpu": Decimal(cpu)}, NAUGHT, NAUGHT)
        held = held.with_mine(name, settled(capacity, held, name, appetite=uses, now_ms=5))
    held = held.with_mine("0", settled(capacity, held, "0", appetite=eager, now_ms=6))
    assert settled(capacity, held, "0", appetite=eager, now_ms=7).room["cpu"] == 1

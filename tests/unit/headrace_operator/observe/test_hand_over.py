"""Slots go from a run that has ended to one that waits, unless somebody else might be waiting for them."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.terms import LimitTerms
from headrace_operator.observe.hand_over import FREED_EVERY_S, OFFER_LASTS_S, HandOver
from headrace_operator.observe.slots import Slots
from tests.unit.headrace_operator.decide.queueing.demands import a_demand, enrol
from tests.unit.headrace_operator.leases import lease, run


class House:
    """
    A limit of three slots, each held by a run.

    Args:
        waiting: Runs that wait for it.
    """

    def __init__(self, *, waiting: int = 3, is_alone: bool = True) -> None:
        self.now_s = 100.0
        self.slots = Slots()
        for index in range(3):
            self.slots.seen(lease(index=index, holder=run(f"etl-{index}")))
        self.board = Board()
        self.board.set_limit("db", LimitTerms(3))
        enrol(self.board, *(a_demand(f"waits-{number}", limits=(("db", 1),)) for number in range(waiting)))
        self.hand_over = HandOver(self.board, self.slots, is_alone=is_alone, monotonic=lambda: self.now_s)

    def ends(self, index: int) -> bool:
        """A run is over. Returns whether its slot is offered."""
        (held,) = self.slots.held_by(run(f"etl-{index}"))
        return self.hand_over.offer(held)


def test_of_a_busy_limit_one_slot_a_second_is_freed() -> None:
    """For tasks, which take free slots without asking anybody."""
    house = House()

    assert [house.ends(index) for index in range(3)] == [False, True, True]
    assert house.slots.offered("db") == 2


def test_a_slot_that_comes_late_is_freed() -> None:
    """A limit whose runs last long is not busy: each of its slots may be a task's."""
    house = House()
    found = []
    for index in range(3):
        found.append(house.ends(index))
        house.now_s += FREED_EVERY_S

    assert found == [False, False, False]


@pytest.mark.parametrize(
    ("around", "offered"),
    [
        pytest.param({"waiting": 0}, [False, False, False], id="nobody waits"),
        pytest.param({"waiting": 1}, [False, True, False], id="more end than wait"),
        pytest.param({"is_alone": False}, [False, False, False], id="another shard's runs may wait"),
    ],
)
def test_no_slot_is_offered_to_nobody(around: dict[str, Any], offered: list[bool]) -> None:
    house = House(**around)
    assert [house.ends(index) for index in range(3)] == offered


def test_an_offer_that_nobody_takes_ends() -> None:
    """The limit's reconcile asks so long for it as there is one; then its Lease counts again."""
    house = House()
    for index in range(2):
        house.ends(index)
    assert house.hand_over.end_offers("db") == OFFER_LASTS_S
    assert run("etl-1") not in house.slots.holders("db")

    house.now_s += OFFER_LASTS_S
    assert house.hand_over.end_offers("db") is None
    assert house.slots.holders("db") == {run(f"etl-{index}"): 1 for index in range(3)}


def test_a_limit_that_is_gone_is_forgotten() -> None:
    """One of that name that is made anew begins as a new one."""
    house = House()
    house.ends(0)
    house.hand_over.forget("db")

    assert not house.ends(1)

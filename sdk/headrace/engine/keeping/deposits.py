"""The result of one task run, from the question whether it is there to the decision that it is stored."""

from __future__ import annotations

from typing import Any, Protocol

from headrace.engine.scope import TaskRun
from headrace.engine.ways import Way
from headrace.states import Succeeded


class Place(Protocol):
    """Where the result of one task run lies. Nothing that goes wrong with the storage is raised: it is told."""

    async def found(self, way: Way) -> Succeeded[Any] | None:
        """The state of a run whose result is there already; it may wait for another run that computes it."""

    def enter(self) -> None:
        """The run begins, in this context: what is called inside must not wait for it."""

    def leave(self) -> None:
        """The run is over, in the context in which it began."""

    def store(self, value: Any) -> None:
        """Puts the result there. It may wait for the storage."""

    def drop(self) -> None:
        """Says that none comes. It waits for nothing."""


class Deposit:
    """What becomes of a task's result: stored once it is handed in, or dropped; one of both, once."""

    __slots__ = ("_handed_in", "_place", "run", "value")

    def __init__(self, run: TaskRun, place: Place) -> None:
        self.run = run
        self.value: Any = None
        self._place = place
        self._handed_in = False

    async def found(self, way: Way) -> Succeeded[Any] | None:
        """As of Place."""
        state = await self._place.found(way)
        if state is None:
            self._place.enter()
        return state

    async def take(self, value: Any, way: Way) -> None:
        """Takes the result that the task has returned; it is stored when this ends, unless a decision is due later."""
        self.value, self._handed_in = value, True
        await way.off_loop(hand_in, self)

    def store(self) -> None:
        """Stores the result."""
        self._place.store(self.value)

    def drop(self) -> None:
        """Stores nothing: another run may compute it."""
        self._place.drop()

    def let_go(self) -> None:
        """The run is over: drops the result, if the task has not returned one."""
        self._place.leave()
        if not self._handed_in:
            self._place.drop()


def hand_in(deposit: Deposit) -> None:
    """Decides about a result that is there: it is stored now. Nowhere else is one stored."""
    deposit.store()

"""The result of one task run, from the question whether it is there to the decision that it is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from headrace.engine.scope import TaskRun
from headrace.engine.transacting.current import TRANSACTION
from headrace.engine.ways import Way
from headrace.states import Succeeded

if TYPE_CHECKING:
    from contextvars import Token

    from headrace.engine.transacting.scopes import Transaction


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

    def stage(self, value: Any, under: Mapping[str, str]) -> None:
        """As store(); but it counts only once the commit record is there that `under` names, and its part in it."""

    def publish(self) -> None:
        """What was staged is about to be committed. It may wait for the storage."""

    def withdraw(self) -> None:
        """What was staged is rolled back. It may wait for the storage."""

    def give_back(self) -> None:
        """The block in which it was asked for is rolled back: the next such call is as if there had been none."""

    def drop(self) -> None:
        """Says that none comes. It waits for nothing."""


class Nowhere:
    """The Place of a result that is not kept."""

    async def found(self, way: Way) -> None:
        """As promised by Place."""

    def enter(self) -> None:
        """As promised by Place."""

    def leave(self) -> None:
        """As promised by Place."""

    def store(self, value: Any) -> None:
        """As promised by Place."""

    def stage(self, value: Any, under: Mapping[str, str]) -> None:
        """As promised by Place."""

    def publish(self) -> None:
        """As promised by Place."""

    def withdraw(self) -> None:
        """As promised by Place."""

    def give_back(self) -> None:
        """As promised by Place."""

    def drop(self) -> None:
        """As promised by Place."""


NOWHERE: Final = Nowhere()


class Deposit:
    """
    What becomes of a task's result: stored once it is handed in, or dropped; one of both, once.

    Args:
        transaction: That of the task. None: neither a block is around it, nor has it hooks.
    """

    __slots__ = ("_handed_in", "_place", "_token", "run", "transaction", "value")

    def __init__(self, run: TaskRun, place: Place, transaction: Transaction | None = None) -> None:
        self.run = run
        self.transaction = transaction
        self.value: Any = None
        self._place = place
        self._handed_in = False
        self._token: Token[Transaction | None] | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the result has a place."""
        return self._place is not NOWHERE

    async def found(self, way: Way) -> Succeeded[Any] | None:
        """As promised by Place; a block around the task knows of this deposit from now on."""
        block = self.transaction.block if self.transaction else None
        if block is not None:
            block.begun.append(self)
        state = await self._place.found(way)
        if state is None:
            self._place.enter()
            if self.transaction is not None:
                self._token = TRANSACTION.set(self.transaction)
        return state

    async def take(self, value: Any, way: Way) -> None:
        """Takes the result that the task has returned; it is stored when this ends, unless a decision is due later."""
        self.value, self._handed_in = value, True
        await way.off_loop(hand_in, self)
        if self.transaction is not None and self.transaction.block is None:
            from headrace.engine.transacting.steps import Step  # noqa: PLC0415 - few tasks have such hooks

            await Step(0, self).commit(way)

    def store(self) -> None:
        """Stores the result."""
        self._place.store(self.value)

    def stage(self, under: Mapping[str, str]) -> None:
        """As store(), for a block that is committed later."""
        self._place.stage(self.value, under)

    def publish(self) -> None:
        """Its block is about to be committed."""
        self._place.publish()

    def withdraw(self) -> None:
        """Its block was rolled back."""
        self._place.withdraw()

    def give_back(self) -> None:
        """As promised by Place."""
        self._place.give_back()

    def drop(self) -> None:
        """Stores nothing: another run may compute it."""
        self._place.drop()

    def let_go(self) -> None:
        """The run is over: drops the result, if the task has not returned one."""
        if self._token is not None:
            TRANSACTION.reset(self._token)
            self._token = None
        self._place.leave()
        if not self._handed_in:
            self._place.drop()


def hand_in(deposit: Deposit) -> None:
    """Decides about a result that is there: it is stored now, or when its transaction is committed. Nowhere else is one stored."""
    block = deposit.transaction.block if deposit.transaction else None
    if block is None:
        deposit.store()
    else:
        block.stage(deposit)

"""
The Transaction as authors see it.

    Pending ──▶ Active ──▶ Staged ──▶ Committed       Staged: its block has ended well, inside another one
                   └──────────┴─────▶ RolledBack
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from headrace.errors import UsageError, shown

if TYPE_CHECKING:
    from headrace.engine.futures import TaskFuture
    from headrace.engine.mapping import Mapped
    from headrace.engine.transacting.blocks import Block

Noted = Callable[[str, str, Any], None]
"""Called with the id of a transaction, the name of a value, and the value."""
_MISSING: Final = object()


class Phase(StrEnum):
    """Where a transaction is."""

    PENDING = "Pending"
    ACTIVE = "Active"
    STAGED = "Staged"
    COMMITTED = "Committed"
    ROLLED_BACK = "RolledBack"


OPEN: Final = (Phase.PENDING, Phase.ACTIVE)


class Transaction:
    """
    What `with transaction() as txn` gives, and what hooks are called with: there it is that of the task itself.

    `key` is what its author gave it, or None; `name` is for people; `parent` is the transaction around it, or None.
    """

    __slots__ = ("_note", "_values", "block", "id", "key", "name", "outputs", "parent", "phase", "was_committed")

    def __init__(
        self,
        name: str,
        parent: Transaction | None = None,
        *,
        key: str | None = None,
        id: str = "",  # noqa: A002 - as the field
        block: Block | None = None,
        note: Noted | None = None,
    ) -> None:
        self.name = name
        self.parent = parent
        self.key = key
        self.id = id
        self.block = block
        """The block that its results are staged in. None: it is that of a task that no block is around."""
        self.phase = Phase.PENDING
        self.was_committed = False
        """Whether a block with its key was committed before."""
        self.outputs: list[tuple[str, str]] = []
        """Objects that would stand for the task in a later attempt, as URL of a storage and key; rolling back deletes them."""
        self._note = note
        self._values: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<transaction {self.name} {self.phase}>"

    def set(self, name: str, value: Any) -> None:
        """
        Keeps a value for hooks, and for tasks and transactions inside of this one.

        With a results URL it is stored as it is now, for the case that another process has to roll back.
        Raises: UsageError: the transaction is over; the name is no text.
        """
        if not isinstance(name, str) or not name:
            raise UsageError(
                f'transaction {self.name}: set() takes a name, such as set("path", …), and got {shown(name)}'
            )
        if self.phase not in OPEN:
            raise UsageError(f'transaction {self.name} is over ({self.phase}): set("{name}", …) belongs into its block')
        self._values[name] = value
        if self._note is not None:
            self._note(self.id, name, value)

    def get(self, name: str, default: Any = _MISSING) -> Any:
        """
        The value of that name, of this transaction or the nearest one around it that has one.

        Raises: UsageError: none has, and there is no default.
        """
        scope: Transaction | None = self
        while scope is not None:
            if name in scope._values:  # noqa: SLF001 - of the same class
                return scope._values[name]  # noqa: SLF001 - as above
            scope = scope.parent
        if default is _MISSING:
            raise UsageError(
                f'transaction {self.name}: no value "{shown(name)[1:-1]}" was set; there are: {self._known()}'
            )
        return default

    def is_active(self) -> bool:
        """Whether its block, or its task, is under way."""
        return self.phase is Phase.ACTIVE

    def is_pending(self) -> bool:
        """Whether it has not begun."""
        return self.phase is Phase.PENDING

    def is_staged(self) -> bool:
        """Whether it has ended well, inside of a transaction that has not ended."""
        return self.phase is Phase.STAGED

    def is_committed(self) -> bool:
        """Whether it is committed; in a block with a key, whether one with this key was before."""
        return self.was_committed or self.phase is Phase.COMMITTED

    def is_rolled_back(self) -> bool:
        """Whether it was rolled back."""
        return self.phase is Phase.ROLLED_BACK

    def joined(self, future: TaskFuture[Any]) -> TaskFuture[Any]:
        """The future; the block that this belongs to waits for it."""
        if self.block is not None:
            self.block.submitted.append(future)
        return future

    def joined_map(self, mapped: Mapped[Any]) -> Mapped[Any]:
        """As joined(), for inputs that are taken little by little."""
        if self.block is not None:
            self.block.mapped.append(mapped)
        return mapped

    def chain(self) -> list[str]:
        """The ids of the transactions around it, the outermost first, and its own."""
        return [*(self.parent.chain() if self.parent else ()), self.id]

    def restore(self, name: str, value: Any) -> None:
        """Has a value that was set in another process."""
        self._values[name] = value

    def _known(self) -> str:
        names = {*self._values, *(self.parent._values if self.parent else ())}  # noqa: SLF001 - of the same class
        return ", ".join(sorted(names)) or "none"


def task_transaction(name: str, around: Transaction | None) -> Transaction:
    """That of a task run, which begins, in the transaction that is around it."""
    block = around.block if around else None
    own = f"{block.token}/{name}" if block else name
    made = Transaction(name, around, id=own, block=block, note=block.noted if block else None)
    made.phase = Phase.ACTIVE
    return made

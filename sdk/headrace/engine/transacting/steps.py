"""What a task leaves that has succeeded inside a block: its result, and the hooks that are owed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headrace.engine.session import current_session
from headrace.engine.transacting.calling import called, tell
from headrace.engine.transacting.known import task_key
from headrace.engine.transacting.scopes import Phase
from headrace.engine.transitions import told
from headrace.engine.ways import Way
from headrace.results import open_storage
from headrace.results.places import with_password_of

if TYPE_CHECKING:
    from headrace.engine.keeping.deposits import Deposit
    from headrace.engine.scope import Run
    from headrace.engine.transacting.scopes import Transaction


@dataclass(slots=True)
class Step:
    """
    One task run.

    Args:
        number: Of all steps of the outermost block, in the order in which they succeeded.
        entry: Key of its entry in the journal. Empty: it has none.
    """

    number: int
    deposit: Deposit
    entry: str = ""

    @property
    def transaction(self) -> Transaction:
        """That of the task."""
        transaction = self.deposit.transaction
        assert transaction is not None
        return transaction

    @property
    def owes(self) -> bool:
        """Whether something is to be done when the block is committed or rolled back, by whichever process."""
        hooks = self.deposit.run.description.hooks
        return bool(hooks.on_commit or hooks.on_rollback or self.transaction.outputs)

    def facts(self, part: str) -> Mapping[str, Any]:
        """What the journal says of it."""
        run, transaction = self.deposit.run, self.transaction
        return {
            "task_run": run.name,
            "has_hooks": bool(run.description.hooks.on_commit or run.description.hooks.on_rollback),
            "task": task_key(run.description),
            "chain": transaction.chain(),
            "part": part,
            "outputs": [list(output) for output in transaction.outputs],
        }

    async def commit(self, way: Way) -> None:
        """Its block is committed: calls the hooks."""
        run = self.deposit.run
        self.transaction.phase = Phase.COMMITTED
        if run.description.hooks.on_commit:
            await called(run.description.hooks.on_commit, self.transaction, run, way)

    async def roll_back(self, way: Way) -> None:
        """Calls the hooks, and takes the result away."""
        run = self.deposit.run
        self.transaction.phase = Phase.ROLLED_BACK
        if run.description.hooks.on_rollback:
            await called(run.description.hooks.on_rollback, self.transaction, run, way)
        await way.off_loop(self._withdraw)

    def _withdraw(self) -> None:
        self.deposit.withdraw()
        forget_outputs(self.deposit.run, self.transaction.outputs)


def forget_outputs(run: Run, outputs: list[tuple[str, str]]) -> None:
    """Deletes what would stand for a task in a later attempt; what cannot be deleted is told."""
    for folder, key in outputs:
        try:
            session = current_session()
            (session.open_storage or open_storage)(with_password_of(session.results_url, folder)).delete(key)
        except Exception as error:  # noqa: BLE001 - storages fail in many ways
            message = f'the result "{key}" of a task that was rolled back stays, and may be taken again: {told(error)}'
            tell(run, "transaction_not_recorded", message)

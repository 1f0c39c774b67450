"""
`with transaction():`, as authors write it: what tasks inside have done counts together, or is rolled back together.

docs/transactions.md tells the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Coroutine
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from headrace.engine.transacting.scopes import Transaction
from headrace.errors import UsageError, shown
from headrace.limits.blocks import refuse_coroutine

if TYPE_CHECKING:
    from headrace.engine.scope import FlowRun
    from headrace.engine.transacting.blocks import Block
    from headrace.engine.ways import Way

__all__ = ["Transaction", "get_transaction", "transaction"]

T = TypeVar("T")


def transaction(key: str | None = None) -> TransactionBlock:
    """
    A block of a flow whose tasks count together: write it in a `with` or `async with` statement.

    When it ends, results of its tasks are committed at once. An exception that leaves it calls the hooks on rollback of the
    tasks that have succeeded, the newest first, and goes on.

    Args:
        key: What is to be done once, by whichever run of the Flow: `txn.is_committed()` tells whether it was. None: nothing.
    Raises: UsageError: at once, or at the start of the block; ResultsError: at its start, where the storage cannot be read.
    """
    if key is not None and (not isinstance(key, str) or not key.strip()):
        raise UsageError(
            f'transaction: key is {shown(key)}, expected some text, such as transaction(key="load-2026-01-01")'
        )
    return TransactionBlock(key)


def get_transaction() -> Transaction | None:
    """
    The innermost transaction around the running code; in a task inside of one, that of the task.

    Returns: None outside of transactions, and in another process than the flow's.
    """
    from headrace.engine.transacting.current import TRANSACTION  # noqa: PLC0415 - as the rest of the engine

    return TRANSACTION.get()


class TransactionBlock:
    """What `transaction()` returns; write it in the `with` statement. `as txn` gives a Transaction."""

    def __init__(self, key: str | None) -> None:
        self._key = key
        self._block: Block | None = None

    def __enter__(self) -> Transaction:
        from headrace.engine.ways import BLOCKING  # noqa: PLC0415 - the engine is loaded by the first block

        refuse_coroutine(inspect.currentframe(), "async with transaction(…)")
        return _to_end(self._entered(BLOCKING))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from headrace.engine.ways import BLOCKING  # noqa: PLC0415 - as above

        assert self._block is not None
        _to_end(self._block.leave(error, BLOCKING))

    async def __aenter__(self) -> Transaction:
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        return await self._entered(ON_LOOP)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        assert self._block is not None
        await self._block.leave(error, ON_LOOP)

    async def _entered(self, way: Way) -> Transaction:
        from headrace.engine.transacting.blocks import Block  # noqa: PLC0415 - as above
        from headrace.engine.transacting.current import TRANSACTION  # noqa: PLC0415 - as above
        from headrace.engine.ways import ON_LOOP  # noqa: PLC0415 - as above

        if self._block is not None:
            raise UsageError("this transaction() was used already; write transaction(…) in each `with` statement")
        flow_run, around = _flow_run(), TRANSACTION.get()
        if flow_run.description.is_async and way is not ON_LOOP:
            raise UsageError(
                f'flow "{flow_run.description.name}" is an `async def`: write `async with transaction(…)`, also in what it calls'
            )
        self._block = Block(flow_run, self._key, around.block if around else None)
        await self._block.enter(way)
        return self._block.transaction


def _flow_run() -> FlowRun:
    """Raises: UsageError: the running code is not that of a flow."""
    from headrace.engine.scope import CURRENT, FlowRun  # noqa: PLC0415 - as above

    run = CURRENT.get()
    if isinstance(run, FlowRun):
        return run
    if run is None:
        raise UsageError("transaction() belongs into a flow; write it in a function below @flow, and call that")
    raise UsageError(
        f'transaction() belongs into a flow; in task "{run.description.name}" open nothing: each task is a transaction by '
        "itself, and its hooks are called with that"
    )


def _to_end(work: Coroutine[Any, Any, T]) -> T:
    from headrace.engine.ways import run_to_end  # noqa: PLC0415 - as above

    return run_to_end(work)

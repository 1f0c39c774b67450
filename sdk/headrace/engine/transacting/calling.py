"""Calls the hooks of authors. What one raises is told, and changes nothing."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Iterable
from contextvars import copy_context
from typing import Any

from headrace.engine import logs
from headrace.engine.hooks import TransactionHook
from headrace.engine.scope import CURRENT, Run
from headrace.engine.transacting.current import TRANSACTION
from headrace.engine.transacting.scopes import Transaction
from headrace.engine.transitions import told
from headrace.engine.ways import ON_LOOP, Way


async def called(hooks: Iterable[TransactionHook], transaction: Transaction, run: Run, way: Way) -> None:
    """
    Calls the hooks one after the other, in the context of the run.

    Tasks that a hook calls are in no transaction: the one that it is about is over.
    """
    tokens = CURRENT.set(run), TRANSACTION.set(None)
    try:
        for hook in hooks:
            try:
                outcome = hook(transaction)
                if inspect.isawaitable(outcome):
                    await _awaited(outcome, way)
            except Exception as error:  # noqa: BLE001 - the author's function may raise anything
                name = getattr(hook, "__name__", hook)
                tell(run, "hook_failed", f"hook {name} of {transaction.name} raised {told(error)}")
    finally:
        CURRENT.reset(tokens[0])
        TRANSACTION.reset(tokens[1])


def tell(run: Run, event: str, message: str, level: int = logging.WARNING) -> None:
    """Writes an event of the run to the log."""
    if logs.LOGGER.isEnabledFor(level):
        logs.prepare()
        logs.emit(level, run, event, message)


async def _awaited(outcome: Awaitable[Any], way: Way) -> None:
    if way is ON_LOOP:
        await outcome
        return
    import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - as above

    async def ended() -> None:
        await outcome

    with ThreadPoolExecutor(1, thread_name_prefix="headrace-hook") as pool:  # this thread may have a loop that runs
        pool.submit(copy_context().run, asyncio.run, ended()).result()

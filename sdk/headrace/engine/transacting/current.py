"""Which transaction the running code is in."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.engine.transacting.scopes import Transaction

TRANSACTION: ContextVar[Transaction | None] = ContextVar("headrace_transaction", default=None)
"""The innermost one: of a block, or of the task that runs. Tasks that are submitted get that of their submitter."""

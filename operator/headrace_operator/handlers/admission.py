"""The reconcile of all that waits: one pass over the heads of the lines."""

from __future__ import annotations

from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers.context import Context, seconds_until


async def reconcile(context: Context, _key: ObjectKey) -> float | None:
    """Wake the runs whose turn it is. Returns seconds until time alone may let another one through."""
    now = context.clock()
    return seconds_until(context.gate.run(now), now)

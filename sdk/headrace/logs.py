"""`get_run_logger`, without loading the log before somebody writes to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from headrace.engine.logs import RunLogger


def get_run_logger() -> RunLogger:
    """
    The logger of the running flow or task; outside of both, its lines name no run.

    It is one of the standard library's logging: `log.info("loaded %d rows", n, extra={"rows": n})`.
    """
    from headrace.engine.logs import run_logger  # noqa: PLC0415 - logging is loaded by the first line

    return run_logger()

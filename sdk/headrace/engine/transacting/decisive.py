"""A write that decides: whoever is told to stop meanwhile must know on which side of it he is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass

from headrace.engine.futures import Notice
from headrace.engine.ways import Way
from headrace.engine.workers import STOP_GRACE_S


@dataclass(frozen=True, slots=True)
class Verdict:
    """
    What came of it.

    Args:
        written: Whether it is known to be there.
        error: What the storage said. None: nothing, or nothing yet.
        interruption: What this was told to stop by meanwhile; to be raised when it is known what follows.
    """

    written: bool
    error: Exception | None = None
    interruption: BaseException | None = None


async def decided(write: Callable[[], object], way: Way) -> Verdict:
    """
    Has it written in a thread of its own; after an interruption it is waited for five seconds more.

    Raises: what it raises that is no Exception.
    """
    notice = Notice("a write that decides", None)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            write()
        except BaseException as error:  # noqa: BLE001 - whoever waits is told
            errors.append(error)
        finally:
            notice.done.end(None)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="headrace-commit", daemon=True)
    interruption: BaseException | None = None
    try:
        thread.start()
        await way.ended([notice])
    except BaseException as told_to_stop:  # noqa: BLE001 - it is raised by whoever asked, in time
        interruption = told_to_stop
        await way.ended([notice], STOP_GRACE_S)
    error = errors[0] if errors else None
    if error is not None and not isinstance(error, Exception):
        raise error
    return Verdict(notice.done.done() and error is None, error, interruption)

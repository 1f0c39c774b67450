"""Calls that block, some for hours, for whoever awaits them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def off_the_loop(call: Callable[..., Any]) -> Callable[..., Any]:
    """
    The blocking call as one to await, in a thread of its own.

    Not of a pool: a loop that closes waits for the threads of its pool, and a cancelled flow must not wait for what it has given up.
    """
    import asyncio  # noqa: PLC0415 - whoever awaits has it
    from contextvars import copy_context  # noqa: PLC0415 - as above

    async def stand_in(*args: Any, **kwargs: Any) -> Any:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()

        def settle(value: Any, error: BaseException | None) -> None:
            if done.done():  # the one who waited was cancelled
                return
            if error is None:
                done.set_result(value)
            else:
                done.set_exception(error)

        def work() -> None:
            value, error = None, None
            try:
                value = context.run(call, *args, **kwargs)
            except BaseException as caught:  # noqa: BLE001 - it is raised where it is awaited
                error = caught
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, value, error)

        context = copy_context()
        threading.Thread(target=work, name="headrace-waits", daemon=True).start()
        return await done

    return stand_in

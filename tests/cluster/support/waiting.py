"""Waits for a fact, not for a time."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

LOOK_EVERY_S = 0.05


async def eventually(look: Callable[[], T | Awaitable[T | None] | None], *, within_s: float = 30, what: str = "") -> T:
    """What `look` returns as soon as it is true. Raises: AssertionError with the last answer after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        answer = look()
        if inspect.isawaitable(answer):
            answer = await answer
        if answer:
            return answer  # type: ignore[return-value]
        if time.monotonic() > deadline:
            raise AssertionError(
                f"not within {within_s} s: {what or inspect.getsource(look).strip()}; last: {answer!r}"
            )
        await asyncio.sleep(LOOK_EVERY_S)

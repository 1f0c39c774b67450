"""Several requests at once, and what comes of them when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def several_at_once(changes: Iterable[Callable[[], Awaitable[None]]], *, most: int) -> None:
    """
    Makes all changes, so many at once, in their order. After one that failed none is begun: what is wrong with it is likely to be wrong with the next.

    Raises: what the first one raised that failed, when none is under way any more.
    """
    left, problems = iter(changes), list[BaseException]()

    async def work() -> None:
        for change in left:
            if problems:
                return
            try:
                await change()
            except BaseException as error:
                problems.append(error)
                raise

    await asyncio.gather(*(work() for _ in range(most)), return_exceptions=True)
    if problems:
        raise problems[0]

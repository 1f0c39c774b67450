"""
The call of an `async def` flow or task, which runs when it is awaited, and says so if it never is.

Python would only warn, about a coroutine of this package, when the flow has succeeded without it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from headrace.engine.description import Description
from headrace.engine.scope import FlowRun, current_flow_run
from headrace.errors import UsageError


class Call(Coroutine[Any, Any, Any]):
    """A coroutine to await, or to hand to asyncio."""

    __slots__ = ("__weakref__", "_around", "_begin", "_work", "of")

    def __init__(self, of: Description, begin: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.of = of
        self._begin = begin
        self._work: Coroutine[Any, Any, Any] | None = None
        self._around = current_flow_run()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._begun().__await__()

    def send(self, value: Any) -> Any:
        """As of any coroutine."""
        return self._begun().send(value)

    def throw(self, *error: Any) -> Any:
        """As of any coroutine."""
        return self._begun().throw(*error)

    def close(self) -> None:
        """As of any coroutine: it is not wanted any more."""
        self._begun().close()

    def _begun(self) -> Coroutine[Any, Any, Any]:
        if self._work is None:
            self._work = self._begin()
        return self._work

    def __del__(self) -> None:
        if self._work is not None:
            return
        if self._around is None:
            advice = f"write `await {self.of.name}(…)`, or `asyncio.run({self.of.name}(…))`"
            message = f'{self.of.kind} "{self.of.name}" was called and never awaited: nothing has run; {advice}'
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        else:
            self._around.unawaited.append(self.of)


def refuse_unawaited(run: FlowRun, returned: object) -> None:
    """Raises: UsageError: the flow has ended, and has called an `async def` without awaiting it."""
    unawaited = [*run.unawaited, *([returned.of] if isinstance(returned, Call) else [])]
    if unawaited:
        raise UsageError(told_unawaited(unawaited[0], is_async=run.description.is_async))


def told_unawaited(of: Description, *, is_async: bool) -> str:
    """What is wrong with a call that was not awaited, in a flow that `is_async` or not; and what to write."""
    instead = (
        f"`await {of.name}(…)`" if is_async else f"`{of.name}.submit(…).result()`, or make the flow an `async def`"
    )
    return f'{of.kind} "{of.name}" was called and never awaited, so that it did not run; write {instead}'

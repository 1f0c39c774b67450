"""`@task`: a step of a flow, tried, timed and counted by itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import replace
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from headrace.engine.description import Description
from headrace.errors import UsageError
from headrace.options import RESERVED, TaskOptions, checked, described
from headrace.states import State

if TYPE_CHECKING:
    from headrace.engine.futures import TaskFuture

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Task(Generic[P, R]):
    """A function that runs as a task when it is called. Made by `@task`; `fn` is the bare function."""

    def __init__(self, function: Callable[P, R], description: Description) -> None:
        self.fn = function
        self.described = description
        update_wrapper(self, function)

    @property
    def name(self) -> str:
        """In logs and states."""
        return self.described.name

    def __repr__(self) -> str:
        return f'<task "{self.name}">'

    def __get__(self, instance: object, owner: type | None = None) -> Self | Task[..., R]:
        """The task of a method, bound to its object."""
        if instance is None:
            return self
        method = MethodType(self.fn, instance)
        return Task(method, replace(self.described, function=method))

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> State[Any]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """
        Runs the task and returns what the function returns; a task with `async def` must be awaited.

        With `return_state=True` the final state is returned instead, whatever the function raised.
        """
        from headrace.engine import execution  # noqa: PLC0415 - the engine is loaded by the first call

        return_state = kwargs.pop(RESERVED, False)
        run = execution.call_on_loop if self.described.is_async else execution.call
        execution.refuse_futures(self.described, args, kwargs)
        return run(self.described, (args, kwargs), return_state=return_state)

    @overload
    def submit(self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]: ...
    @overload
    def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]: ...
    def submit(self, *args: Any, **kwargs: Any) -> TaskFuture[Any]:
        """Starts the task beside the flow, which goes on; ask the future for the outcome."""
        from headrace.engine import execution  # noqa: PLC0415 - as above

        execution.refuse_futures(self.described, args, kwargs)
        return execution.submit(self.described, (args, kwargs))

    def map(self, *inputs: Iterable[Any], **constants: Any) -> list[TaskFuture[Any]]:
        """
        Submits the task once for each element of the inputs, which are walked side by side as zip() does.

        Args:
            inputs: One iterable for each positional argument; all of one length.
            constants: The same for every call.
        Returns: The futures in the order of the inputs.
        """
        if not inputs:
            raise UsageError(
                f'task "{self.name}": map() needs something to map over, such as {self.name}.map([1, 2, 3])'
            )
        try:
            rows = list(zip(*inputs, strict=True))
        except ValueError as error:
            raise UsageError(f'task "{self.name}": map() walks its inputs side by side: {error}') from None
        return [self.submit(*row, **constants) for row in rows]


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Any = None, /, **options: Any) -> Any:
    """
    Turns a function into a task: `@task`, or `@task(retries=3)` with the options of TaskOptions.

    Raises: UsageError: the function or an option cannot be one.
    """
    if function is not None:
        return Task(function, described("task", function, options))
    checked("task", options)  # a wrong option is told where it is written
    return lambda function: Task(function, described("task", function, options))

"""`@task`: a step of a flow, tried, timed and counted by itself."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from functools import update_wrapper
from types import MethodType
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, Self, TypeVar, Unpack, overload

from headrace.engine.description import Description
from headrace.engine.hooks import NO_HOOKS, TransactionHook
from headrace.errors import UsageError
from headrace.options import CALL_OPTIONS, TaskOptions, checked, described
from headrace.states import State

if TYPE_CHECKING:
    from headrace.engine.futures import FutureList, TaskFuture
    from headrace.engine.mapping import Mapped

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
H = TypeVar("H", bound=TransactionHook)


class Task(Generic[P, R]):
    """
    A function that runs as a task when it is called. Made by `@task`.

    `extract(day)` runs it here and now, `extract.submit(day)` beside the flow, `extract.map(days)` once for each day;
    `extract.fn` is the bare function, `extract.options` what its decorator got.
    """

    def __init__(self, function: Callable[P, R], description: Description, options: Mapping[str, Any]) -> None:
        self.fn = function
        self.described = replace(description, decorated=self)
        self.options = options
        """As its decorator got them."""
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
        return Task(method, replace(self.described, function=method), self.options)

    def with_options(self, **options: Unpack[TaskOptions]) -> Task[P, R]:
        """
        The same task with these options in place of its own.

        Raises: UsageError: an option cannot be one.
        """
        return _task(self.fn, {**self.options, **options})

    def on_commit(self, hook: H) -> H:
        """
        Has the function called with the task's Transaction when the one around it is committed: write it as a decorator.

        Raises: UsageError: it cannot be a hook of this task.
        """
        return self._with_hook("on_commit", hook)

    def on_rollback(self, hook: H) -> H:
        """As on_commit(), when the transaction around it is rolled back after the task has succeeded."""
        return self._with_hook("on_rollback", hook)

    def _with_hook(self, option: Literal["on_commit", "on_rollback"], hook: H) -> H:
        if isinstance(self.fn, MethodType):
            raise UsageError(
                f'task "{self.name}": @{self.name}.{option} on one object would be lost; write it in the class, below the task'
            )
        before = self.options.get(option) or ()
        hooks = [*(before if isinstance(before, list | tuple) else (before,)), hook]
        options = {**self.options, option: hooks}
        self.described = replace(described("task", self.fn, options), decorated=self)
        self.options = options
        _remember(self.described)
        return hook

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], wait_for: Any = None, **kwargs: Any) -> State[Any]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """
        Runs the task and returns what the function returns; a task with `async def` must be awaited.

        With `return_state=True` the final state is returned instead, whatever the function raised. Futures among the
        arguments are waited for, and so are those in `wait_for`.
        """
        from headrace.engine import execution  # noqa: PLC0415 - the engine is loaded by the first call

        asked = {name: kwargs.pop(name) for name in CALL_OPTIONS if name in kwargs} if kwargs else kwargs
        run = execution.call_on_loop if self.described.is_async else execution.call
        return run(self.described, (args, kwargs), **asked)

    @overload
    def submit(self: Task[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> TaskFuture[T]: ...
    @overload
    def submit(self, *args: P.args, **kwargs: P.kwargs) -> TaskFuture[R]: ...
    @overload
    def submit(self, *args: Any, wait_for: Any = None, **kwargs: Any) -> TaskFuture[Any]: ...
    def submit(self, *args: Any, wait_for: Any = None, **kwargs: Any) -> TaskFuture[Any]:
        """
        Starts the task beside the flow, which goes on; ask the future for the outcome.

        Args:
            wait_for: Futures that must succeed first, as those among the arguments must, whose results are passed.
        """
        from headrace.engine import execution  # noqa: PLC0415 - as above

        _refuse_return_state(self.name, kwargs)
        return execution.submit(self.described, (args, kwargs), wait_for=wait_for)

    @overload
    def map(
        self: Task[P, Coroutine[Any, Any, T]], *args: Any, max_concurrency: int, wait_for: Any = None, **kwargs: Any
    ) -> Mapped[T]: ...
    @overload
    def map(self, *args: Any, max_concurrency: int, wait_for: Any = None, **kwargs: Any) -> Mapped[R]: ...
    @overload
    def map(
        self: Task[P, Coroutine[Any, Any, T]], *args: Any, wait_for: Any = None, **kwargs: Any
    ) -> FutureList[T]: ...
    @overload
    def map(self, *args: Any, wait_for: Any = None, **kwargs: Any) -> FutureList[R]: ...
    def map(self, *args: Any, max_concurrency: int | None = None, wait_for: Any = None, **kwargs: Any) -> Any:
        """
        Submits the task once for each element of its arguments, which are walked side by side as zip() does.

        Numbers, text and what unmapped() marks are the same for each call; a future is waited for and walked.

        Args:
            max_concurrency: How many may run at a time. With it the inputs are taken little by little, so that a
                generator of a million does not fill the memory: iterate over what comes back. None: all at once.
            wait_for: As for submit().
        Returns: The futures in the order of the inputs.
        """
        from headrace.engine import execution  # noqa: PLC0415 - as above

        _refuse_return_state(self.name, kwargs)
        if max_concurrency is None:
            return execution.submit_each(self.described, (args, kwargs), wait_for=wait_for)
        return execution.map_bounded(self.described, (args, kwargs), max_concurrency=max_concurrency, wait_for=wait_for)


def _refuse_return_state(name: str, kwargs: Mapping[str, Any]) -> None:
    if "return_state" in kwargs:
        raise UsageError(f'task "{name}": return_state is for calls; the state of a future is `future.wait()`')


@overload
def task(function: Callable[P, R], /) -> Task[P, R]: ...
@overload
def task(**options: Unpack[TaskOptions]) -> Callable[[Callable[P, R]], Task[P, R]]: ...
def task(function: Any = None, /, **options: Any) -> Any:
    """
    Turns a function into a task: `@task`, or `@task(retries=3, timeout_seconds=60)`.

    Args:
        name: In logs and states. Absent: the function's name.
        retries: Further attempts after the first. Absent: 0.
        retry_delay_seconds: Before each of them: one number, a list of them, Backoff(…), or a function of the number of
            failures. Absent: 0.
        retry_if: Which exceptions are tried again: classes, or a function of the exception. Absent: all.
        timeout_seconds: Per attempt, more than 0. Absent: no bound.
        tags: Words that its runs are marked with. Absent: those of its flow alone.
        task_run_name: The title of a run: text with {parameters}, or a function of them. Absent: such as "extract-0".
        log_prints: Whether print() becomes a log line. Absent: as in its flow.
        persist_result: Whether later attempts of the run take its result. Absent: where a results URL is set.
        cache_policy, cache_key_fn: What calls have in common that share a result, of headrace.caching. Absent: no cache.
        cache_expiration: A timedelta, or seconds, from which a cached result counts as absent. Absent: never.
        refresh_cache: True: it runs, and its result replaces the cached one.
        result_serializer: "json", "pickle", "arrow" or "parquet". Absent: the plainest that gives the result back.
        reads, writes: Datasets that it touches: URIs with {parameters}, Datasets, or a function of the parameters.
        pod: A Pod of its own, in a cluster. Absent: it runs where it is called.
        on_running, on_retry, on_success, on_failure, on_cancellation, on_crash: Called with the Task, the run and the
            state: a function, or a list of them.
        on_commit, on_rollback: Called with its Transaction when the one around it is committed, or rolled back.
    Returns: A Task: call it, `submit()` it, `map()` it; `fn` is the bare function.
    Raises: UsageError: the function or an option cannot be one; the message says what to write instead.
    """
    if function is not None:
        return _task(function, options)
    checked("task", options)  # a wrong option is told where it is written
    return lambda function: _task(function, options)


def _task(function: Callable[P, R], options: Mapping[str, Any]) -> Task[P, R]:
    made = Task(function, described("task", function, options), options)
    if made.described.hooks is not NO_HOOKS:
        _remember(made.described)
    return made


def _remember(of: Description) -> None:
    """Another process that rolls back what this one has done finds the hooks by the task's name."""
    if of.hooks.on_commit or of.hooks.on_rollback:
        from headrace.engine.transacting.known import remember  # noqa: PLC0415 - few tasks have such hooks

        remember(of)

"""`@flow`: a pipeline, as a function. Its parameters are the function's, checked by its type hints."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, Unpack, overload

from headrace.engine.description import Description
from headrace.errors import UsageError
from headrace.options import FlowOptions, checked, described
from headrace.states import State

if TYPE_CHECKING:
    from headrace.parameters import Parameters

P = ParamSpec("P")
R = TypeVar("R")


class Flow(Generic[P, R]):
    """
    A function that runs as a flow when it is called. Made by `@flow`.

    `etl(day)` runs it and returns its result, `etl(day, return_state=True)` its final state; `etl.fn` is the bare
    function, `etl.options` what its decorator got.
    """

    def __init__(self, function: Callable[P, R], description: Description, options: Mapping[str, Any]) -> None:
        self.fn = function
        self.described = replace(description, decorated=self)
        self.options = options
        """As its decorator got them."""
        self.description: str = options.get("description", inspect.getdoc(function) or "")
        """What the flow is for, in its author's words; may be empty."""
        self.validates = options.get("validate_parameters") is not False
        update_wrapper(self, function)

    @property
    def name(self) -> str:
        """In logs, states and manifests."""
        return self.described.name

    def __repr__(self) -> str:
        return f'<flow "{self.name}">'

    def with_options(self, **options: Unpack[FlowOptions]) -> Flow[P, R]:
        """
        The same flow with these options in place of its own.

        Raises: UsageError: an option cannot be one.
        """
        return _flow(self.fn, {**self.options, **options})

    @cached_property
    def parameters(self) -> Parameters:
        """What the flow takes: checks values, tells the JSON Schema and the defaults."""
        from headrace.parameters import Parameters  # noqa: PLC0415 - pydantic is loaded by the first call

        return Parameters(self.name, self.fn)

    def parameters_schema(self) -> dict[str, Any]:
        """
        The JSON Schema of the parameters, as an object by name.

        Raises: UsageError: a parameter has a type that JSON cannot carry.
        """
        return self.parameters.schema(description=self.description)

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def __call__(self, *args: Any, return_state: Literal[True], **kwargs: Any) -> State[Any]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """
        Runs the flow and returns what the function returns; a flow with `async def` must be awaited.

        With `return_state=True` the final state is returned instead, whatever the function raised.
        Raises: ParameterError: the arguments do not fit; the flow was not started.
        """
        from headrace.engine import execution  # noqa: PLC0415 - the engine is loaded by the first call

        return_state = kwargs.pop("return_state", False)
        run = execution.call_on_loop if self.described.is_async else execution.call
        return run(self.described, self.arguments(*args, **kwargs), return_state=return_state)

    def arguments(self, *args: Any, **kwargs: Any) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
        """
        The arguments that a call with these would pass to the function.

        Raises: ParameterError: they do not fit.
        """
        return self.parameters.checked(args, kwargs) if self.validates else (args, kwargs)


@overload
def flow(function: Callable[P, R], /) -> Flow[P, R]: ...
@overload
def flow(**options: Unpack[FlowOptions]) -> Callable[[Callable[P, R]], Flow[P, R]]: ...
def flow(function: Any = None, /, **options: Any) -> Any:
    """
    Turns a function into a flow: `@flow`, or `@flow(retries=3, timeout_seconds=3600)`.

    Args:
        name: In logs, states and manifests. Absent: the function's name.
        description: What it is for. Absent: the function's docstring.
        retries: Further attempts after the first; in a cluster each in a new pod. Absent: 0.
        retry_delay_seconds: Before each of them: one number, a list of them, Backoff(…), or a function of the number of
            failures. Absent: 0.
        timeout_seconds: Per attempt, more than 0. Absent: no bound.
        validate_parameters: Whether parameters are checked and coerced by the type hints. Absent: yes.
        task_runner: Where submitted tasks run: Threads(…), Processes(…), Dask(…) or Ray(…). Absent: Threads().
        flow_run_name: The title of a run: text with {parameters}, or a function of them. Absent: its name.
        tags: Words that its runs and their tasks are marked with. Absent: none.
        log_prints: Whether print() becomes a log line, also in its tasks. Absent: no.
        on_running, on_retry, on_success, on_failure, on_cancellation, on_crash: Called with the Flow, the run and the
            state: a function, or a list of them.
    Returns: A Flow: call it; `fn` is the bare function.
    Raises: UsageError: the function, its parameters or an option cannot be one; the message says what to write instead.
    """
    if function is not None:
        return _flow(function, options)
    checked("flow", options)  # a wrong option is told where it is written
    return lambda function: _flow(function, options)


def _flow(function: Callable[P, R], options: Mapping[str, Any]) -> Flow[P, R]:
    description = described("flow", function, options)
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.POSITIONAL_ONLY}:
            raise UsageError(
                f'@flow "{description.name}": "{parameter}" cannot be given by name, as a FlowRun gives its parameters; '
                f"write {parameter.name} as an ordinary parameter{' that takes a list' if parameter.kind is parameter.VAR_POSITIONAL else ''}"
            )
    return Flow(function, description, options)

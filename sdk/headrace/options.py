"""The options of `@flow` and `@task`: what they may be, and the advice for what they may not."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from headrace.engine.description import Description
from headrace.engine.hooks import Hook, TransactionHook
from headrace.engine.pods import Pod
from headrace.engine.retries import Delay, Retries
from headrace.engine.runners import THREADS, Runner
from headrace.engine.tags import checked_tags
from headrace.errors import UsageError, shown
from headrace.option_values import condition, hooks, refuse_coroutine_hooks, refuse_strange_fields, title

if TYPE_CHECKING:
    from datetime import timedelta

    from headrace.engine.keeping.policies import CachePolicy, Keeping, KeyFunction
    from headrace.lineage.datasets import DatasetsOption
    from headrace.lineage.declared import Declared

CALL_OPTIONS = ("return_state", "wait_for")
"""Keywords that a call of a task takes for itself."""
RESERVED = {"flow": ("return_state",), "task": (*CALL_OPTIONS, "max_concurrency")}
"""Names that parameters cannot have, as a call, submit() or map() takes them."""

KEEPING_OPTIONS = frozenset(
    ("persist_result", "cache_policy", "cache_key_fn", "cache_expiration", "refresh_cache", "result_serializer")
)

Kind = Literal["flow", "task"]
HookOption = Hook | Sequence[Hook]

MEANT = {
    "retry": "retries",
    "on_completion": "on_success",
    "retry_condition_fn": "retry_if",
    "retry_jitter_factor": "retry_delay_seconds=Backoff(…, jitter=…)",
    "task_name": "name",
    "flow_name": "name",
}
"""What options are called elsewhere."""


class RunOptions(TypedDict, total=False):
    """Options that `@flow(...)` and `@task(...)` share."""

    name: str
    """In logs and states. Absent: the function's name."""
    retries: int
    """Further attempts after the first, at least 0. Absent: none."""
    retry_delay_seconds: float | Sequence[float] | Callable[[int], float]
    """Before each further attempt; or one number for each; or a function of the number of failures. Absent: 0."""
    timeout_seconds: float
    """Per attempt, more than 0. Absent: no bound."""
    log_prints: bool
    """Whether print() becomes a log line. Absent: as in the flow around it."""
    tags: Iterable[str]
    """Words that its runs are marked with in the log; tasks of a flow have its tags too. Absent: none."""
    on_running: HookOption
    """Called when an attempt begins, as all hooks with the Flow or Task, the run, and the state. Absent: nobody."""
    on_retry: HookOption
    """Called when an attempt failed and another follows."""
    on_success: HookOption
    """Called when the run succeeded."""
    on_failure: HookOption
    """Called when it failed, and no attempt is left."""
    on_cancellation: HookOption
    """Called when it was told to stop."""
    on_crash: HookOption
    """Called when something else than its code ended it."""


class TaskOptions(RunOptions, total=False):
    """Options of `@task(...)`: those that flows have too, and these."""

    retry_if: type[Exception] | Sequence[type[Exception]] | Callable[[Exception], bool]
    """Which exceptions are tried again: classes, or a function of the exception. Absent: all."""
    task_run_name: str | Callable[[Mapping[str, Any]], str]
    """The title of a run, as text with {parameters} or a function of them. Absent: its name, such as "extract-0"."""
    pod: Pod
    """A pod of its own, in a cluster; elsewhere the task runs where it is called. Absent: none."""
    persist_result: bool
    """Whether later attempts of the flow run take its result. Absent: where a results URL is set."""
    cache_policy: CachePolicy
    """What a call must have in common with an earlier one to take its result, of headrace.caching. Absent: nothing is cached."""
    cache_key_fn: KeyFunction
    """Makes the key of the cache from the task run and its parameters. Absent: as cache_policy says."""
    cache_expiration: timedelta | float
    """Age, in seconds, from which a cached result counts as absent. Absent: none."""
    refresh_cache: bool
    """Whether the task is run though its result is cached, which is replaced. Absent: no."""
    result_serializer: Literal["json", "pickle", "arrow", "parquet"]
    """The format that its result is stored in. Absent: the plainest one that gives it back as it was."""
    on_commit: TransactionHook | Sequence[TransactionHook]
    """Called with its Transaction when the transaction around it is committed; without one, when it has succeeded."""
    on_rollback: TransactionHook | Sequence[TransactionHook]
    """Called with its Transaction when the one around it is rolled back after it has succeeded."""
    reads: DatasetsOption
    """Datasets that it reads: URIs with {parameters}, Datasets, a list of them, or a function of the parameters."""
    writes: DatasetsOption
    """Datasets that it writes, in the same words; they count when it has succeeded."""


class FlowOptions(RunOptions, total=False):
    """Options of `@flow(...)`: those that tasks have too, and these."""

    validate_parameters: bool
    """Whether parameters are checked and coerced by the type hints. Absent: yes."""
    task_runner: Runner
    """Where its submitted tasks run: Threads(…), Processes(…), Dask(…) or Ray(…). Absent: Threads()."""
    flow_run_name: str | Callable[[Mapping[str, Any]], str]
    """The title of a run, as text with {parameters} or a function of them. Absent: its name."""
    description: str
    """What the flow is for. Absent: the function's docstring."""


def described(kind: Kind, function: Callable[..., Any], options: Mapping[str, Any]) -> Description:
    """
    The description that the engine runs.

    Raises: UsageError: the function or an option cannot be one; the message says what to write instead.
    """
    rules = checked(kind, options)
    refuse_function(f"@{kind}", function)
    is_async = inspect.iscoroutinefunction(function)
    if not is_async:
        refuse_coroutine_hooks(f"@{kind}", rules["hooks"])
    refuse_strange_fields(f"@{kind}", f"{kind}_run_name", rules["title"], function)
    if rules["keeping"] is not None:
        _refuse_strange_names(f"@{kind}", rules["keeping"], function)
    if rules["pod"] is not None:
        _refuse_unreachable(f"@{kind}", function)
    return Description(
        kind=kind,
        name=_name(f"@{kind}", options.get("name", getattr(function, "__name__", ""))),
        function=function,
        is_async=is_async,
        datasets=_datasets(f"@{kind}", function, options),
        **rules,
    )


def checked(kind: Kind, options: Mapping[str, Any]) -> dict[str, Any]:
    """
    The options as fields of a Description, as far as they do not hang on the function.

    Raises: UsageError: one is unknown, or has a value that it does not take.
    """
    label = f"@{kind}"
    refuse_unknown(label, options, FlowOptions if kind == "flow" else TaskOptions)
    if "name" in options:
        label = f'@{kind} "{_name(label, options["name"])}"'
    _flag(label, "validate_parameters", options.get("validate_parameters"))
    if not isinstance(options.get("description", ""), str):
        raise UsageError(f"{label}: description is {shown(options['description'])}, expected some text")
    return {
        "retries": Retries(
            _limit(label, options.get("retries", 0)),
            _delay(label, options.get("retry_delay_seconds", 0)),
            condition(label, options.get("retry_if")),
        ),
        "runner": _runner(label, options.get("task_runner", THREADS)),
        "hooks": hooks(label, options),
        "title": title(label, f"{kind}_run_name", options.get(f"{kind}_run_name")),
        "tags": checked_tags(label, options.get("tags", ())),
        "timeout_s": _timeout_s(label, options.get("timeout_seconds")),
        "log_prints": _flag(label, "log_prints", options.get("log_prints")),
        "pod": _pod(label, options.get("pod")),
        "keeping": _keeping(label, options),
    }


def _keeping(label: str, options: Mapping[str, Any]) -> Keeping | None:
    if KEEPING_OPTIONS.isdisjoint(options):
        return None
    from headrace.engine.keeping.policies import keeping_asked  # noqa: PLC0415 - few tasks say how they are kept

    return keeping_asked(label, options)


def _refuse_strange_names(label: str, keeping: Keeping, function: Callable[..., Any]) -> None:
    from headrace.engine.keeping.policies import refuse_strange_names  # noqa: PLC0415 - as above

    refuse_strange_names(label, keeping, list(inspect.signature(function).parameters))


def _datasets(label: str, function: Callable[..., Any], options: Mapping[str, Any]) -> Declared | None:
    if options.get("reads") is None and options.get("writes") is None:
        return None
    from headrace.lineage.declared import declared  # noqa: PLC0415 - few tasks declare what they touch

    return declared(label, function, options)


def refuse_unknown(label: str, options: Iterable[str], known: type) -> None:
    """Raises: UsageError: an option is none of those that the TypedDict `known` has."""
    names = sorted(inspect.get_annotations(known))
    for option in options:
        if option not in names:
            import difflib  # noqa: PLC0415 - only a mistake needs it

            meant = MEANT.get(option, "")
            near = [meant] if meant.partition("=")[0] in names else difflib.get_close_matches(option, names, 1)
            advice = f'did you mean "{near[0]}"? ' if near else ""
            raise UsageError(f'{label}: unknown option "{option}"; {advice}options are {", ".join(names)}')


def refuse_function(label: str, function: object) -> None:
    """Raises: UsageError: this cannot be decorated."""
    if isinstance(function, str):
        raise UsageError(f'{label}: the function is missing; to give a name, write {label}(name="{function}")')
    if isinstance(function, staticmethod | classmethod):
        raise UsageError(f"{label}: write {label} below @{type(function).__name__}, next to the function")
    if inspect.isclass(function) or not callable(function):
        raise UsageError(f"{label}: {shown(function)} is no function; write {label} above a `def` or `async def`")
    if isinstance(getattr(function, "described", None), Description):
        raise UsageError(f"{label}: {shown(function)} is decorated already; use one of @flow and @task, once")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(f"{label}: {_called(function)} yields; build a list and return it")
    for name in _parameters(label, function):
        if name in RESERVED[label.removeprefix("@")]:
            raise UsageError(
                f'{label}: {_called(function)} has a parameter "{name}", which the call itself takes; rename it'
            )


def _parameters(label: str, function: Callable[..., Any]) -> Iterable[str]:
    try:
        return inspect.signature(function).parameters
    except ValueError:
        raise UsageError(
            f"{label}: Python does not know the parameters of {shown(function)}; call it in a `def`"
        ) from None


def _name(label: str, name: object) -> str:
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f'{label}: name is {shown(name)}, expected some text; write {label}(name="…")')
    if name == "<lambda>":
        raise UsageError(f'{label}: a lambda has no name; write a `def`, or {label}(name="…")')
    return name


def _called(function: object) -> str:
    return str(getattr(function, "__name__", function))


def _refuse_unreachable(label: str, function: Callable[..., Any]) -> None:
    """Another process finds the function by its module and name."""
    name = str(getattr(function, "__qualname__", ""))
    if not name or "<" in name:
        where = name.partition(".<locals>")[0]
        inside = f'a function inside "{where}"' if where != name else "a lambda"
        raise UsageError(
            f"{label}: {_called(function)} has a pod of its own, whose process cannot find {inside}; "
            "write it as a `def` at the top of its module"
        )


def _pod(label: str, pod: object) -> Pod | None:
    if pod is None or isinstance(pod, Pod):
        return pod
    raise UsageError(
        f'{label}: pod is {shown(pod)}, expected a Pod, such as pod=Pod(resources={{"nvidia.com/gpu": 1}})'
    )


def _runner(label: str, runner: object) -> Runner:
    if isinstance(runner, Runner):
        return runner
    raise UsageError(
        f"{label}: task_runner is {shown(runner)}, expected Threads(max_workers=8), Processes(max_workers=2), "
        'Dask("tcp://…") or Ray("ray://…")'
    )


def _limit(label: str, retries: object) -> int:
    if isinstance(retries, int) and not isinstance(retries, bool) and retries >= 0:
        return retries
    raise UsageError(f"{label}: retries is {shown(retries)}, expected a whole number of at least 0, such as retries=3")


def _delay(label: str, delay: Any) -> Delay:
    if callable(delay):
        function: Callable[[int], float] = delay
        return function
    delays = tuple(delay) if isinstance(delay, Sequence) and not isinstance(delay, str) else (delay,)
    if delays and all(_is_number(each) and each >= 0 for each in delays):
        return tuple(float(each) for each in delays)
    raise UsageError(
        f"{label}: retry_delay_seconds is {shown(delay)}, expected seconds of at least 0, a list of them, "
        "or a function of the number of failures, such as Backoff(10)"
    )


def _timeout_s(label: str, timeout: Any) -> float | None:
    if timeout is None:
        return None
    if _is_number(timeout) and timeout > 0:
        return float(timeout)
    raise UsageError(f"{label}: timeout_seconds is {shown(timeout)}, expected seconds of more than 0")


def _flag(label: str, option: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise UsageError(f"{label}: {option} is {shown(value)}, expected True or False")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value  # noqa: PLR0124 - NaN

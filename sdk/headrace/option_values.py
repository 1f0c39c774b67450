"""What hooks, titles and the condition of retries may be, as options of `@flow` and `@task`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headrace.engine.description import Title
from headrace.engine.hooks import NO_HOOKS, Hook, Hooks
from headrace.engine.retries import Condition
from headrace.errors import UsageError, shown

HOOKS = ("on_running", "on_retry", "on_success", "on_failure", "on_cancellation", "on_crash")
TRANSACTION_HOOKS = ("on_commit", "on_rollback")


def hooks(label: str, options: Mapping[str, Any]) -> Hooks:
    """The hooks among the options. Raises: UsageError: one is no function of as many arguments as it is called with."""
    asked = [name for name in (*HOOKS, *TRANSACTION_HOOKS) if options.get(name) is not None]
    found: dict[str, Any] = {name: tuple(_each_hook(label, name, options[name])) for name in asked}
    return Hooks(**found) if any(found.values()) else NO_HOOKS


def refuse_coroutine_hooks(label: str, found: Hooks) -> None:
    """Raises: UsageError: a hook of a function with `def` is written with `async def`."""
    for name in (*HOOKS, *TRANSACTION_HOOKS):
        for hook in getattr(found, name):
            if inspect.iscoroutinefunction(hook):
                raise UsageError(
                    f"{label}: {name} has {_called(hook)}, an `async def`, which a `def` cannot await; write it as a `def`"
                )


def condition(label: str, value: Any) -> Condition | None:
    """Which exceptions are tried again. Raises: UsageError: it is neither exceptions nor a function of one."""
    if value is None:
        return None
    classes = tuple(value) if isinstance(value, list | tuple) else (value,)
    if classes and all(isinstance(each, type) and issubclass(each, Exception) for each in classes):
        return classes
    if callable(value) and not isinstance(value, type) and _takes(value, 1) and not inspect.iscoroutinefunction(value):
        function: Callable[[Exception], bool] = value
        return function
    raise UsageError(
        f"{label}: retry_if is {shown(value)}, expected an exception class, a list of them, or a function of the exception "
        "that returns True or False, such as retry_if=ConnectionError"
    )


def title(label: str, option: str, value: Any) -> Title | None:
    """What makes a title. Raises: UsageError: it is neither a text nor a function."""
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    if callable(value) and _takes(value, 1) and not inspect.iscoroutinefunction(value):
        function: Callable[[Mapping[str, Any]], str] = value
        return function
    raise UsageError(
        f'{label}: {option} is {shown(value)}, expected a text such as "load-{{day}}", or a function of the parameters'
    )


def refuse_strange_fields(label: str, option: str, template: Title | None, function: Callable[..., Any]) -> None:
    """Raises: UsageError: the text names something that is no parameter of the function, or cannot be read."""
    if not isinstance(template, str):
        return
    parameters = inspect.signature(function).parameters
    takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
    for name in _fields(label, option, template):
        if name not in parameters and not takes_any:
            known = ", ".join(f"{{{each}}}" for each in parameters) or "none"
            raise UsageError(f'{label}: {option} is "{template}", and {{{name}}} is no parameter; there are: {known}')


def _fields(label: str, option: str, template: str) -> Iterator[str]:
    import string  # noqa: PLC0415 - only a title needs it

    try:
        for _, field, _, _ in string.Formatter().parse(template):
            if field is not None:
                yield field.partition(".")[0].partition("[")[0]
    except ValueError as error:
        raise UsageError(
            f'{label}: {option} is "{template}", which cannot be read: {error}; write {{{{ and }}}} for braces'
        ) from None


def _each_hook(label: str, name: str, value: Any) -> Iterator[Hook]:
    for hook in value if isinstance(value, list | tuple) else (value,):
        if name in TRANSACTION_HOOKS:
            if not callable(hook) or not _takes(hook, 1):
                raise UsageError(
                    f"{label}: {name} has {shown(hook)}, expected a function of one argument, such as `def undo(transaction)`"
                )
            yield hook
            continue
        if not callable(hook) or not _takes(hook, 3):
            what = "flow" if label.startswith("@flow") else "task"
            raise UsageError(
                f"{label}: {name} has {shown(hook)}, expected a function of three arguments, such as "
                f"`def notify({what}, run, state)`"
            )
        yield hook


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        inspect.signature(function).bind(*range(count))
    except TypeError:
        return False
    except ValueError:  # a builtin whose parameters Python does not know
        return True
    return True


def _called(function: object) -> str:
    return str(getattr(function, "__name__", function))

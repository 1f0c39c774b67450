"""What every command that talks to a cluster has: `--kubeconfig`, beside the `--context` that it declares itself."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from functools import wraps
from typing import Annotated, Any, Final

import typer

Kubeconfig = Annotated[
    str | None,
    typer.Option("--kubeconfig", metavar="FILE", help="The kubeconfig. Else KUBECONFIG, or ~/.kube/config."),
]
_CHOSEN: Final[ContextVar[str | None]] = ContextVar("kubeconfig", default=None)


def prepared(app: typer.Typer) -> typer.Typer:
    """The application; its commands, and those of its groups, take the option where they take `--context`."""
    for command in app.registered_commands:
        callback = command.callback
        if callback is not None and "context" in inspect.signature(callback).parameters:
            command.callback = _with_kubeconfig(callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            prepared(group.typer_instance)
    return app


def kubeconfig() -> str | None:
    """The file that was named for the command that runs; None: none was."""
    return _CHOSEN.get()


def _with_kubeconfig(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function, eval_str=True)
    if "kubeconfig" in signature.parameters:  # an application was made before
        return function

    @wraps(function)
    def command(*args: Any, kubeconfig: str | None = None, **kwargs: Any) -> Any:
        before = _CHOSEN.set(kubeconfig)
        try:
            return function(*args, **kwargs)
        finally:
            _CHOSEN.reset(before)

    option = inspect.Parameter("kubeconfig", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Kubeconfig)
    shown = signature.replace(parameters=[*signature.parameters.values(), option])
    command.__signature__ = shown  # type: ignore[attr-defined]
    command.__annotations__ = {**function.__annotations__, "kubeconfig": Kubeconfig}
    return command

"""
The table of commands.

A command is in a module with `register(app)`, which adds it to the typer application. The module of the one command that is asked for is
imported, and no other; it imports what is slow (the Kubernetes client, cryptography) when it runs and not before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

import typer

from headrace.cli.commanding import prepared
from headrace.cli.completion import VARIABLE, line_being_typed
from headrace.cli.exits import status_of
from headrace.devcluster.errors import ClusterError
from headrace.errors import HeadraceError
from headrace.kubeapi.errors import KubeError
from headrace.terminal_text import harmless

COMMANDS: Final[Mapping[str, str]] = {
    "run": "run",
    "list": "listing",
    "get": "get",
    "logs": "logs",
    "why": "why",
    "cancel": "steering",
    "suspend": "steering",
    "resume": "steering",
    "retry": "rerun",
    "rerun": "rerun",
    "failures": "failures",
    "approve": "approve",
    "reject": "approve",
    "result": "result",
    "artifacts": "artifacts",
    "start": "start",
    "deployments": "deployments",
    "backfill": "backfill",
    "circuit": "circuit",
    "pools": "pools",
    "limits": "limits",
    "cost": "cost",
    "history": "history",
    "results": "results",
    "render": "render",
    "rerender": "rerender",
    "migrate": "migrate",
    "dev": "dev",
    "dashboard": "dashboard",
    "doctor": "doctor",
    "completion": "completion",
}
"""Modules by command, in the order of `headrace --help`."""

FAILURES: Final[tuple[type[Exception], ...]] = (ClusterError, HeadraceError, KubeError)
"""Errors whose text tells the user what to do: printed in one line, without a traceback."""
PLUGIN: Final = "kubectl-"


def application(only: str | None = None) -> typer.Typer:
    """
    The command line, ready to be called.

    Args:
        only: A command; those of other modules are left out. None: all are there.
    """
    app = typer.Typer(
        name="headrace",
        help="Flows as Kubernetes custom resources: run, ship and watch them.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_nothing)
    for module in dict.fromkeys([COMMANDS[only]] if only else COMMANDS.values()):
        import_module(f"headrace.cli.{module}").register(app)
    return prepared(app)


def run() -> None:
    """Runs the command that the arguments of this process name; exits with its status."""
    program = Path(sys.argv[0]).name
    name = f"kubectl {program.removeprefix(PLUGIN)}" if program.startswith(PLUGIN) else "headrace"
    try:
        application(_asked_for(line_being_typed()[1:] or sys.argv[1:]))(prog_name=name, complete_var=VARIABLE)
    except FAILURES as error:
        print(harmless(f"headrace: {error}"), file=sys.stderr)
        sys.exit(status_of(error))
    except BrokenPipeError:  # who reads has had enough: `headrace list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _asked_for(words: list[str]) -> str | None:
    return words[0] if words and words[0] in COMMANDS else None


def _nothing() -> None:
    """Makes typer expect a command's name even while there is one command only."""

"""
The table of commands.

A command is a module with `register(app)`, which adds it to the typer application; it imports what is slow
(the Kubernetes client, cryptography) when it runs and not before, so that every other command starts at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import typer

from headrace.cli import (
    approve,
    artifacts,
    circuit,
    dev,
    failures,
    history,
    migrate,
    render,
    rerun,
    result,
    results,
    start,
)
from headrace.cli import run as run_command
from headrace.devcluster.errors import ClusterError
from headrace.errors import HeadraceError
from headrace.kubeapi.errors import KubeError

COMMANDS: tuple[Callable[[typer.Typer], None], ...] = (
    run_command.register,
    render.register,
    migrate.register,
    start.register,
    approve.register,
    artifacts.register,
    result.register,
    results.register,
    failures.register,
    rerun.register,
    circuit.register,
    history.register,
    dev.register,
)
"""In the order of `headrace --help`."""

FAILURES: tuple[type[Exception], ...] = (ClusterError, HeadraceError, KubeError)
"""Errors whose text tells the user what to do: printed in one line, without a traceback, exit status 1."""


def application() -> typer.Typer:
    """The whole command line, ready to be called."""
    app = typer.Typer(
        name="headrace",
        help="Flows as Kubernetes custom resources: run, ship and watch them.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    app.callback()(_nothing)
    for register in COMMANDS:
        register(app)
    return app


def run() -> None:
    """Runs the command that the arguments of this process name; exits with its status."""
    try:
        application()()
    except FAILURES as error:
        sys.exit(f"headrace: {error}")


def _nothing() -> None:
    """Makes typer expect a command's name even while there is one command only."""

"""`headrace run`: a flow on this computer, without a cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import typer

from headrace.cancellation import Cancellation
from headrace.cli.arguments import Entrypoint, Given, GivenFile, parameters
from headrace.engine.session import Session, TaskCounts
from headrace.flows import Flow
from headrace.launch import Ending, Launch, launch


def register(app: typer.Typer) -> None:
    """Adds `headrace run`."""
    app.command(name="run")(run)


def run(entrypoint: Entrypoint, param: Given = None, params_file: GivenFile = None) -> None:
    """
    Runs a flow here, with no cluster.

    Exit status as in a pod: 0 succeeded, 1 failed, 75 asks for another attempt, 78 cannot start, 130 Ctrl-C.
    """

    def given(flow: Flow[..., Any]) -> Mapping[str, Any]:
        return parameters(flow, param or (), params_file)

    started_s = time.monotonic()
    ending = launch(Launch(entrypoint, given, Session()), Cancellation())
    typer.echo(last_line(ending, time.monotonic() - started_s), err=ending.never_began)
    raise typer.Exit(ending.exit_code)


def last_line(ending: Ending, duration_s: float) -> str:
    """How it ended, for people."""
    if ending.never_began:
        return f"headrace: {ending.message}"
    took = f"{ending.phase} after {duration_s:.1f} s"
    return f"{took}: {_counted(ending.tasks)}" if ending.phase == "Succeeded" else f"{took}: {ending.message}"


def _counted(tasks: TaskCounts) -> str:
    parts = [f"{tasks.total} task run{'' if tasks.total == 1 else 's'}"]
    parts += [f"{tasks.retried} retried"] if tasks.retried else []
    parts += [f"{tasks.failed} failed"] if tasks.failed else []
    return ", ".join(parts)

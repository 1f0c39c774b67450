"""`headrace run`: a flow on this computer, without a cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any

import typer

from headrace.cancellation import Cancellation
from headrace.cli.arguments import Entrypoint, Given, GivenFile, parameters
from headrace.engine.session import LAPTOP, RESULTS_URL_ENV, Tally, TaskCounts
from headrace.flows import Flow
from headrace.launch import Ending, Launch, launch


def register(app: typer.Typer) -> None:
    """Adds `headrace run`."""
    app.command(name="run")(run)


ResultsUrl = Annotated[
    str,
    typer.Option(
        "--results-url",
        envvar=RESULTS_URL_ENV,
        metavar="URL",
        help="Where results of tasks are kept, such as file:///tmp/results.",
    ),
]
RunName = Annotated[
    str,
    typer.Option(
        "--flow-run",
        metavar="NAME",
        help="Name of the run; what a run of this name has finished is taken from the results URL.",
    ),
]


def run(
    entrypoint: Entrypoint,
    param: Given = None,
    params_file: GivenFile = None,
    *,
    results_url: ResultsUrl = "",
    flow_run: RunName = "",
) -> None:
    """
    Runs a flow here, with no cluster.

    Exit status as in a pod: 0 succeeded, 1 failed, 75 asks for another attempt, 78 cannot start, 130 Ctrl-C.
    """

    def given(flow: Flow[..., Any]) -> Mapping[str, Any]:
        return parameters(flow, param or (), params_file)

    started_s = time.monotonic()
    session = replace(LAPTOP, results_url=results_url, flow_run=flow_run, tally=Tally())
    ending = launch(Launch(entrypoint, given, session), Cancellation())
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
    parts += [f"{tasks.cached} cached"] if tasks.cached else []
    parts += [f"{tasks.retried} retried"] if tasks.retried else []
    parts += [f"{tasks.failed} failed"] if tasks.failed else []
    return ", ".join(parts)

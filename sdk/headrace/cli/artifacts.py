"""`headrace artifacts`: what a run left for people to look at."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import typer

from headrace.api.keys import FLOW_RUN_LABEL, FLOWRUNS
from headrace.cli.cluster import Api, Context, Namespace, asked, in_cluster, path_of
from headrace.cli.printing import table
from headrace.errors import UsageError
from headrace.terminal_text import harmless

HEADER: Final = ("NAME", "KIND", "DESCRIPTION", "URL")
DESCRIPTION_WIDTH: Final = 60

Artifact = Mapping[str, str]


def register(app: typer.Typer) -> None:
    """Adds `headrace artifacts`."""
    app.command(name="artifacts")(artifacts)


def artifacts(
    run: Annotated[str, typer.Argument(help="Name of the FlowRun.")],
    *,
    show: Annotated[str | None, typer.Option(metavar="NAME", help="Show this one in place of the list.")] = None,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="json has the whole descriptions.")
    ] = "table",
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """
    Lists what a run left for people to look at: texts, tables, links, images, progress.

    With --show a text or a table is read from the result storage, with your own credentials for it.
    """
    where, found = in_cluster(lambda api, here: of_run(api, here, run), namespace=namespace, context=context)
    if show is None:
        print(json.dumps(found, indent=2) if output == "json" else as_table(found))
        return
    one = named(found, show, f"FlowRun {where}/{run}")
    text = readable(one, f"kubectl logs -n {where} -l {FLOW_RUN_LABEL}={run} --tail=-1")
    print_text(one["kind"], text, terminal=sys.stdout.isatty())


async def of_run(api: Api, namespace: str, run: str) -> tuple[str, Sequence[Artifact]]:
    """The run's namespace and its artifacts, the newest last. Raises: ClusterRefusal."""
    missing = f'there is no FlowRun "{run}" in namespace {namespace}; kubectl get fr -n {namespace} lists them'
    found = await asked(f"read FlowRun {namespace}/{run}", api.get(path_of(FLOWRUNS, namespace, run)), missing=missing)
    return namespace, (found.get("status") or {}).get("artifacts") or []


def as_table(found: Sequence[Artifact]) -> str:
    """A line each; long descriptions are cut."""
    return table(HEADER, [_row(each) for each in found]) if found else "the run has no artifacts"


def named(found: Sequence[Artifact], name: str, run: str) -> Artifact:
    """The one of this name. Raises: UsageError: there is none."""
    one = next((each for each in found if each["name"] == name), None)
    if one is None:
        known = ", ".join(each["name"] for each in found) or "none"
        raise UsageError(f'{run} has no artifact "{name}"; it has: {known}')
    return one


def readable(one: Artifact, log: str) -> str:
    """
    The content of a text or table, the URL of a link or image, or what else is known of it.

    Args:
        log: The command that shows the log of the run.
    Raises: UsageError, ResultsError: it is not to be had.
    """
    if one["kind"] == "progress":
        return one.get("description", "")
    if "url" not in one:
        raise UsageError(f'artifact "{one["name"]}" is in the log of the run, as no results URL is set: {log}')
    if one["kind"] not in {"markdown", "table"}:
        return one["url"]
    from headrace.results import open_storage  # noqa: PLC0415 - only what is shown is read
    from headrace.results.places import split  # noqa: PLC0415 - as above

    folder, key = split(one["url"])
    return open_storage(folder).get(key).decode("utf-8", "replace")


def print_text(kind: str, text: str, *, terminal: bool) -> None:
    """On a terminal as people read it, else as it is."""
    if not terminal or kind not in {"markdown", "table"}:
        print(harmless(text) if terminal else text)
        return
    from rich.console import Console  # noqa: PLC0415 - slow to import
    from rich.markdown import Markdown  # noqa: PLC0415 - as above

    Console().print(Markdown(_harmless(text)) if kind == "markdown" else _grid(json.loads(text)))


def _harmless(text: str) -> str:
    """The text without commands to the terminal."""
    return "".join(char for char in text if char.isprintable() or char == "\n")


def _grid(rows: Sequence[Any]) -> Any:
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    objects = [row for row in rows if isinstance(row, dict)]
    names = list(dict.fromkeys(name for row in objects for name in row))
    grid = Table(*map(_harmless, names), show_header=bool(names))
    for row in rows:
        cells = [row.get(name, "") for name in names] if isinstance(row, dict) else row
        grid.add_row(*(Text(_harmless(cell if isinstance(cell, str) else json.dumps(cell))) for cell in cells))
    return grid


def _row(one: Artifact) -> tuple[str, ...]:
    description = one.get("description", "")
    cut = description if len(description) <= DESCRIPTION_WIDTH else f"{description[: DESCRIPTION_WIDTH - 1]}…"
    return one["name"], one["kind"], cut, one.get("url", "")

"""`headrace logs`: what a run has written, over all its attempts."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.api import keys
from headrace.cli.changes import watched
from headrace.cli.cluster import ClusterRefusal, Context, Namespace, asked, in_cluster
from headrace.cli.deadletters import age_from
from headrace.cli.exits import CANCELLED
from headrace.cli.loglines import Line, line_from
from headrace.cli.names import run_names
from headrace.cli.podlogs import Section, attempts_of, pod_lines
from headrace.cli.printing import paints
from headrace.cli.runs import ENDED, phase_of, the_run
from headrace.kubeapi.errors import Invalid, NotFound
from headrace.terminal_text import harmless

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient


def register(app: typer.Typer) -> None:
    """Adds `headrace logs`."""
    app.command(name="logs")(logs)


@dataclass(frozen=True, slots=True)
class Wish:
    """What to show; None leaves a field open. `store` is the URL of a history store, or ""."""

    name: str
    section: Section
    attempt: int | None = None
    task: str | None = None
    raw: bool = False
    store: str = ""


class Log(Enum):
    """What there is of an attempt's log."""

    PRINTED = "printed"
    NOT_BEGUN = "not begun"
    GONE = "gone"


def logs(  # noqa: PLR0913 - one argument an option
    run: Annotated[str, typer.Argument(help="Name of the FlowRun.", autocompletion=run_names)],
    *,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until it ends, over its retries.")] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="Only of this attempt. Else of all.")] = None,
    task: Annotated[str | None, typer.Option(help="Only lines of this task, or task run: load, load-3.")] = None,
    tail: Annotated[int | None, typer.Option(min=1, help="Only so many lines of each attempt, the last ones.")] = None,
    since: Annotated[str | None, typer.Option(metavar="AGE", help="Only lines not older than that: 90s, 10m.")] = None,
    raw: Annotated[bool, typer.Option("--raw", help="As the pod wrote them: JSON lines, for other programs.")] = False,
    store: Annotated[
        str,
        typer.Option(envvar="HEADRACE_HISTORY_URL", help="The history store: it has the end of logs that are gone."),
    ] = "",
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """
    Prints what a run has written: `headrace logs etl-7 -f --task load`.

    Attempts follow each other; a pod that is gone has left the end of its log in the history store, where one is kept.
    """
    since_s = int(age_from(since).total_seconds()) if since else None
    wish = Wish(run, Section(tail, since_s, follow), attempt, task, raw=raw, store=store)

    async def work(client: KubeClient, here: str) -> None:
        await (_followed if follow else show)(client, here, wish)

    try:
        in_cluster(work, namespace=namespace, context=context)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(CANCELLED) from None


async def show(client: KubeClient, namespace: str, wish: Wish) -> None:
    """Prints what there is. Raises: ClusterRefusal: there is no log, or no right to it. ApiError."""
    wanted = f"show the log of {wish.name}"
    try:
        run = await the_run(client, namespace, wish.name, wanted)
    except ClusterRefusal as error:
        if not wish.store or not isinstance(error.__cause__, NotFound):
            raise
        _print_recorded(namespace, wish, wanted)
        return
    attempts = [each for each in attempts_of(run) if wish.attempt in {None, each["number"]}]
    if not attempts:
        raise ClusterRefusal(
            wanted, f"it is {phase_of(run)} and has no such attempt; headrace why {wish.name} tells more"
        )
    found = {await _print_attempt(client, namespace, each, wish, several=len(attempts) > 1) for each in attempts}
    if found == {Log.GONE}:
        _print_recorded(namespace, wish, wanted)
    elif Log.PRINTED not in found:
        raise ClusterRefusal(wanted, f"it has not started; headrace why {wish.name} tells why")


async def _followed(client: KubeClient, namespace: str, wish: Wish) -> None:
    """As `show`, and then what comes, until the run has ended."""
    await the_run(client, namespace, wish.name, f"follow the log of {wish.name}")
    shown: set[int] = set()
    async with watched(client, keys.FLOWRUNS, namespace, wish.name) as changes:
        async for run in changes:
            for each in attempts_of(run):
                if each["number"] not in shown and wish.attempt in {None, each["number"]}:
                    several = each["number"] > 1 or phase_of(run) == "Retrying"
                    log = await _print_attempt(client, namespace, each, wish, several=several)
                    if log is Log.PRINTED or each.get("reason"):
                        shown.add(each["number"])
            if phase_of(run) in ENDED or (wish.attempt in shown):
                print(_ending(run), file=sys.stderr)
                return


async def _print_attempt(
    client: KubeClient, namespace: str, attempt: Mapping[str, Any], wish: Wish, *, several: bool
) -> Log:
    """Prints the log, if there is one, and says whether."""
    if several:
        told = f": {attempt['reason']}" if attempt.get("reason") else ""
        print(f"── attempt {attempt['number']}{told} ──", file=sys.stderr)
    colours = paints(sys.stdout)
    lines = pod_lines(client, namespace, attempt["pod"], wish.section)
    try:
        while (
            line := await asked(f"read the log of pod {attempt['pod']}", anext(lines, None), missing=GONE)
        ) is not None:
            if wish.task is None or line.is_of(wish.task):
                print(line.raw if wish.raw else line.readable(colours=colours), flush=True)
    except ClusterRefusal as error:
        if not isinstance(error.__cause__, NotFound | Invalid):
            raise
        print(harmless(f"headrace: attempt {attempt['number']}: {error.problem}"), file=sys.stderr)
        has_begun = isinstance(error.__cause__, NotFound) or attempt.get("startedAt")
        return Log.GONE if has_begun else Log.NOT_BEGUN
    return Log.PRINTED


def _print_recorded(namespace: str, wish: Wish, wanted: str) -> None:
    """The end of the log, as the history store has it. Raises: ClusterRefusal: there is none."""
    if not wish.store:
        raise ClusterRefusal(wanted, "its pods are gone; a history store may have the end of it: --store URL")
    from headrace.history import open_history  # noqa: PLC0415 - for logs that are gone
    from headrace.history.reading import told  # noqa: PLC0415 - as above

    opened = open_history(wish.store, is_reader=True)
    try:
        found = [each for each in told(opened, namespace, wish.name) if each.get("log_tail")]
    finally:
        opened.close()
    if not found:
        raise ClusterRefusal(wanted, "its pods are gone, and the history store has nothing of it")
    for text in found[0]["log_tail"].splitlines():
        line: Line = line_from(text)
        if wish.task is None or line.is_of(wish.task):
            print(line.raw if wish.raw else line.readable(colours=paints(sys.stdout)))


def _ending(run: Mapping[str, Any]) -> str:
    reason = (run.get("status") or {}).get("reason")
    phase = phase_of(run)
    return f"{run['metadata']['name']} is {phase}" + (f" ({reason})" if reason not in {None, phase} else "")


GONE = "its pod is gone, and its log with it"

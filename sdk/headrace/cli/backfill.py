"""`headrace backfill`: many runs of one Deployment, made, watched and steered."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from headrace.api import keys
from headrace.cli.arguments import text_parameters
from headrace.cli.backfilling import Range, columns, manifest, matrix, over, percent, status_line
from headrace.cli.changes import watched
from headrace.cli.cluster import AllNamespaces, Api, Context, Namespace, asked, in_cluster, listed, path_of
from headrace.cli.exits import CANCELLED, FAILED, OK
from headrace.cli.names import backfill_names, deployment_names
from headrace.cli.outputs import Output, printed, say, with_kind
from headrace.cli.printing import counted, paints
from headrace.cli.references import Reference
from headrace.cli.steering import cancelled, found_object, held
from headrace.errors import UsageError
from headrace.kubeapi.errors import Conflict

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

TRIES = 5

backfill = typer.Typer(no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="BACKFILL", help="Name of the Backfill.", autocompletion=backfill_names)]


def register(app: typer.Typer) -> None:
    """Adds `headrace backfill` with its commands."""
    app.add_typer(backfill, name="backfill")


@backfill.callback()
def _group() -> None:
    """Backfills: one run of a Deployment for each partition of a range or a matrix."""


@backfill.command()
def create(  # noqa: PLR0913 - one argument an option
    name: Annotated[str, typer.Argument(metavar="BACKFILL", help="What to call it.")],
    *,
    deployment: Annotated[str, typer.Option(help="The Deployment to run.", autocompletion=deployment_names)],
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Where the range begins: 2026-01-01.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Where it ends; that itself is not in it.")
    ] = None,
    step: Annotated[
        str, typer.Option(help="Of the range: hour, day, week, month, a span such as 15m, or a cron line.")
    ] = "day",
    time_zone: Annotated[str, typer.Option(help="Of the range: Europe/London.")] = "Etc/UTC",
    each: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=A,B,C", help="In place of a range: a parameter and its values. May be repeated."),
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter of every run. May be repeated."),
    ] = None,
    max_active: Annotated[int | None, typer.Option(min=1, help="Runs at once. Else 10.")] = None,
    rate: Annotated[int | None, typer.Option(min=1, help="Runs created within a minute, at most.")] = None,
    max_failures: Annotated[
        int | None, typer.Option(min=0, help="With more failures it ends. Else any number may fail.")
    ] = None,
    budget: Annotated[str | None, typer.Option(metavar="AMOUNT", help='What it may cost: 250, or "250 EUR".')] = None,
    order: Annotated[Literal["Oldest", "Newest", "Random"], typer.Option(help="Which partitions go first.")] = "Oldest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the manifest; create nothing.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Until it ends.")] = False,
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """Creates one: `headrace backfill create q1 --deployment nightly --from 2026-01-01 --to 2026-04-01 --watch`."""
    partitions = _partitions(each, Range(from_ or "", to or "", step, time_zone))
    bounds = {"maxActive": max_active, "ratePerMinute": rate, "maxFailures": max_failures, "order": order}
    given = text_parameters(param or ())
    body = manifest(name, deployment, partitions, parameters=given, bounds=bounds, budget=budget)
    if dry_run:
        from headrace.cli.outputs import document  # noqa: PLC0415 - yaml, where it is asked for

        print(document(body, "yaml"))
        return

    async def work(client: KubeClient, here: str) -> int:
        await found_object(client, here, Reference(keys.DEPLOYMENTS, deployment), f"create backfill {name}")
        await asked(f"create backfill {name}", client.create(path_of(keys.BACKFILLS, here), body))
        print(name, flush=True)
        return await _watched(client, here, name) if watch else OK

    raise typer.Exit(_interruptible(work, namespace, context))


def _partitions(axes: list[str] | None, stretch: Range) -> dict[str, Any]:
    """Those of a range or of a matrix, whichever was given. Raises: UsageError: both, or neither, or half a range."""
    if bool(axes) == bool(stretch.start or stretch.end) or bool(stretch.start) != bool(stretch.end):
        raise UsageError("say what the partitions are: --from 2026-01-01 --to 2026-04-01, or --each shop=north,south")
    return matrix(axes) if axes else stretch.partitions()


@backfill.command(name="list")
def list_(
    *,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    output: Output = "table",
    context: Context = None,
) -> None:
    """Lists Backfills, newest first."""
    found = in_cluster(
        lambda api, here: listed(api, path_of(keys.BACKFILLS, "" if all_namespaces else here)),
        namespace=namespace,
        context=context,
    )
    newest = sorted(found, key=lambda one: str(one["metadata"]["creationTimestamp"]), reverse=True)
    shape = columns(datetime.now(UTC), namespaces=all_namespaces, colours=paints(sys.stdout))
    say(printed(with_kind(newest, "Backfill"), output, shape, none="there is no Backfill"))


@backfill.command()
def watch(name: Name, *, namespace: Namespace = "", context: Context = None) -> None:
    """Shows how far it is until it ends. Exit status: 0 it succeeded, 130 it was cancelled, 1 it failed."""
    raise typer.Exit(_interruptible(lambda client, here: _watched(client, here, name), namespace, context))


@backfill.command()
def pause(name: Name, *, namespace: Namespace = "", context: Context = None) -> None:
    """Starts no more runs; those under way go on."""
    target = Reference(keys.BACKFILLS, name)
    print(in_cluster(lambda api, here: held(api, here, target, suspend=True), namespace=namespace, context=context))


@backfill.command()
def resume(name: Name, *, namespace: Namespace = "", context: Context = None) -> None:
    """Goes on after `pause`."""
    target = Reference(keys.BACKFILLS, name)
    print(in_cluster(lambda api, here: held(api, here, target, suspend=False), namespace=namespace, context=context))


@backfill.command()
def cancel(name: Name, *, namespace: Namespace = "", context: Context = None) -> None:
    """Ends it for good: no more runs are started, and those that have not ended are cancelled."""
    target = Reference(keys.BACKFILLS, name)
    print(in_cluster(lambda api, here: cancelled(api, here, target), namespace=namespace, context=context))


@backfill.command(name="retry-failed")
def retry_failed(name: Name, *, namespace: Namespace = "", context: Context = None) -> None:
    """Runs those partitions once more that have failed, and no others."""
    print(in_cluster(lambda api, here: failed_again(api, here, name), namespace=namespace, context=context))


async def failed_again(api: Api, namespace: str, name: str) -> str:
    """
    What was done, for people. Two who ask at once get one more go, and one of them is told so.

    Raises: ClusterRefusal: it is not there, or may not be changed. ApiError.
    """
    target, wanted = Reference(keys.BACKFILLS, name), f"retry what failed of backfill {name}"
    asked_before: int | None = None
    for left in reversed(range(TRIES)):
        found = await found_object(api, namespace, target, wanted)
        failed, goes = (found.get("status") or {}).get("failed") or 0, int(found["spec"].get("rerunFailed") or 0)
        if asked_before is not None and goes != asked_before:
            return f"{target}: somebody else has just asked for it"
        if not failed:
            return f"{target}: no partition has failed"
        asked_before = goes
        body = {
            "metadata": {"resourceVersion": found["metadata"]["resourceVersion"]},
            "spec": {"rerunFailed": goes + 1},
        }
        try:
            await asked(wanted, api.patch(path_of(keys.BACKFILLS, namespace, name), body))
        except Conflict:  # its status changes all the time
            if not left:
                raise
        else:
            return f"{target}: {counted(failed, 'partition')} that failed run once more"
    raise AssertionError("the last try returns or raises")


async def _watched(client: KubeClient, namespace: str, name: str) -> int:
    """The exit status by its end. Raises: ClusterRefusal, ApiError."""
    await found_object(client, namespace, Reference(keys.BACKFILLS, name), f"watch backfill {name}")
    bar = _bar()
    async with watched(client, keys.BACKFILLS, namespace, name) as changes:
        with bar:
            async for found in changes:
                bar.show(found)
                if over(found):
                    break
    phase = (found.get("status") or {}).get("phase")
    print(status_line(found))
    return {"Succeeded": OK, "Cancelled": CANCELLED}.get(str(phase), FAILED)


def _interruptible(work: Callable[[KubeClient, str], Awaitable[int]], namespace: str, context: str | None) -> int:
    import asyncio  # noqa: PLC0415 - `create --dry-run` starts without it

    try:
        return in_cluster(work, namespace=namespace, context=context)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return CANCELLED  # it goes on: only its watcher was told to stop


def _bar() -> _Lines | _Bar:
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Lines:
    """Without a terminal: a line whenever the share of what is over has changed, or the phase."""

    def __init__(self) -> None:
        self._told = ""

    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, found: dict[str, Any]) -> None:
        """What changed."""
        status = found.get("status") or {}
        key = f"{status.get('phase')} {percent(found)}"
        if key != self._told:
            self._told = key
            print(status_line(found), file=sys.stderr, flush=True)


class _Bar:
    """On a terminal: a bar that fills, and what a line tells beside it."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415 - as above
        from rich.progress import BarColumn, Progress, TextColumn  # noqa: PLC0415 - on a terminal only

        console = Console(stderr=True)
        self._progress = Progress(BarColumn(), TextColumn("{task.description}", markup=False), console=console)
        self._task = self._progress.add_task("", total=None)

    def __enter__(self) -> None:
        self._progress.start()

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, found: dict[str, Any]) -> None:
        """The present state."""
        status = found.get("status") or {}
        done = sum(status.get(name) or 0 for name in ("succeeded", "failed", "cancelled"))
        self._progress.update(self._task, total=status.get("total"), completed=done, description=status_line(found))

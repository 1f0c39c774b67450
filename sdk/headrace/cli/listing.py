"""`headrace list`: the runs of a namespace, or of all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

import typer

from headrace.cli.cluster import AllNamespaces, Context, in_cluster
from headrace.cli.deadletters import age_from
from headrace.cli.names import deployment_names, flow_names, namespace_names
from headrace.cli.outputs import Output, printed, say, with_kind
from headrace.cli.printing import paints
from headrace.cli.runs import LONG_AGO, Wanted, columns, duration, found_runs, instant, phases_from

Order = Literal["created", "started", "finished", "took", "cost", "name"]


def register(app: typer.Typer) -> None:
    """Adds `headrace list`."""
    app.command(name="list")(list_)


def list_(  # noqa: PLR0913 - one argument an option
    *,
    namespace: Annotated[
        str,
        typer.Option(
            "--namespace", "-n", help="The namespace. Else that of kubectl's context.", autocompletion=namespace_names
        ),
    ] = "",
    all_namespaces: AllNamespaces = False,
    flow: Annotated[
        str | None,
        typer.Option(help="Only of this Flow, through a Deployment or without.", autocompletion=flow_names),
    ] = None,
    deployment: Annotated[
        str | None, typer.Option(help="Only of this Deployment.", autocompletion=deployment_names)
    ] = None,
    backfill: Annotated[str | None, typer.Option(help="Only of this Backfill.")] = None,
    phase: Annotated[
        list[str] | None,
        typer.Option(help="Only in this phase, such as Failed,Crashed; also: active, ended. May be repeated."),
    ] = None,
    selector: Annotated[
        str, typer.Option("--selector", "-l", metavar="LABELS", help="Only with these labels: team=a,tier!=dev.")
    ] = "",
    since: Annotated[
        str | None, typer.Option(metavar="AGE", help="Only those created within this time: 90m, 24h, 7d.")
    ] = None,
    sort: Annotated[
        Order, typer.Option(help="What goes first: the newest, longest or dearest; or by name.")
    ] = "created",
    limit: Annotated[int | None, typer.Option(min=1, help="So many at most, the first ones.")] = None,
    output: Output = "table",
    context: Context = None,
) -> None:
    """Lists runs, newest first: `headrace list --phase failed --since 24h -A`."""
    now = datetime.now(UTC)
    wanted = Wanted(
        deployment=deployment,
        flow=flow,
        backfill=backfill,
        phases=phases_from(phase or ()),
        labels=selector,
        since=now - age_from(since) if since else None,
    )
    runs = in_cluster(
        lambda api, here: found_runs(api, "" if all_namespaces else here, wanted), namespace=namespace, context=context
    )
    shown = with_kind(ordered(runs, sort, now)[:limit], "FlowRun")
    shape = columns(now, namespaces=all_namespaces, colours=paints(sys.stdout))
    say(printed(shown, output, shape, none="no run is there that is asked for"))


def ordered(runs: Sequence[dict[str, Any]], order: Order, now: datetime) -> list[dict[str, Any]]:
    """In the order that is asked for; what is not known goes last."""

    def name(run: dict[str, Any]) -> tuple[str, str]:
        return run["metadata"]["namespace"], run["metadata"]["name"]

    def amount(run: dict[str, Any]) -> Decimal:
        return Decimal(((run.get("status") or {}).get("cost") or {}).get("amount") or -1)

    by_name = sorted(runs, key=name)
    if order == "name":
        return by_name
    if order == "took":
        return sorted(by_name, key=lambda run: duration(run, now) or timedelta(-1), reverse=True)
    if order == "cost":
        return sorted(by_name, key=amount, reverse=True)
    field = {"created": "creationTimestamp", "started": "startedAt", "finished": "finishedAt"}[order]
    return sorted(by_name, key=lambda run: instant(run, field) or LONG_AGO, reverse=True)

"""`headrace pools`: WorkPools, how full they are, and their nodes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

from headrace.api import keys
from headrace.cli.cluster import Context, in_cluster, listed, path_of
from headrace.cli.outputs import Column, Object, Output, printed, say, with_kind
from headrace.cli.printing import painted, paints, shortened
from headrace.diagnose.wording import condition

MESSAGE_WIDTH = 80


def register(app: typer.Typer) -> None:
    """Adds `headrace pools`."""
    app.command(name="pools")(pools)


def pools(*, output: Output = "table", context: Context = None) -> None:
    """Lists WorkPools: runs in them, runs that wait for them, and nodes that are ready."""
    found = in_cluster(lambda api, _: listed(api, path_of(keys.WORKPOOLS)), context=context)
    shown = with_kind(sorted(found, key=lambda each: str(each["metadata"]["name"])), "WorkPool")
    none = "there is no WorkPool: runs go wherever the scheduler puts them"
    say(printed(shown, output, columns(colours=paints(sys.stdout)), none=none))


def columns(*, colours: bool) -> list[Column]:
    """Those of a pool."""

    def ready(pool: Object) -> str:
        word = condition(pool, "Ready").get("status") or "Unknown"
        return painted(word, word) if colours else word

    return [
        Column("NAME", lambda pool: pool["metadata"]["name"]),
        Column("READY", ready),
        Column("RUNS", lambda pool: _of(_status(pool, "active"), (pool["spec"].get("capacity") or {}).get("runs"))),
        Column("WAITING", lambda pool: str(_status(pool, "queued"))),
        Column(
            "NODES",
            lambda pool: "/".join(str((_status(pool, "nodes") or {}).get(key, 0)) for key in ("ready", "total")),
        ),
        Column("CPU", _requested("cpu")),
        Column("MEMORY", _requested("memory")),
        Column("SPOT", lambda pool: "yes" if pool["spec"].get("spot") else "no"),
        Column("REASON", lambda pool: condition(pool, "Ready").get("reason") or "", wide=True),
        Column(
            "MESSAGE", lambda pool: shortened(condition(pool, "Ready").get("message") or "", MESSAGE_WIDTH), wide=True
        ),
    ]


def _status(found: Object, field: str) -> Any:
    return (found.get("status") or {}).get(field) or 0


def _of(count: int, most: int | None) -> str:
    return str(count) if most is None else f"{count}/{most}"


def _requested(resource: str) -> Callable[[Object], str]:
    """What its pods ask for, of what is allowed."""

    def cell(pool: Object) -> str:
        asked = str((_status(pool, "requested") or {}).get(resource, 0))
        allowed = ((pool["spec"].get("capacity") or {}).get("resources") or {}).get(resource)
        return f"{asked}/{allowed}" if allowed else asked

    return cell

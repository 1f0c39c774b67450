"""`headrace limits`: ConcurrencyLimits, and who holds the slots of one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from headrace.api import keys
from headrace.cli.cluster import Api, Context, asked, in_cluster, listed, path_of
from headrace.cli.names import limit_names
from headrace.cli.outputs import Column, Object, Output, document, printed, say, tidy, with_kind
from headrace.cli.printing import counted, shortened, table
from headrace.diagnose.wording import condition, span

MESSAGE_WIDTH = 80


def register(app: typer.Typer) -> None:
    """Adds `headrace limits`."""
    app.command(name="limits")(limits)


def limits(
    name: Annotated[
        str | None, typer.Argument(metavar="[LIMIT]", help="One, with who holds its slots.", autocompletion=limit_names)
    ] = None,
    *,
    output: Output = "table",
    context: Context = None,
) -> None:
    """Lists ConcurrencyLimits: slots that are held, and runs that wait; `headrace limits postgres` tells who holds them."""
    if name is not None:
        found = in_cluster(lambda api, _: the_limit(api, name), context=context)
        one = with_kind([found], "ConcurrencyLimit")
        if output in {"json", "yaml"}:
            print(document(tidy(one[0]), output))
        else:
            say(printed(one, output, (), none="") if output == "name" else as_text(found, datetime.now(UTC)))
        return
    objects = in_cluster(lambda api, _: listed(api, path_of(keys.CONCURRENCYLIMITS)), context=context)
    shown = with_kind(sorted(objects, key=lambda each: str(each["metadata"]["name"])), "ConcurrencyLimit")
    say(printed(shown, output, COLUMNS, none="there is no ConcurrencyLimit"))


async def the_limit(api: Api, name: str) -> dict[str, Any]:
    """Raises: ClusterRefusal: there is none of this name. ApiError."""
    missing = "there is no such ConcurrencyLimit; headrace limits shows those that are"
    return await asked(f"show limit {name}", api.get(path_of(keys.CONCURRENCYLIMITS, "", name)), missing=missing)


def as_text(limit: Mapping[str, Any], now: datetime) -> str:
    """Its counts, then a line for each holder."""
    status = limit.get("status") or {}
    holders = status.get("holders") or ()
    held, waiting = _slots(limit), status.get("waiting") or 0
    lines = [
        f"{limit['metadata']['name']}: {held or 'no'} slots held, {counted(waiting, 'run')} waiting{_rate_told(limit)}"
    ]
    rows = [
        (
            holder["slot"],
            holder["holder"],
            span(now - datetime.fromisoformat(holder["since"])) if holder.get("since") else "",
        )
        for holder in holders
    ]
    lines += [table(("SLOT", "HOLDER", "SINCE"), rows)] if rows else []
    more = (status.get("active") or 0) - len(rows)
    return "\n".join([*lines, *([f"and {more} more"] if more > 0 else [])])


def _slots(limit: Object) -> str:
    slots = limit["spec"].get("slots")
    used = (limit.get("status") or {}).get("active") or 0
    return str(used) if slots is None else f"{used}/{slots}"


def _rate(limit: Object) -> str:
    rate = limit["spec"].get("rate")
    return f"{rate['count']} in {rate.get('perSeconds', 1)}s" if rate else ""


def _rate_told(limit: Object) -> str:
    rate = _rate(limit)
    return f", {rate} may start" if rate else ""


COLUMNS = (
    Column("NAME", lambda limit: limit["metadata"]["name"]),
    Column("HELD", _slots),
    Column("WAITING", lambda limit: str((limit.get("status") or {}).get("waiting") or 0)),
    Column("RATE", _rate),
    Column("READY", lambda limit: condition(limit, "Ready").get("status") or "Unknown", wide=True),
    Column(
        "MESSAGE", lambda limit: shortened(condition(limit, "Ready").get("message") or "", MESSAGE_WIDTH), wide=True
    ),
)

"""`headrace results`: what lies in a result storage, and what has expired there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Literal

import typer

from headrace.cli.printing import counted, table
from headrace.diagnose.wording import span
from headrace.terminal_text import harmless

results = typer.Typer(no_args_is_help=True)

HEADER = ("KEY", "KIND", "FORMAT", "SIZE", "AGE", "EXPIRES IN", "RUN")
PREVIEW_CHARACTERS = 2000
UNITS = ("B", "kB", "MB", "GB", "TB")

Url = Annotated[
    str, typer.Argument(help="Of the storage, as in spec.results.url; credentials come from the environment.")
]
Prefix = Annotated[str, typer.Option(help="Only below this folder, such as team-a/etl-7.")]


def register(app: typer.Typer) -> None:
    """Adds `headrace results` with its commands."""
    app.add_typer(results, name="results")


@results.callback()
def _group() -> None:
    """Stored results of tasks: list them, look into one, delete those that have expired."""


@results.command(name="list")
def list_(
    url: Url,
    *,
    prefix: Prefix = "",
    limit: Annotated[int, typer.Option(min=1, help="Look at this many at most; each takes two requests.")] = 1000,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="json has all that they say.")
    ] = "table",
) -> None:
    """Lists what is stored: kind, size, age, and which run has stored it."""
    from headrace.results import open_storage  # noqa: PLC0415 - other commands start without it
    from headrace.results.catalogue import entry  # noqa: PLC0415 - as above

    storage = open_storage(url)
    keys = list(islice(storage.list(prefix), limit + 1))
    found = [entry(storage, key) for key in sorted(keys[:limit])]
    if output == "json":
        print(
            json.dumps(
                [{"key": each.key, "size": each.size, "kind": each.kind, **each.facts} for each in found], indent=2
            )
        )
        return
    now = datetime.now(UTC)
    rows = [
        (
            each.key,
            each.kind,
            each.format,
            size(each.size),
            *ages(each.moment("created"), each.moment("expires"), now),
            each.run,
        )
        for each in found
    ]
    print(as_table(rows))
    if len(keys) > limit:
        print(f"there are more than {limit}; --prefix and --limit show others")


@results.command()
def show(url: Url, key: Annotated[str, typer.Argument(help="As `headrace results list` shows it.")]) -> None:
    """Shows one result: what it says of itself, and the beginning of a JSON value. Pickles are not opened."""
    from headrace.results import open_storage  # noqa: PLC0415 - as above
    from headrace.results.catalogue import entry, preview  # noqa: PLC0415 - as above

    storage = open_storage(url)
    found = entry(storage, key)
    facts = {"key": found.key, "size": f"{found.size} bytes", "kind": found.kind, **found.facts}
    width = max(map(len, facts))
    for name, value in facts.items():
        print(harmless(f"{name.ljust(width)}   {value}"))
    print(harmless(f"\n{preview(storage, found, PREVIEW_CHARACTERS)}"))


@results.command()
def prune(
    url: Url,
    *,
    prefix: Prefix = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what would go.")] = False,
) -> None:
    """Deletes results that have expired (spec.results.ttlSeconds), and lists them."""
    from headrace.results import open_storage  # noqa: PLC0415 - as above

    count = 0
    for key in open_storage(url).prune(prefix, dry_run=dry_run):
        print(key)
        count += 1
    print(f"{counted(count, 'expired result')} {'would be deleted' if dry_run else 'deleted'}")


def as_table(rows: Sequence[Sequence[str]]) -> str:
    """A line an object."""
    return table(HEADER, rows) if rows else "nothing is stored there"


def size(count: int) -> str:
    """Three digits at most and a unit, such as "12 MB"."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {UNITS[unit]}"


def ages(created: datetime | None, expires: datetime | None, now: datetime) -> tuple[str, str]:
    """How old it is, and when it expires; "" where it does not say."""
    return span(now - created) if created else "", span(expires - now) if expires else ""

"""`headrace history`: finished runs that are recorded in the history store, also when they have left the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer

from headrace.cli.deadletters import Since, age_from
from headrace.cli.printing import table
from headrace.diagnose.wording import span
from headrace.errors import UsageError
from headrace.terminal_text import harmless

if TYPE_CHECKING:
    from headrace.history import HistoryStore

history = typer.Typer(no_args_is_help=True)

HEADER: Final = ("NAMESPACE", "NAME", "OF", "PHASE", "REASON", "ATTEMPTS", "TOOK", "COST", "ENDED")

Store = Annotated[
    str,
    typer.Option(
        envvar="HEADRACE_HISTORY_URL",
        help="The store: sqlite:////path/history.db or postgresql://user@host/database. "
        "Its password is HEADRACE_HISTORY_PASSWORD, or what libpq finds.",
    ),
]
Output = Annotated[
    Literal["table", "json"], typer.Option("--output", "-o", help="json has every field, for other programs.")
]


def register(app: typer.Typer) -> None:
    """Adds `headrace history` with its commands."""
    app.add_typer(history, name="history")


@history.callback()
def _group() -> None:
    """Finished runs as the history store has them, also those that have left the cluster."""


@history.command(name="list")
def list_(  # noqa: PLR0913 - one argument an option
    *,
    store: Store = "",
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="Only of this namespace.")] = None,
    deployment: Annotated[str | None, typer.Option(help="Only of this Deployment.")] = None,
    flow: Annotated[str | None, typer.Option(help="Only of this Flow.")] = None,
    backfill: Annotated[str | None, typer.Option(help="Only of this Backfill.")] = None,
    phase: Annotated[str | None, typer.Option(help="Only those that ended so, such as Failed.")] = None,
    since: Since = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="This many at most.")] = 100,
    output: Output = "table",
) -> None:
    """Lists runs, the one that ended last first."""
    from headrace.history.reading import Question, listed  # noqa: PLC0415 - other commands start without it

    now = datetime.now(UTC)
    question = Question(
        namespace=namespace,
        deployment=deployment,
        flow=flow,
        backfill=backfill,
        phase=_phase(phase),
        since=now - age_from(since) if since else None,
    )
    with _opened(store) as opened:
        found = listed(opened, question, limit)
    if output == "json":
        print(json.dumps(found, indent=2))
    else:
        print(as_table(found, now) if found else "no run is recorded that is asked for")


@history.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the FlowRun.")],
    *,
    store: Store = "",
    namespace: Annotated[str, typer.Option("--namespace", "-n", help="Its namespace.")] = "default",
    output: Output = "table",
) -> None:
    """Shows all that is recorded of the runs of a name; a name may have been used more than once."""
    from headrace.history.reading import told  # noqa: PLC0415 - as above

    with _opened(store) as opened:
        found = told(opened, namespace, name)
    if not found:
        raise UsageError(
            f"no run {namespace}/{name} is recorded; headrace history list -n {namespace} lists those that are"
        )
    print(json.dumps(found, indent=2) if output == "json" else "\n\n".join(map(as_text, found)))


def as_table(found: Sequence[Mapping[str, Any]], now: datetime) -> str:
    """The table of these records, a line each."""
    return table(HEADER, [_row(each, now) for each in found])


def as_text(one: Mapping[str, Any]) -> str:
    """A line for each field that has a value; the log's end comes last, as it is but for commands to the terminal."""
    shown = {name: value for name, value in one.items() if value is not None and name != "log_tail"}
    width = max(map(len, shown))
    lines = [
        f"{name.ljust(width)}  {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in shown.items()
    ]
    return harmless("\n".join([*lines, *(["", "log_tail:", one["log_tail"].rstrip()] if one.get("log_tail") else [])]))


def _row(one: Mapping[str, Any], now: datetime) -> tuple[str, ...]:
    took = one["duration_s"]
    cost = f"{one['cost_amount']} {one['cost_currency'] or ''}".strip() if one["cost_amount"] is not None else ""
    return (
        one["namespace"],
        one["name"],
        one["deployment"] or one["flow"] or "",
        one["phase"],
        one["reason"] or "",
        str(one["attempt_count"] or 0),
        "" if took is None else f"{took:.1f}s" if took < 60 else span(timedelta(seconds=took)),
        cost,
        span(now - datetime.fromisoformat(one["finished_at"])),
    )


def _phase(phase: str | None) -> str | None:
    """As it is written in the API, however it was typed."""
    from headrace.api.conditions import Phase  # noqa: PLC0415 - the API's models; other commands start without them

    finished = {each.lower(): str(each) for each in Phase if each.finished}
    if phase is None or phase.lower() in finished:
        return finished[phase.lower()] if phase else None
    raise UsageError(f'--phase is "{phase}"; a run ends as one of {", ".join(finished.values())}')


@contextmanager
def _opened(url: str) -> Iterator[HistoryStore]:
    from headrace.history import open_history  # noqa: PLC0415 - as above

    if not url:
        raise UsageError("no history store is named; give --store, or set HEADRACE_HISTORY_URL as the operator has it")
    store = open_history(url, is_reader=True)
    try:
        yield store
    finally:
        store.close()

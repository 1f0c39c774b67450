"""`headrace failures`: the runs that failed and were not run again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from headrace.cli.cluster import Context, Namespace, in_cluster
from headrace.cli.deadletters import DeadLetter, Filters, ForReason, OfDeployment, OfFlow, Since, age_from, dead_letters
from headrace.cli.printing import table
from headrace.diagnose.wording import span
from headrace.instants import stamp

HEADER = ("NAMESPACE", "RUN", "OF", "REASON", "ATTEMPTS", "ENDED", "MESSAGE")
MESSAGE_WIDTH = 80


def register(app: typer.Typer) -> None:
    """Adds `headrace failures`."""
    app.command(name="failures")(failures)


def failures(  # noqa: PLR0913 - one argument an option
    *,
    namespace: Namespace = "",
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of every namespace.")] = False,
    deployment: OfDeployment = None,
    flow: OfFlow = None,
    since: Since = None,
    reason: ForReason = None,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="json has the whole messages.")
    ] = "table",
    context: Context = None,
) -> None:
    """
    Lists the runs that ended as Failed or Crashed and were not run again, newest first.

    `headrace rerun` runs them again.
    """
    now = datetime.now(UTC)
    filters = Filters(deployment, flow, now - age_from(since) if since else None, reason)
    letters = in_cluster(
        lambda api, here: dead_letters(api, "" if all_namespaces else here, filters),
        namespace=namespace,
        context=context,
    )
    print(as_json(letters) if output == "json" else as_table(letters, now))


def as_table(letters: Sequence[DeadLetter], now: datetime) -> str:
    """A line a run; long messages are cut."""
    if not letters:
        return "no failed run is left"
    return table(HEADER, [_row(letter, now) for letter in letters])


def as_json(letters: Sequence[DeadLetter]) -> str:
    """A list of objects."""
    return json.dumps([_object(letter) for letter in letters], indent=2)


def _row(letter: DeadLetter, now: datetime) -> tuple[str, ...]:
    message = " ".join(letter.message.split())
    cut = message if len(message) <= MESSAGE_WIDTH else f"{message[: MESSAGE_WIDTH - 1]}…"
    ended = f"{span(now - letter.ended)} ago"
    return letter.namespace, letter.name, letter.of, letter.reason, str(letter.attempts), ended, cut


def _object(letter: DeadLetter) -> dict[str, object]:
    return {
        "namespace": letter.namespace,
        "name": letter.name,
        "of": letter.of,
        "phase": letter.phase,
        "reason": letter.reason,
        "attempts": letter.attempts,
        "endedAt": stamp(letter.ended),
        "message": letter.message,
    }

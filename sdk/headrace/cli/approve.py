"""`headrace approve` and `headrace reject`: a person's answer to a run that pauses."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from headrace.cli.answering import Waiting, give, input_from, missing_fields, verdict, waiting_run, waiting_runs
from headrace.cli.arguments import text_parameters
from headrace.cli.cluster import Context, Namespace, in_cluster
from headrace.cli.printing import table
from headrace.diagnose.wording import span
from headrace.errors import UsageError

HEADER = ("NAMESPACE", "RUN", "PAUSE", "WAITS", "UNTIL", "ASKS")
MESSAGE_WIDTH = 60


def register(app: typer.Typer) -> None:
    """Adds `headrace approve` and `headrace reject`."""
    app.command(name="approve")(approve)
    app.command(name="reject")(reject)


def approve(  # noqa: PLR0913 - one argument an option
    run: Annotated[str | None, typer.Argument(help="Name of the FlowRun that waits.")] = None,
    *,
    list_: Annotated[bool, typer.Option("--list", help="Show what waits for an answer, and answer nothing.")] = False,
    all_namespaces: Annotated[bool, typer.Option("--all-namespaces", "-A", help="With --list: of all.")] = False,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A field that the run asks for. May be repeated."),
    ] = None,
    comment: Annotated[str, typer.Option(help="Why, for those who look at the run later.")] = "",
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """
    Says yes to a run that waits for a person: `headrace approve etl-7 -p replicas=3`, or `headrace approve --list`.

    On a terminal it asks for fields that are not given. Exit status 1 where the answer cannot be taken.
    """
    if list_:
        found = in_cluster(
            lambda api, here: waiting_runs(api, "" if all_namespaces else here), namespace=namespace, context=context
        )
        print(as_table(found, datetime.now(UTC)))
        return
    if run is None or all_namespaces:
        raise UsageError("name one run that waits: headrace approve etl-7; headrace approve --list shows them")
    waiting = in_cluster(lambda api, here: waiting_run(api, here, run), namespace=namespace, context=context)
    given = asked_for(waiting, text_parameters(param or ()))
    answer = {"decision": "Approve", **({"input": given} if given else {}), **_comment(comment)}
    _give(waiting, answer, context)


def reject(
    run: Annotated[str, typer.Argument(help="Name of the FlowRun that waits.")],
    *,
    reason: Annotated[str, typer.Option(help="Why: the flow gets it, and so do people who look at the run.")],
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """Says no to a run that waits for a person: `headrace reject etl-7 --reason "not on a Friday"`."""
    waiting = in_cluster(lambda api, here: waiting_run(api, here, run), namespace=namespace, context=context)
    _give(waiting, {"decision": "Reject", **_comment(reason)}, context)


def as_table(found: Sequence[Waiting], now: datetime) -> str:
    """A line a run; long questions are cut."""
    return table(HEADER, [_row(waiting, now) for waiting in found]) if found else "no run waits for an answer"


def asked_for(waiting: Waiting, texts: Mapping[str, str]) -> dict[str, Any]:
    """What the run asks for: as it was given, the rest asked for where a person is there. Raises: UsageError."""
    given = input_from(waiting, texts)
    missing = missing_fields(waiting, given)
    if sys.stdin.isatty() and waiting.schema is not None and (missing or not texts):
        from headrace.pausing.forms import filled  # noqa: PLC0415 - on a terminal only
        from headrace.pausing.terminal import PERSON  # noqa: PLC0415 - as above

        PERSON.write(str(waiting.pause.get("message") or f'pause "{waiting.pause["name"]}" asks for:'))
        # The cluster checks what was typed: it knows the schema, and its verdict is waited for.
        return filled(waiting.schema, PERSON, lambda _given: None, given)
    if missing:
        raise UsageError(f'pause "{waiting.pause["name"]}" of {waiting.run} asks for more: {" ".join(missing)}')
    return given


def _row(waiting: Waiting, now: datetime) -> tuple[str, ...]:
    pause = waiting.pause
    asks = " ".join(str(pause.get("message") or "").split())
    cut = asks if len(asks) <= MESSAGE_WIDTH else f"{asks[: MESSAGE_WIDTH - 1]}…"
    waits = span(now - datetime.fromisoformat(pause["since"]))
    return waiting.namespace, waiting.run, pause["name"], waits, str(pause.get("until") or ""), cut


def _comment(text: str) -> dict[str, str]:
    from headrace.api.flowrun import MAX_COMMENT  # noqa: PLC0415 - the API's models; other commands start without them

    if len(text) > MAX_COMMENT:
        raise UsageError(f"the comment has {len(text)} characters, at most {MAX_COMMENT} are kept; link to the rest")
    return {"comment": text} if text else {}


def _give(waiting: Waiting, answer: Mapping[str, Any], context: str | None) -> None:
    async def work(api: Any, _here: str) -> str:
        await give(api, waiting, answer)
        return await verdict(api, waiting)

    print(in_cluster(work, namespace=waiting.namespace, context=context))

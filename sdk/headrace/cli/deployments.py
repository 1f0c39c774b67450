"""`headrace deployments`: what runs when, and whether anything holds it back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Annotated

import typer

from headrace.api import keys
from headrace.cli.budgets import is_budget_spent, spent_text
from headrace.cli.cluster import AllNamespaces, Api, Context, Namespace, in_cluster, listed, path_of
from headrace.cli.names import deployment_names
from headrace.cli.outputs import Column, Object, Output, printed, say, with_kind
from headrace.cli.printing import painted, paints, shortened
from headrace.cli.references import Reference
from headrace.cli.steering import found_object
from headrace.deployments.triggers import trigger_text
from headrace.diagnose.wording import condition, span

MESSAGE_WIDTH = 80


def register(app: typer.Typer) -> None:
    """Adds `headrace deployments`."""
    app.command(name="deployments")(deployments)


def deployments(
    name: Annotated[
        str | None, typer.Argument(metavar="[DEPLOYMENT]", help="One of them.", autocompletion=deployment_names)
    ] = None,
    *,
    namespace: Namespace = "",
    all_namespaces: AllNamespaces = False,
    output: Output = "table",
    context: Context = None,
) -> None:
    """Lists Deployments, the one that runs next first: schedules, triggers, next time, runs under way, how the last one ended."""

    async def work(api: Api, here: str) -> list[dict[str, object]]:
        if name is not None:
            return [await found_object(api, here, Reference(keys.DEPLOYMENTS, name), f"show deployment {name}")]
        return await listed(api, path_of(keys.DEPLOYMENTS, "" if all_namespaces else here))

    found = in_cluster(work, namespace=namespace, context=context)
    shown = with_kind(sorted(found, key=_turn), "Deployment")
    shape = columns(datetime.now(UTC), namespaces=all_namespaces, colours=paints(sys.stdout))
    say(printed(shown, output, shape, none="there is no Deployment; headrace render makes one of a flow"))


def columns(now: datetime, *, namespaces: bool, colours: bool) -> list[Column]:
    """The columns of the table of Deployments; `namespaces` puts NAMESPACE first."""

    def last(found: Object) -> str:
        word = ((found.get("status") or {}).get("lastRun") or {}).get("phase") or ""
        return painted(word, word) if colours else word

    head = [Column("NAMESPACE", lambda found: found["metadata"]["namespace"])] if namespaces else []
    return [
        *head,
        Column("NAME", lambda found: found["metadata"]["name"]),
        Column("FLOW", lambda found: found["spec"]["flowRef"]["name"]),
        Column("SCHEDULES", _schedules),
        Column("TRIGGERS", _triggers),
        Column("NEXT", lambda found: _next(found, now)),
        Column("ACTIVE", lambda found: _count(found, "activeCount")),
        Column("QUEUED", lambda found: _count(found, "queuedCount")),
        Column("LAST", last),
        Column("STATE", state_of),
        Column(
            "LAST-RUN", lambda found: ((found.get("status") or {}).get("lastRun") or {}).get("name") or "", wide=True
        ),
        Column("SPENT", spent_text, wide=True),
        Column("FAILURES", lambda found: _count(found, "consecutiveFailures"), wide=True),
        Column(
            "MESSAGE", lambda found: shortened(condition(found, "Ready").get("message") or "", MESSAGE_WIDTH), wide=True
        ),
    ]


def state_of(found: Object) -> str:
    """What holds it back, in a word; "ready" where nothing does."""
    status = found.get("status") or {}
    circuit = (status.get("circuit") or {}).get("state")
    if found["spec"].get("suspend"):
        return "suspended"
    if circuit in {"Open", "HalfOpen"}:
        return f"circuit {'open' if circuit == 'Open' else 'half open'}"
    if is_budget_spent(found):
        return "budget spent"
    ready = condition(found, "Ready")
    return "ready" if ready.get("status") == "True" else str(ready.get("reason") or "not looked at")


def _schedules(found: Object) -> str:
    """Each as it is written, in few words."""

    def one(schedule: Object) -> str:
        text = schedule.get("cron") or schedule.get("rrule")
        text = text or (f"every {schedule['intervalSeconds']}s" if "intervalSeconds" in schedule else "")
        zone = schedule.get("timeZone")
        return f"{text} {zone}" if zone and zone not in {"Etc/UTC", "UTC"} else str(text)

    return shortened("; ".join(map(one, found["spec"].get("schedules") or ())), 40)


def _triggers(found: Object) -> str:
    """What each waits for, in few words."""
    return shortened("; ".join(map(trigger_text, found["spec"].get("triggers") or ())), 40)


def _next(found: Object, now: datetime) -> str:
    """When, and in what time."""
    times = (found.get("status") or {}).get("nextSchedules") or ()
    if not times or found["spec"].get("suspend"):
        return ""
    at = datetime.fromisoformat(times[0]["time"])
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}" + (f" (in {span(at - now)})" if at > now else "")


def _count(found: Object, field: str) -> str:
    return str((found.get("status") or {}).get(field) or 0)


def _turn(found: Object) -> tuple[str, str, str]:
    times = (found.get("status") or {}).get("nextSchedules") or ()
    metadata = found["metadata"]
    return (str(times[0]["time"]) if times else "9999", metadata["namespace"], metadata["name"])

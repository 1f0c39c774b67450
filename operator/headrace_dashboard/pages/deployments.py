"""The list of Deployments, and one of them: its schedules, its state, a form that starts a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace.api import keys
from headrace.api.trigger import automation_name
from headrace.deployments.triggers import trigger_text
from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import (
    Frame,
    about,
    badge,
    button,
    cells,
    csrf,
    facts,
    once,
    page,
    run_link,
    section,
    table,
)
from headrace_dashboard.pages.runs import HEADINGS as RUN_HEADINGS
from headrace_dashboard.pages.runs import run_row
from headrace_dashboard.pages.schema_form import inputs
from headrace_dashboard.pages.selecting import Query
from headrace_dashboard.pages.times import NONE, ago
from headrace_dashboard.watching.records import Kept, RunRecord

HEADINGS: Final = ("Deployment", "State", "Flow", "Next run", "Active", "Waiting", "Last run")
TRIGGERS: Final = ("Trigger", "Event", "Filter", "State", "What has fired")
SCHEDULES: Final = ("Schedule", "When", "Time zone", "Next run", "Missed")


@dataclass(frozen=True, slots=True)
class DeploymentView:
    """
    A Deployment with all that its page shows.

    Attributes: `schema` is that of its Flow's parameters and `values` what its runs get unless a person says otherwise; `runs` are its newest.
    `form_id` is of this showing of the form: what it starts, it starts once.
    """

    deployment: Kept
    schema: Mapping[str, Any]
    values: Mapping[str, Any]
    runs: Sequence[RunRecord]
    may_start: bool
    may_change: bool
    form_id: str = ""


def deployments_page(frame: Frame, deployments: Sequence[Kept], now: datetime) -> str:
    """The page with the list of Deployments."""
    rows = [_row(each, now) for each in deployments]
    listed = table(HEADINGS, rows, caption="Deployments", empty="There are no Deployments that you may see.")
    return page(
        frame, "Deployments", tag("div", listed, id="deployments", data_live=True), live=about(keys.DEPLOYMENTS.plural)
    )


def deployment_page(frame: Frame, view: DeploymentView, now: datetime) -> str:
    """The page of one Deployment."""
    deployment = view.deployment
    return page(
        frame,
        deployment.name,
        section("State", _state(deployment, now), _suspension(frame, view), key="state"),
        section("Schedules", _schedules(deployment, now), key="schedules"),
        section("Triggers", _triggers(deployment), key="triggers") if deployment.spec.get("triggers") else Html(""),
        _start(frame, view),
        section("Newest runs", _runs(view, now), key="runs"),
        live=about(keys.DEPLOYMENTS.plural, keys.FLOWRUNS.plural, namespace=deployment.namespace),
    )


def state_of(deployment: Kept) -> tuple[str, str]:
    """Whether it starts runs, in a word, and why not, in a sentence."""
    circuit = deployment.status.get("circuit") or {}
    ready = condition(deployment.status, "Ready")
    if ready.get("status") == "False":
        return "Failed", str(ready.get("message") or ready.get("reason") or "")
    if circuit.get("state") in {"Open", "HalfOpen"}:
        return str(circuit["state"]), f"It failed too often in a row; it tries again at {circuit.get('retryAt')}."
    if deployment.spec.get("suspend"):
        return "Suspended", "Its schedules and triggers start no runs."
    budget = condition(deployment.status, "BudgetExceeded")
    if budget.get("status") == "True" and deployment.spec.get("budget", {}).get("action") == "Stop":
        return "Suspended", f"It starts no runs: {budget.get('message')}."
    return "Ready", ""


def condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """One condition; empty for none."""
    return next((each for each in status.get("conditions") or () if each["type"] == kind), {})


def timing(schedule: Mapping[str, Any]) -> str:
    """When a schedule fires, as it is written."""
    if "intervalSeconds" in schedule:
        return f"every {schedule['intervalSeconds']} s"
    return str(schedule.get("cron") or schedule.get("rrule") or "")


def _row(deployment: Kept, now: datetime) -> Html:
    status = deployment.status
    word, why = state_of(deployment)
    last = status.get("lastRun")
    following = (status.get("nextSchedules") or [{}])[0].get("time")
    link = tag("a", deployment.name, href=f"/deployments/{deployment.namespace}/{deployment.name}")
    values = (
        join((link, tag("small", deployment.namespace))),
        tag("span", badge(word), title=why or None),
        deployment.spec["flowRef"]["name"],
        ago(following, now) if not deployment.spec.get("suspend") else NONE,
        status.get("activeCount", 0),
        status.get("queuedCount", 0),
        join((badge(last["phase"]), " ", run_link(deployment.namespace, last["name"], "Show"))) if last else NONE,
    )
    return cells(HEADINGS, values)


def _state(deployment: Kept, now: datetime) -> Html:
    word, why = state_of(deployment)
    spec, status = deployment.spec, deployment.status
    concurrency = spec.get("concurrency")
    held = f"{concurrency['limit']} at once, then {concurrency.get('onConflict', 'Queue')}" if concurrency else None
    limits = ", ".join(each["name"] for each in spec.get("limits") or ())
    return join(
        (
            tag("p", badge(word), " ", why, class_="phase"),
            facts(
                (
                    ("Namespace", deployment.namespace),
                    ("Flow", spec["flowRef"]["name"]),
                    ("Revision", spec["flowRef"].get("revision") or "the latest"),
                    ("Active", str(status.get("activeCount", 0))),
                    ("Waiting", str(status.get("queuedCount", 0))),
                    ("Failed in a row", str(status.get("consecutiveFailures", 0))),
                    ("Concurrency", held),
                    ("Limits", limits or None),
                    ("Budget", _budget(deployment)),
                    ("Created", ago(deployment.created, now)),
                )
            ),
        )
    )


def _budget(deployment: Kept) -> str | None:
    """What is spent of it, and until when it is meant."""
    budget, spent = deployment.spec.get("budget"), deployment.status.get("spent")
    if budget is None:
        return None
    of = f"{budget['amount']} {budget.get('currency', 'USD')} a {budget.get('period', 'Month').lower()}"
    return (
        f"{of}; nothing is counted yet" if spent is None else f"{spent['amount']} of {of} spent; until {spent['until']}"
    )


def _suspension(frame: Frame, view: DeploymentView) -> Html:
    if not view.may_change:
        return Html("")
    path = f"/deployments/{view.deployment.namespace}/{view.deployment.name}"
    if view.deployment.spec.get("suspend"):
        return tag("div", button(frame, f"{path}/resume", "Resume schedules"), class_="actions")
    return tag("div", button(frame, f"{path}/suspend", "Suspend schedules", kind="plain"), class_="actions")


def _schedules(deployment: Kept, now: datetime) -> Html:
    following = {each["name"]: each["time"] for each in deployment.status.get("nextSchedules") or ()}
    memory = {each["name"]: each for each in deployment.status.get("schedules") or ()}
    rows = [
        cells(
            SCHEDULES,
            (
                each["name"],
                tag("code", timing(each)),
                each.get("timeZone", "Etc/UTC"),
                badge("Suspended") if each.get("suspend") else ago(following.get(each["name"]), now),
                tag(
                    "span",
                    str(memory.get(each["name"], {}).get("missed", 0)),
                    title=memory.get(each["name"], {}).get("lastMissedReason"),
                ),
            ),
        )
        for each in deployment.spec.get("schedules") or ()
    ]
    return table(SCHEDULES, rows, caption="Schedules", empty="None: runs are started by hand.")


def _triggers(deployment: Kept) -> Html:
    """Events that start it; its Automations tell what has fired."""
    blocked = condition(deployment.status, "Triggering")
    rows = [
        cells(
            TRIGGERS,
            (
                each["name"],
                trigger_text(each),
                tag("code", each["filter"]) if each.get("filter") else NONE,
                badge("Suspended") if each.get("suspend") or deployment.spec.get("suspend") else NONE,
                tag(
                    "a",
                    "Show",
                    href=f"/automations/{deployment.namespace}/{automation_name(deployment.name, each['name'])}",
                ),
            ),
        )
        for each in deployment.spec["triggers"]
    ]
    why = tag("p", str(blocked.get("message"))) if blocked.get("status") == "False" else None
    return join((why, table(TRIGGERS, rows, caption="Triggers", empty="None.")))


def _start(frame: Frame, view: DeploymentView) -> Html:
    """The form; it is no live part, so that nothing that is typed is lost."""
    if not view.may_start:
        return Html("")
    path = f"/deployments/{view.deployment.namespace}/{view.deployment.name}/start"
    form = tag(
        "form",
        csrf(frame),
        once("form", view.form_id),
        inputs(view.schema, view.values),
        tag("button", "Run now"),
        method="post",
        action=path,
        class_="stacked",
    )
    return tag("section", tag("h2", "Run now"), form, id="start")


def _runs(view: DeploymentView, now: datetime) -> Html:
    rows = [run_row(run, now) for run in view.runs]
    query = Query(namespace=view.deployment.namespace, deployment=view.deployment.name)
    every = tag("p", tag("a", "All of its runs", href=query.address("/runs"))) if rows else None
    return join((table(RUN_HEADINGS, rows, caption="Its newest runs", empty="None yet."), every))

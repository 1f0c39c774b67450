"""One run: where it is and why, its attempts and tasks, what it was given and what it left."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace.api import keys
from headrace.api.audit import account_of
from headrace.api.conditions import FINISHED, Phase, Reason
from headrace_dashboard.pages.concealing import ALL_SECRET, concealed
from headrace_dashboard.pages.html import Html, join, outside, tag
from headrace_dashboard.pages.layout import (
    Frame,
    about,
    badge,
    button,
    cells,
    csrf,
    facts,
    page,
    run_link,
    section,
    table,
)
from headrace_dashboard.pages.schema_form import inputs
from headrace_dashboard.pages.timeline import Bar, timeline
from headrace_dashboard.pages.times import NONE, ago, duration, lasted

ATTEMPTS: Final = ("Attempt", "Pod", "Node", "Pool", "Ended as", "Exit code", "Took", "Cost", "Log")
EVENTS: Final = ("When", "Type", "Reason", "Message", "Times")
UNKNOWN: Final = tag(
    "p", "Its Flow is not there any more, and nobody else says which of them are secret: none is shown.", class_="hint"
)
GIB: Final = 2**30
MIB: Final = 2**20
KIND_OF_REASON: Final[Mapping[str, str]] = {"Succeeded": "succeeded", "Cancelled": "cancelled", "Paused": "paused"}


@dataclass(frozen=True, slots=True)
class Allowed:
    """What the visitor may do with the run."""

    change: bool = False
    create: bool = False
    logs: bool = False
    events: bool = False


@dataclass(frozen=True, slots=True)
class RunView:
    """
    A run with all that its page shows.

    Attributes: `run` is the FlowRun as the API gives it, `schema` that of its Flow's parameters, None where it is not known, `events` the
    Events about it, the last one first. `goes` are runs that are another go of this one, `children` tasks and runs that it started.
    """

    run: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    events: Sequence[Mapping[str, Any]]
    goes: Sequence[str]
    children: Sequence[tuple[str, str]]
    attempt: int
    next_go: int = 1
    """Which go of it the button makes that runs it again."""
    is_recorded: bool = False
    """Whether it is from the history store: its pods are gone, and their logs with them."""

    @property
    def namespace(self) -> str:
        """The run's namespace."""
        return str(self.run["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """The run's name."""
        return str(self.run["metadata"]["name"])

    @property
    def spec(self) -> Mapping[str, Any]:
        """The run's spec."""
        found: Mapping[str, Any] = self.run["spec"]
        return found

    @property
    def status(self) -> Mapping[str, Any]:
        """Of the run; empty as long as the operator has said nothing."""
        return self.run.get("status") or {}

    @property
    def phase(self) -> str:
        """Pending as long as the operator has said nothing."""
        return str(self.status.get("phase") or Phase.PENDING)

    @property
    def attempts(self) -> Sequence[Mapping[str, Any]]:
        """The run's attempts, oldest first."""
        return self.status.get("attempts") or ()

    @property
    def is_over(self) -> bool:
        """Whether nothing changes any more."""
        return self.phase in FINISHED


def run_page(frame: Frame, view: RunView, allowed: Allowed, now: datetime) -> str:
    """The page of one run."""
    return page(
        frame,
        view.name,
        section("Where it is", where_it_is(view, now), _actions(frame, view, allowed), key="status"),
        _question(frame, view, allowed),
        section("Attempts", attempts(view, allowed, now), key="attempts"),
        _tasks(view, allowed),
        _log(view, allowed),
        section("Parameters", parameters(view), key="parameters"),
        section("Result", result(view), key="result"),
        section("Artifacts", artifacts(view), key="artifacts"),
        section("Events", _events(view, allowed, now), key="events"),
        section("More", more(view, now), key="more"),
        live=about(keys.FLOWRUNS.plural, namespace=view.namespace, name=view.name),
        script="log.js",
    )


def where_it_is(view: RunView, now: datetime) -> Html:
    """Phase, reason and figures."""
    status, spec = view.status, view.spec
    reason = str(status.get("reason") or "")
    why = meaning(reason)
    ref = spec.get("deploymentRef")
    return join(
        (
            tag("p", badge(view.phase), " ", tag("strong", reason) if reason != view.phase else None, class_="phase"),
            tag("p", str(status.get("message") or ""), class_="message") if status.get("message") else None,
            tag("p", why, class_="hint") if why else None,
            facts(
                (
                    ("Namespace", view.namespace),
                    ("Deployment", ref["name"] if ref else None),
                    ("Flow", (spec.get("flowRef") or {}).get("name")),
                    ("Waits for", _waits_for(status)),
                    ("Next attempt", ago(status["nextAttemptAt"], now) if status.get("nextAttemptAt") else None),
                    ("Created", ago(view.run["metadata"]["creationTimestamp"], now)),
                    ("Took", lasted(status.get("startedAt"), status.get("finishedAt"), now)),
                    ("Tasks", _task_counts(status.get("tasks"))),
                    ("Cost", _cost(status.get("cost"))),
                    ("Used", _used(status.get("usage"))),
                )
            ),
        )
    )


def meaning(reason: str) -> str:
    """What the documentation says of a reason; empty for one that it does not know."""
    try:
        return Reason(reason).meaning
    except ValueError:
        return ""


def _waits_for(status: Mapping[str, Any]) -> str | None:
    """What the condition Admitted says as long as it does not hold."""
    for condition in status.get("conditions") or ():
        if condition["type"] == "Admitted" and condition["status"] == "False" and status.get("phase") not in FINISHED:
            return f"{condition['reason']}: {condition.get('message') or ''}"
    return None


def _actions(frame: Frame, view: RunView, allowed: Allowed) -> Html:
    path = f"/runs/{view.namespace}/{view.name}"
    buttons: list[Html] = []
    if allowed.change and not view.is_over and not view.spec.get("cancel"):
        buttons.append(button(frame, f"{path}/cancel", "Cancel", kind="danger"))
    if allowed.change and not view.is_over and view.spec.get("suspend"):
        buttons.append(button(frame, f"{path}/resume", "Resume"))
    elif allowed.change and not view.is_over:
        buttons.append(button(frame, f"{path}/suspend", "Hold the next attempt", kind="plain"))
    if allowed.create and view.is_over and "task" not in view.spec:
        buttons.append(button(frame, f"{path}/retry", "Run again", fields={"go": str(view.next_go)}))
    return tag("div", *buttons, class_="actions") if buttons else Html("")


def _question(frame: Frame, view: RunView, allowed: Allowed) -> Html:
    """What the flow asks, with a form for those who may answer; what is typed stays while the rest of the page changes."""
    pause = view.status.get("pause") or {}
    if pause.get("kind") != "Approval":
        return tag("section", id="question", data_live=True)
    body = [tag("p", str(pause.get("message") or "The flow waits for an approval."), class_="message")]
    if pause.get("problem"):
        body.append(tag("p", f"The answer was refused: {pause['problem']}", class_="notice bad", role="alert"))
    if allowed.change:
        body.append(
            tag(
                "form",
                csrf(frame),
                tag("input", type="hidden", name="pause", value=str(pause["name"])),
                inputs(pause.get("schema") or {}),
                tag("label", tag("span", "Comment"), tag("input", name="comment", maxlength=256)),
                tag("button", "Approve", name="decision", value="Approve"),
                tag("button", "Reject", name="decision", value="Reject", class_="danger", formnovalidate=True),
                method="post",
                action=f"/runs/{view.namespace}/{view.name}/answer",
                class_="stacked",
            )
        )
    return section("It asks", *body, key="question")


def attempts(view: RunView, allowed: Allowed, now: datetime) -> Html:
    """Over time, and as a table."""
    bars = [
        Bar(
            f"Attempt {each['number']}",
            datetime.fromisoformat(each["startedAt"]),
            datetime.fromisoformat(each["finishedAt"]) if each.get("finishedAt") else None,
            _kind(each),
            str(each.get("reason") or ""),
        )
        for each in view.attempts
        if each.get("startedAt")
    ]
    rows = [_attempt(view, each, allowed, now) for each in view.attempts]
    listed = table(ATTEMPTS, rows, caption="Attempts", empty="No attempt has started.")
    return join((timeline(bars, now, title="Attempts over time"), listed))


def _attempt(view: RunView, attempt: Mapping[str, Any], allowed: Allowed, now: datetime) -> Html:
    number = attempt["number"]
    path = f"/runs/{view.namespace}/{view.name}"
    ended = tag("span", str(attempt["reason"]), title=attempt.get("message")) if attempt.get("reason") else NONE
    shown = tag("a", "Show", href=f"{path}?attempt={number}#log", aria_label=f"Log of attempt {number}")
    values = (
        number,
        attempt["pod"],
        attempt.get("node") or NONE,
        attempt.get("pool") or NONE,
        ended,
        NONE if attempt.get("exitCode") is None else attempt["exitCode"],
        lasted(attempt.get("startedAt"), attempt.get("finishedAt"), now),
        _cost(attempt.get("cost")) or NONE,
        shown if allowed.logs else NONE,
    )
    return cells(ATTEMPTS, values)


def _kind(attempt: Mapping[str, Any]) -> str:
    if not attempt.get("finishedAt"):
        return "running"
    return KIND_OF_REASON.get(str(attempt.get("reason")), "failed")


def _tasks(view: RunView, allowed: Allowed) -> Html:
    """The place for the tasks, which the script fills from the log as it comes."""
    if not (allowed.logs and view.attempts):
        return tag("section", id="tasks-section", data_live=True)
    return section(
        "Tasks",
        tag("div", tag("p", "The tasks of the attempt are read from its log.", class_="empty"), id="tasks"),
        key="tasks-section",
        keep=str(view.attempt),
    )


def _log(view: RunView, allowed: Allowed) -> Html:
    if not view.attempts:
        return section("Log", tag("p", "No pod has started.", class_="empty"), key="log")
    if not allowed.logs:
        return section(
            "Log", tag("p", "You may not read logs (get pods/log) in this namespace.", class_="empty"), key="log"
        )
    path = f"/runs/{view.namespace}/{view.name}/attempts/{view.attempt}"
    return section(
        f"Log of attempt {view.attempt}",
        tag(
            "p",
            tag("label", tag("input", type="checkbox", id="follow", checked=True), " Follow"),
            tag("label", tag("span", "Only lines with"), tag("input", type="search", id="log-filter")),
            tag("a", "As text", href=f"{path}/log.txt"),
            tag("span", "", id="log-state", role="status"),
            class_="log-tools",
        ),
        tag("ol", id="log-lines", data_log_url=f"{path}/log", tabindex="0", aria_label="Log"),
        key="log",
        keep=str(view.attempt),
    )


def parameters(view: RunView) -> Html:
    """Those that it got, but for what is secret; which that is its Flow says, and nobody else."""
    given = view.status.get("parameters")
    values = view.spec.get("parameters") if given is None else given
    if not values:
        return tag("p", "None.", class_="empty")
    shown = concealed(values, ALL_SECRET if view.schema is None else view.schema)
    return join(
        (UNKNOWN if view.schema is None else None, facts((name, _json(value)) for name, value in shown.items()))
    )


def result(view: RunView) -> Html:
    """What it returned, or where that is."""
    found = view.status.get("result") or {}
    if "value" in found:
        return _json(found["value"])
    if found.get("url"):
        return tag("p", "Stored at ", tag("code", str(found["url"])))
    if found.get("omitted"):
        return tag("p", "Too large to be kept; set spec.results.url of the Flow.", class_="empty")
    return tag("p", "None.", class_="empty")


def artifacts(view: RunView) -> Html:
    """The table of the run's artifacts, a line each."""
    rows = [
        cells(
            ("Name", "Kind", "What", "Where"),
            (
                each["name"],
                each["kind"],
                each.get("description") or NONE,
                outside(each["url"], "Open") if each.get("url") else _in_the_log(view, each),
            ),
        )
        for each in view.status.get("artifacts") or ()
    ]
    return table(("Name", "Kind", "What", "Where"), rows, caption="Artifacts", empty="None.")


def _in_the_log(view: RunView, artifact: Mapping[str, Any]) -> Html | str:
    """To what it says; of progress, the description tells all."""
    if artifact["kind"] not in {"markdown", "table"} or view.is_recorded:
        return "In the log"
    return tag("a", "Read", href=f"/runs/{view.namespace}/{view.name}/artifacts/{artifact['name']}")


def _events(view: RunView, allowed: Allowed, now: datetime) -> Html:
    if not allowed.events:
        return tag("p", "You may not list Events in this namespace.", class_="empty")
    rows = [
        cells(
            EVENTS,
            (
                ago(each.get("lastTimestamp") or each.get("eventTime") or each["metadata"]["creationTimestamp"], now),
                str(each.get("type") or ""),
                str(each.get("reason") or ""),
                str(each.get("message") or ""),
                int(each.get("count") or 1),
            ),
        )
        for each in view.events
    ]
    return table(EVENTS, rows, caption="Events, latest first", empty="None are kept.")


def more(view: RunView, now: datetime) -> Html:
    """What it belongs to, and who did what with it."""
    status, spec, metadata = view.status, view.spec, view.run["metadata"]
    labels = metadata.get("labels") or {}
    parent = (spec.get("task") or {}).get("parent") or spec.get("startedBy")
    rerun_of = labels.get(keys.RERUN_OF_LABEL)
    lineage = status.get("lineage") or {}
    pauses = [f"{each['name']}: {each['decision']}" for each in status.get("answers") or ()]
    children = [join((run_link(view.namespace, name), f" {phase}")) for name, phase in view.children]
    return facts(
        (
            ("Revision", status.get("flowRevision")),
            ("Scheduled for", spec.get("scheduledTime")),
            ("Priority", str(spec["priority"]) if spec.get("priority") is not None else None),
            ("Started by", run_link(parent.get("namespace") or view.namespace, parent["name"]) if parent else None),
            ("Another go of", run_link(view.namespace, rerun_of) if rerun_of else None),
            ("Run again as", _listed([run_link(view.namespace, each) for each in view.goes])),
            ("Started", _listed(children)),
            ("Pauses", ", ".join(pauses) or None),
            ("Read", _listed([tag("code", each) for each in lineage.get("inputs") or ()])),
            ("Written", _listed([tag("code", each) for each in lineage.get("outputs") or ()])),
            ("Labels", _listed([tag("code", f"{key}={value}") for key, value in sorted(labels.items())])),
            ("Asked for by", (metadata.get("annotations") or {}).get("headrace.dev/asked-by")),
            ("Who did what", _listed([tag("code", each) for each in account_of(view.run)])),
            ("UID", tag("code", metadata["uid"])),
            ("Queued", ago(status["queuedAt"], now) if status.get("queuedAt") else None),
        )
    )


def _listed(entries: Sequence[Html]) -> Html | None:
    return tag("ul", *(tag("li", each) for each in entries)) if entries else None


def _json(value: Any) -> Html:
    return tag("pre", value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False))


def _task_counts(tasks: Mapping[str, Any] | None) -> str | None:
    if not tasks:
        return None
    named = [f"{tasks[name]} {name}" for name in ("succeeded", "failed", "cached", "retried") if tasks.get(name)]
    return ", ".join([f"{tasks.get('total', 0)} in all", *named])


def _cost(cost: Mapping[str, Any] | None) -> str | None:
    return f"{cost['amount']} {cost['currency']}" if cost else None


def _used(usage: Mapping[str, Any] | None) -> str | None:
    if not usage:
        return None
    parts = []
    if usage.get("cpuSeconds") is not None:
        parts.append(f"{duration(usage['cpuSeconds'])} of CPU")
    memory = usage.get("maxMemoryBytes")
    if memory is not None:
        parts.append(f"{memory / GIB:.1f} GiB of memory" if memory >= GIB else f"{memory / MIB:.0f} MiB of memory")
    return ", ".join(parts) or None

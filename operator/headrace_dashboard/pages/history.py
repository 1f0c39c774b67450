"""Runs as the history store has them: the list, and one that has left the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from headrace.api import keys
from headrace.api.conditions import FINISHED
from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, badge, cells, page, section, table
from headrace_dashboard.pages.run import (
    Allowed,
    RunView,
    artifacts,
    attempts,
    more,
    parameters,
    result,
    where_it_is,
)
from headrace_dashboard.pages.runs import SPAN_NAMES, choice, text_field
from headrace_dashboard.pages.selecting import LONGER_SPANS, Query
from headrace_dashboard.pages.times import NONE, ago, duration, exact

Record = Mapping[str, Any]
"""What the store has of a run, by column."""
HEADINGS: Final = ("Run", "Phase", "Of", "Ended", "Took", "Attempts", "Cost", "Why")
GROUP_NAMES: Final = (("dead", "Failed or crashed"),)


@dataclass(frozen=True, slots=True)
class Listed:
    """
    A page of the list.

    Attributes: `present` are the uids of those that are in the cluster still; `following` is the cursor of the next page, empty on the last.
    `problem` says why there is nothing; empty: nothing is wrong.
    """

    records: Sequence[Record] = ()
    present: frozenset[str] = frozenset()
    following: str = ""
    namespaces: Sequence[str] = ()
    problem: str = ""


def history_page(frame: Frame, query: Query, listed: Listed, now: datetime) -> str:
    """The whole page. It stands still: what is recorded does not change."""
    rows = [_row(record, listed, now) for record in listed.records]
    empty = listed.problem or "No run that has ended matches these filters."
    found = table(HEADINGS, rows, caption="Runs that have ended, the last one first", empty=empty)
    return page(frame, "History", _filters(query, listed.namespaces), found, _paging(query, listed))


def recorded_page(frame: Frame, record: Record, view: RunView, *, beside: Sequence[Record], now: datetime) -> str:
    """
    One run.

    Args:
        view: Made of the record, by `as_run`.
        beside: Others of the name.
    """
    why = str(record.get("refused") or "")
    return page(
        frame,
        view.name,
        tag("p", "From the history: this run has left the cluster.", class_="notice", role="note"),
        tag("p", f"The history store has taken no more of it: {why}", class_="notice bad") if why else Html(""),
        section("Where it was", where_it_is(view, now), key="status"),
        section("Attempts", attempts(view, Allowed(), now), key="attempts"),
        section("End of the log", _log(record), key="log"),
        section("Parameters", parameters(view), key="parameters"),
        section("Result", result(view), key="result"),
        section("Artifacts", artifacts(view), key="artifacts"),
        section("More", more(view, now), key="more"),
        section("Others of this name", _others(record, beside), key="others") if beside else Html(""),
    )


def as_run(record: Record) -> dict[str, Any]:
    """The FlowRun that it was, as far as the record has it."""
    noted = "\n".join(f"{each['time']} {each['user']} {each['what']}" for each in record.get("audit") or ())
    return {
        "metadata": {
            "namespace": record["namespace"],
            "name": record["name"],
            "uid": record["uid"],
            "creationTimestamp": record.get("created_at") or record["finished_at"],
            "labels": record.get("labels") or {},
            "annotations": {keys.AUDIT_ANNOTATION: noted} if noted else {},
        },
        "spec": {**_reference(record), **(record.get("spec") or {}), "parameters": record.get("parameters") or {}},
        "status": {name: value for name, value in _status(record).items() if value is not None},
    }


def cursor(record: Record) -> str:
    """Names the place of a run in the list."""
    return "~".join((record["finished_at"], record["namespace"], record["uid"]))


def _status(record: Record) -> dict[str, Any]:
    cost, cpu_s, memory = record.get("cost_amount"), record.get("cpu_s"), record.get("max_memory_bytes")
    return {
        "phase": record["phase"],
        "reason": record.get("reason"),
        "message": record.get("message"),
        "flowRevision": record.get("revision"),
        "queuedAt": record.get("queued_at"),
        "startedAt": record.get("started_at"),
        "finishedAt": record["finished_at"],
        "parameters": record.get("parameters"),
        "attempts": record.get("attempts"),
        "tasks": record.get("tasks"),
        "result": record.get("result"),
        "artifacts": record.get("artifacts"),
        "lineage": record.get("lineage"),
        "answers": record.get("pauses"),
        "cost": {"amount": cost, "currency": record.get("cost_currency") or ""} if cost is not None else None,
        "usage": {"cpuSeconds": cpu_s, "maxMemoryBytes": memory} if memory is not None else None,
    }


def _reference(record: Record) -> dict[str, Any]:
    """Of a record without its spec, which the store refused."""
    if record.get("deployment"):
        return {"deploymentRef": {"name": record["deployment"]}}
    return {"flowRef": {"name": record["flow"]}} if record.get("flow") else {}


def _row(record: Record, listed: Listed, now: datetime) -> Html:
    namespace, name = record["namespace"], record["name"]
    path = f"/runs/{namespace}/{name}" if record["uid"] in listed.present else _address(record)
    reason = record.get("reason") or ""
    why = tag("span", reason, title=record.get("message") or None) if reason not in {"", record["phase"]} else NONE
    took = record.get("duration_s")
    values = (
        join((tag("a", name, href=path), tag("small", namespace))),
        badge(record["phase"]),
        record.get("deployment") or record.get("flow") or NONE,
        ago(record["finished_at"], now),
        duration(took) if took is not None else NONE,
        record.get("attempt_count") or NONE,
        _money(record) or NONE,
        why,
    )
    return cells(HEADINGS, values)


def _address(record: Record) -> str:
    return f"/history/{record['namespace']}/{record['name']}?uid={quote(record['uid'], safe='')}"


def _money(record: Record) -> str:
    amount = record.get("cost_amount")
    return f"{amount} {record.get('cost_currency') or ''}".strip() if amount is not None else ""


def _filters(query: Query, namespaces: Sequence[str]) -> Html:
    phases = [("", "Any"), *GROUP_NAMES, *((each, each) for each in sorted(map(str, FINISHED)))]
    known = sorted({*namespaces, *([query.namespace] if query.namespace else [])})
    return tag(
        "form",
        text_field("q", "Name contains", query.q, kind="search"),
        choice("namespace", "Namespace", query.namespace, [("", "All"), *((each, each) for each in known)]),
        choice("phase", "Phase", query.phase, phases),
        text_field("flow", "Flow", query.flow),
        text_field("deployment", "Deployment", query.deployment),
        text_field("label", "Label", query.label, hint="key=value"),
        choice("since", "Ended", query.since, [("", "Any time"), *((each, SPAN_NAMES[each]) for each in LONGER_SPANS)]),
        tag("button", "Show"),
        tag("a", "Clear", href="/history", class_="button plain") if query != Query() else None,
        method="get",
        action="/history",
        class_="filters",
        role="search",
        aria_label="History",
    )


def _paging(query: Query, listed: Listed) -> Html:
    newest = tag("a", "Newest", href=query.address("/history", after=""), rel="first") if query.after else None
    older = (
        tag("a", "Older", href=query.address("/history", after=listed.following), rel="next")
        if listed.following
        else None
    )
    return (
        tag("nav", newest, older, class_="paging", aria_label="Pages of the history") if newest or older else Html("")
    )


def _log(record: Record) -> Html:
    tail = record.get("log_tail")
    if not tail:
        return tag("p", "None of it was kept (HEADRACE_HISTORY_LOG_TAIL), or you may not read it.", class_="empty")
    return tag("pre", tail)


def _others(record: Record, beside: Sequence[Record]) -> Html:
    links = [
        tag("li", tag("a", exact(datetime.fromisoformat(each["finished_at"])), href=_address({**record, **each})))
        for each in beside
    ]
    return join((tag("p", "A name may be used again. Those that ended:", class_="hint"), tag("ul", *links)))

"""The list of runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from headrace.api.conditions import Phase
from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, about, badge, cells, page, run_link, table
from headrace_dashboard.pages.selecting import SPANS, Query, Selected
from headrace_dashboard.pages.times import NONE, ago, lasted
from headrace_dashboard.watching.records import RunRecord

HEADINGS: Final = ("Run", "Phase", "Of", "Created", "Took", "Attempts", "Why")
GROUP_NAMES: Final = (("active", "Active"), ("finished", "Finished"), ("dead", "Failed or crashed"))
SPAN_NAMES: Final = {
    "1h": "Last hour",
    "24h": "Last day",
    "7d": "Last week",
    "30d": "Last 30 days",
    "90d": "Last 90 days",
    "365d": "Last 365 days",
}


def runs_page(frame: Frame, query: Query, found: Selected, *, namespaces: Sequence[str], now: datetime) -> str:
    """The whole page; `namespaces` are those that may be chosen."""
    return page(
        frame,
        "Runs",
        _filters(query, namespaces),
        tag("div", _phases(query, found), _list(query, found, now), id="runs", data_live=True),
        _elsewhere(query) if frame.has_history else Html(""),
        live=about("flowruns", namespace=query.namespace),
    )


def run_row(run: RunRecord, now: datetime, *more: tuple[str, Html]) -> Html:
    """One run in a list; `more` are further cells, each with its heading."""
    name = join((run_link(run.namespace, run.name), tag("small", run.namespace)))
    why = tag("span", run.reason, title=run.message or None) if run.reason not in {"", run.phase} else NONE
    values = (
        name,
        badge(run.phase),
        run.of or NONE,
        ago(run.created, now),
        lasted(run.started, run.finished, now),
        run.attempts or NONE,
        why,
    )
    return cells((*HEADINGS, *(name for name, _ in more)), (*values, *(value for _, value in more)))


def _filters(query: Query, namespaces: Sequence[str]) -> Html:
    return tag(
        "form",
        text_field("q", "Name contains", query.q, kind="search"),
        choice("namespace", "Namespace", query.namespace, [("", "All"), *((each, each) for each in namespaces)]),
        choice("phase", "Phase", query.phase, [("", "Any"), *GROUP_NAMES, *((str(each), str(each)) for each in Phase)]),
        text_field("flow", "Flow", query.flow),
        text_field("deployment", "Deployment", query.deployment),
        text_field("label", "Label", query.label, hint="key=value"),
        choice("since", "Created", query.since, [("", "Any time"), *((each, SPAN_NAMES[each]) for each in SPANS)]),
        tag("button", "Show"),
        tag("a", "Clear", href="/runs", class_="button plain") if query != Query() else None,
        method="get",
        action="/runs",
        class_="filters",
        role="search",
        aria_label="Runs",
    )


def text_field(name: str, label: str, value: str, *, kind: str = "text", hint: str = "") -> Html:
    """A filter that is typed."""
    field = tag("input", name=name, type=kind, value=value, placeholder=hint or None, maxlength=253)
    return tag("label", tag("span", label), field)


def choice(name: str, label: str, value: str, options: Sequence[tuple[str, str]]) -> Html:
    """A filter that is chosen; options are values with their words."""
    chosen = [tag("option", words, value=each, selected=each == value) for each, words in options]
    return tag("label", tag("span", label), tag("select", *chosen, name=name))


def _phases(query: Query, found: Selected) -> Html:
    """How many are in each phase, each a filter."""
    counts = [(str(phase), found.phases[str(phase)]) for phase in Phase if found.phases.get(str(phase))]
    links = [
        tag(
            "a",
            badge(phase),
            f" {count:,}",
            href=query.address("/runs", phase="" if phase == query.phase else phase, after=""),
            aria_current="true" if phase == query.phase else None,
        )
        for phase, count in counts
    ]
    return tag("p", *links, class_="phases", aria_label="Runs by phase")


def _list(query: Query, found: Selected, now: datetime) -> Html:
    rows = [run_row(run, now) for run in found.runs]
    empty = "No run matches these filters." if query != Query() else "There are no runs that you may see."
    return join(
        (table(HEADINGS, rows, caption="Runs, newest first", empty=empty), _paging(query, found) if rows else None)
    )


def _elsewhere(query: Query) -> Html:
    link = tag("a", "the history", href=query.address("/history", after=""))
    return tag("p", "Runs that have left the cluster are in ", link, ".", class_="hint")


def _paging(query: Query, found: Selected) -> Html:
    last = found.first + len(found.runs) - 1
    newest = tag("a", "Newest", href=query.address("/runs", after=""), rel="first") if query.after else None
    older = (
        tag("a", "Older", href=query.address("/runs", after=found.following), rel="next") if found.following else None
    )
    return tag(
        "nav", tag("span", f"{found.first:,} to {last:,} of {found.total:,}"), newest, older, class_="paging",
        aria_label="Pages of runs",
    )  # fmt: skip

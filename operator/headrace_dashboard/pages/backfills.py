"""The list of Backfills, and one of them: how far it is, and its partitions as a calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace.api import keys
from headrace_dashboard.pages.calendar import Calendar, Cell
from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, about, badge, button, cells, facts, page, section, table
from headrace_dashboard.pages.selecting import Query
from headrace_dashboard.pages.times import NONE, ago
from headrace_dashboard.watching.records import Kept

HEADINGS: Final = ("Backfill", "State", "Of", "Done", "Failed", "Active", "Will be over", "Cost")
SIDE: Final = 22
GAP: Final = 3
NAMES: Final = 80
"""Width of what stands before a row."""
WORDS: Final = ("succeeded", "running", "failed", "cancelled", "pending")
GLYPHS: Final[Mapping[str, str]] = {"failed": "!", "cancelled": "-", "running": "+"}
"""What is in a cell besides its colour."""


@dataclass(frozen=True, slots=True)
class BackfillView:
    """A Backfill with all that its page shows; `calendar` is None where it has no partitions, and `problem` says why."""

    backfill: Kept
    calendar: Calendar | None
    problem: str
    may_change: bool


def backfills_page(frame: Frame, backfills: Sequence[Kept], now: datetime) -> str:
    """The whole list, the newest first."""
    rows = [_row(each, now) for each in sorted(backfills, key=lambda each: each.created, reverse=True)]
    listed = table(HEADINGS, rows, caption="Backfills, newest first", empty="There are no Backfills that you may see.")
    return page(
        frame, "Backfills", tag("div", listed, id="backfills", data_live=True), live=about(keys.BACKFILLS.plural)
    )


def backfill_page(frame: Frame, view: BackfillView, now: datetime) -> str:
    """The page of one Backfill."""
    backfill = view.backfill
    return page(
        frame,
        backfill.name,
        section("State", _state(backfill, now), _actions(frame, view), key="state"),
        section("Partitions", _partitions(view), key="partitions"),
        live=about(keys.BACKFILLS.plural, keys.FLOWRUNS.plural, namespace=backfill.namespace),
    )


def picture(calendar: Calendar) -> Html:
    """The cells, each with its colour, a sign and its numbers."""
    width, height = NAMES + calendar.columns * (SIDE + GAP), len(calendar.rows) * (SIDE + GAP)
    names = [
        tag("text", name, x=0, y=number * (SIDE + GAP) + SIDE - 6, class_="row")
        for number, name in enumerate(calendar.rows)
    ]
    told = summary(calendar)
    return tag(
        "svg",
        tag("title", told),
        *names,
        *(_cell(each) for each in calendar.cells),
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        role="img",
        aria_label=told,
        class_="calendar",
    )


def summary(calendar: Calendar) -> str:
    """In words, for those who do not see it."""
    counts = {word: sum(1 for each in calendar.cells if each.word == word) for word in WORDS}
    told = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count)
    return f"{len(calendar.cells):,} cells: {told}"


def _cell(cell: Cell) -> Html:
    x, y = NAMES + cell.column * (SIDE + GAP), cell.row * (SIDE + GAP)
    word = cell.word
    sign = GLYPHS.get(word)
    return tag(
        "g",
        tag("title", _told(cell)),
        tag("rect", x=x, y=y, width=SIDE, height=SIDE, rx=4, class_=f"cell {word}"),
        tag("text", sign, x=x + SIDE // 2, y=y + SIDE - 6, class_="sign") if sign else None,
    )


def _told(cell: Cell) -> str:
    parts = [
        f"{count:,} {word}"
        for word, count in (
            ("succeeded", cell.succeeded),
            ("failed", cell.failed),
            ("cancelled", cell.cancelled),
            ("active", cell.active),
        )
        if count
    ]
    return f"{cell.label}: {', '.join(parts) or 'none yet'} of {cell.total:,}"


def _row(backfill: Kept, now: datetime) -> Html:
    spec, status = backfill.spec, backfill.status
    link = tag("a", backfill.name, href=f"/backfills/{backfill.namespace}/{backfill.name}")
    values = (
        join((link, tag("small", backfill.namespace))),
        tag("span", badge(_phase(status)), title=status.get("message")),
        spec["deploymentRef"]["name"],
        _done(status),
        f"{status.get('failed') or 0:,}",
        f"{status.get('active') or 0:,}",
        ago(status.get("eta"), now),
        _money(status.get("cost")) or NONE,
    )
    return cells(HEADINGS, values)


def _state(backfill: Kept, now: datetime) -> Html:
    spec, status = backfill.spec, backfill.status
    rate, budget = status.get("ratePerMinute"), spec.get("budget")
    query = Query(namespace=backfill.namespace, label=f"{keys.BACKFILL_LABEL}={backfill.name}")
    deployment = spec["deploymentRef"]["name"]
    why = status.get("reason") or ""
    return join(
        (
            tag("p", badge(_phase(status)), " ", why if why != _phase(status) else "", class_="phase"),
            tag("p", status["message"], class_="message") if status.get("message") else None,
            facts(
                (
                    ("Namespace", backfill.namespace),
                    ("Deployment", tag("a", deployment, href=f"/deployments/{backfill.namespace}/{deployment}")),
                    ("Done", _done(status)),
                    ("Partitions", ", ".join(_counts(status)) or None),
                    ("At once", f"{spec.get('maxActive', 10):,} at most"),
                    ("Pace", f"{rate:g} a minute" if rate else None),
                    ("Will be over", ago(status["eta"], now) if status.get("eta") else None),
                    ("Cost", _money(status.get("cost"))),
                    ("All of it", _money(status.get("projectedCost"))),
                    ("Budget", _money({"currency": "USD", **budget}) if budget else None),
                    ("Started", ago(status["startedAt"], now) if status.get("startedAt") else None),
                    ("Ended", ago(status["finishedAt"], now) if status.get("finishedAt") else None),
                    ("Runs", tag("a", "Those that are there", href=query.address("/runs"))),
                )
            ),
        )
    )


def _actions(frame: Frame, view: BackfillView) -> Html:
    spec, status = view.backfill.spec, view.backfill.status
    if not view.may_change or spec.get("cancel"):
        return Html("")
    path = f"/backfills/{view.backfill.namespace}/{view.backfill.name}"
    hold = (
        button(frame, f"{path}/resume", "Resume")
        if spec.get("suspend")
        else button(frame, f"{path}/suspend", "Suspend", kind="plain")
    )
    rounds = str(int(spec.get("rerunFailed") or 0))
    again = button(frame, f"{path}/rerun", "Run the failed ones again", kind="plain", fields={"after": rounds})
    return tag(
        "div",
        None if status.get("finishedAt") else hold,
        again if status.get("failed") else None,
        None if status.get("finishedAt") else _cancelling(frame, path),
        class_="actions",
    )


def _cancelling(frame: Frame, path: str) -> Html:
    """In two steps, as it cannot be taken back; without a script."""
    hint = "Nothing more is started, and what runs is cancelled. This cannot be taken back."
    end = button(frame, f"{path}/cancel", "Cancel for good", kind="danger")
    return tag("details", tag("summary", "Cancel", class_="button danger"), tag("p", hint, class_="hint"), end)


def _partitions(view: BackfillView) -> Html:
    if view.calendar is None:
        return tag("p", view.problem, class_="empty")
    calendar = view.calendar
    key = join(tag("span", word, class_=f"key {word}") for word in WORDS)
    order = "Cells are places in the order of running, which is random." if calendar.by_running else None
    failed = int(view.backfill.status.get("failed") or 0)
    names = [tag("li", tag("code", name)) for name in calendar.failed]
    more = tag("p", f"The first {len(names)} of {failed:,}.", class_="hint") if failed > len(names) else None
    return join(
        (
            tag("p", key, class_="hint keys"),
            tag("p", order, class_="hint") if order else None,
            tag("div", picture(calendar), class_="scroll", tabindex="0", role="region", aria_label="Partitions"),
            join((tag("h3", "Failed"), tag("ul", *names, class_="names"), more)) if names else None,
        )
    )


def _phase(status: Mapping[str, Any]) -> str:
    return str(status.get("phase") or "Pending")


def _done(status: Mapping[str, Any]) -> str:
    total = status.get("total")
    if total is None:
        return "not counted yet"
    over = sum(int(status.get(name) or 0) for name in ("succeeded", "failed", "cancelled"))
    return f"{over:,} of {total:,} ({status.get('progress') or '0%'})"


def _counts(status: Mapping[str, Any]) -> list[str]:
    names = ("succeeded", "failed", "cancelled", "active", "pending")
    return [f"{status[name]:,} {name}" for name in names if status.get(name)]


def _money(cost: Mapping[str, Any] | None) -> str | None:
    return f"{cost['amount']} {cost['currency']}" if cost else None

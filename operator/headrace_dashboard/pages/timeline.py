"""Bars on a common axis of time, as SVG: its attributes need no inline style, which the page's policy forbids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from headrace_dashboard.pages.html import Html, tag
from headrace_dashboard.pages.times import duration

WIDTH: Final = 1000
ROW: Final = 24
LEAST: Final = 4
MAX_ROWS: Final = 200


@dataclass(frozen=True, slots=True)
class Bar:
    """Something that took time; `finished` is None as long as it goes on, `kind` is its colour."""

    label: str
    started: datetime
    finished: datetime | None
    kind: str
    note: str = ""


def timeline(bars: Sequence[Bar], now: datetime, *, title: str) -> Html:
    """The bars, one a row, the first ones first; of many the last."""
    shown = bars[-MAX_ROWS:]
    if not shown:
        return Html("")
    first = min(bar.started for bar in shown)
    last = max(bar.finished or now for bar in shown)
    span_s = max((last - first).total_seconds(), 0.001)
    rows = [_row(bar, index, first=first, span_s=span_s, now=now) for index, bar in enumerate(shown)]
    height = len(shown) * ROW
    chart = tag(
        "svg",
        tag("title", title),
        *rows,
        viewBox=f"0 0 {WIDTH} {height}",
        height=height,
        width="100%",
        preserveAspectRatio="none",
        role="img",
        aria_label=title,
        class_="timeline",
    )
    names = [tag("li", tag("span", bar.label), tag("small", _told(bar, now))) for bar in shown]
    axis = tag("p", tag("span", "0s"), tag("span", duration(span_s)), class_="axis")
    cut = tag("p", f"The last {MAX_ROWS} of {len(bars)}.", class_="hint") if len(bars) > MAX_ROWS else None
    return tag("div", tag("ol", *names, class_="bars"), tag("div", chart, axis), cut, class_="gantt")


def _row(bar: Bar, index: int, *, first: datetime, span_s: float, now: datetime) -> Html:
    start = (bar.started - first).total_seconds() / span_s * WIDTH
    end = ((bar.finished or now) - first).total_seconds() / span_s * WIDTH
    left = min(start, WIDTH - LEAST)
    return tag(
        "rect",
        tag("title", f"{bar.label}: {_told(bar, now)}"),
        x=f"{left:.1f}",
        y=index * ROW + 4,
        width=f"{max(end - left, LEAST):.1f}",
        height=ROW - 8,
        rx=3,
        class_=f"bar {bar.kind}" + ("" if bar.finished else " going"),
    )


def _told(bar: Bar, now: datetime) -> str:
    words = duration(max(((bar.finished or now) - bar.started).total_seconds(), 0))
    return f"{words}{'' if bar.finished else ' so far'}{f', {bar.note}' if bar.note else ''}"

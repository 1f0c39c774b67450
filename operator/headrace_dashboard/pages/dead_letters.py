"""Runs that failed or crashed for good and were not run again, by what they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from datetime import datetime
from typing import Final

from headrace.api import keys
from headrace_dashboard.pages.html import Html, tag
from headrace_dashboard.pages.layout import Frame, about, button, page, section, table
from headrace_dashboard.pages.runs import HEADINGS, run_row
from headrace_dashboard.pages.selecting import GROUPS
from headrace_dashboard.pages.times import NONE, duration
from headrace_dashboard.watching.records import RunRecord

AGAIN: Final = "Again"
SHOWN: Final = 100
GROUPED: Final = 20


def dead_letters(runs: Sequence[RunRecord], visible: Callable[[str], bool]) -> list[RunRecord]:
    """Those of the runs, newest first; tasks of other runs are dealt with by these."""
    shown = [run for run in runs if visible(run.namespace)]
    again: dict[tuple[str, str], str] = {}
    for run in shown:
        if run.rerun_of:
            key = (run.namespace, run.rerun_of)
            again[key] = max(again.get(key, ""), run.created)
    return [
        run
        for run in shown
        if run.phase in GROUPS["dead"] and not run.is_task and again.get((run.namespace, run.name), "") < run.created
    ]


def dead_letters_page(
    frame: Frame,
    found: Sequence[RunRecord],
    now: datetime,
    *,
    may_start: Container[str],
    next_go: Callable[[RunRecord], int],
) -> str:
    """
    The whole page.

    Args:
        may_start: The namespaces in which the visitor may run them again.
        next_go: Which go of a run its button makes.
    """

    def again(run: RunRecord) -> Html:
        return _again(frame, run, next_go(run)) if run.namespace in may_start else NONE

    return page(
        frame,
        "Dead letters",
        section("Why", _groups(found, now), key="why"),
        section("Runs", _listed(found, now, again), key="letters"),
        live=about(keys.FLOWRUNS.plural),
    )


def _groups(found: Sequence[RunRecord], now: datetime) -> Html:
    """What most of them have in common, and since when."""
    if not found:
        return tag("p", "No run that failed is left to be dealt with.", class_="empty")
    groups = Counter((run.namespace, run.of, run.reason) for run in found)
    lines = []
    for (namespace, of, reason), count in groups.most_common(GROUPED):
        newest = next(run for run in found if (run.namespace, run.of, run.reason) == (namespace, of, reason))
        since = (now - datetime.fromisoformat(newest.created)).total_seconds()
        lines.append(
            tag(
                "li",
                tag("strong", f"{count:,}"),
                f" of {namespace}/{of}: {reason}, the last {duration(int(since))} ago",
            )
        )
    return tag("ul", *lines)


def _listed(found: Sequence[RunRecord], now: datetime, again: Callable[[RunRecord], Html]) -> Html:
    rows = [run_row(run, now, (AGAIN, again(run))) for run in found[:SHOWN]]
    listed = table((*HEADINGS, AGAIN), rows, caption="Dead letters, newest first", empty="None.")
    more = tag("p", f"The newest {SHOWN} of {len(found):,}.", class_="hint") if len(found) > SHOWN else None
    return tag("div", listed, more)


def _again(frame: Frame, run: RunRecord, go: int) -> Html:
    return button(frame, f"/runs/{run.namespace}/{run.name}/retry", "Run again", kind="plain", fields={"go": str(go)})

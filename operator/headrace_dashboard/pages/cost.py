"""What runs have cost, by team, flow or whatever is asked, the dearest first; with a history store also those that have left, and by month."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import chain
from typing import Final
from urllib.parse import urlencode

from headrace.costs import Total, of_run, together, totals
from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, cells, page, section, table
from headrace_dashboard.pages.runs import SPAN_NAMES
from headrace_dashboard.pages.selecting import LONGER_SPANS, SPANS
from headrace_dashboard.pages.times import NONE, before, exact
from headrace_dashboard.watching.records import RunRecord

BY: Final[Mapping[str, str]] = {
    "team": "Team",
    "flow": "Flow",
    "deployment": "Deployment",
    "namespace": "Namespace",
    "pool": "Pool",
    "backfill": "Backfill",
}
"""What may be added up, and how it is called."""
FIRST: Final = "team"
DEFAULT_SPAN: Final = "30d"
SHOWN: Final = 200
BAR: Final = 100
PLACES: Final = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is added up, one of BY, and of runs created since when, one of SPANS or empty for all that are there."""

    by: str
    since: str


@dataclass(frozen=True, slots=True)
class Past:
    """
    What the history store adds.

    Attributes: `spent` is of runs that ended in the time that is asked for, `known` the uids of runs in the cluster that are among all it has,
    `months` what runs cost that ended in each month, the last one first. `problem` says why there is nothing; empty: nothing is wrong.
    """

    spent: Sequence[Total] = ()
    known: frozenset[str] = frozenset()
    months: Sequence[tuple[str, Sequence[Total]]] = ()
    problem: str = ""


def asked_from(given: Mapping[str, str], spans: Mapping[str, int] = SPANS) -> Asked:
    """What an address asks for, of these spans; what it does not say, or says wrong, is as by default."""
    by, since = given.get("by", FIRST), given.get("since", DEFAULT_SPAN)
    return Asked(by if by in BY else FIRST, since if since in {"", *spans} else DEFAULT_SPAN)


def added_up(runs: Iterable[tuple[str, RunRecord]], recorded: Iterable[Total] = ()) -> list[Total]:
    """
    The dearest first.

    Args:
        runs: Each with the name that it counts for.
        recorded: Of others.
    """
    live = (of_run(name, Decimal(run.cost) if run.cost else None, run.currency) for name, run in runs)
    return totals(chain(live, recorded))


def counted(
    runs: Iterable[RunRecord], asked: Asked, visible: Callable[[str], bool], *, past: Past | None, now: datetime
) -> Iterator[RunRecord]:
    """
    Those of the cluster that are meant: of what was created since then or, with a history store, of what has not ended before then, and has
    no record there, which counts in its place.
    """
    after = before(now, LONGER_SPANS[asked.since]) if asked.since else ""
    known = past.known if past else frozenset()
    for run in runs:
        instant = run.created if past is None else run.finished or "9999"
        if visible(run.namespace) and instant >= after and run.uid not in known:
            yield run


def cost_page(frame: Frame, asked: Asked, found: Sequence[Total], *, past: Past | None, now: datetime) -> str:
    """
    The whole page. It stands still: it is read over coffee, and costs a walk over all runs.

    Args:
        past: What the history store adds; None: there is none.
    """
    return page(
        frame,
        "Cost",
        _choices(asked, past),
        section("Together", _together(found, past, now), key="together"),
        section(f"By {BY[asked.by].lower()}", _table(asked, found), key="totals"),
        section("By month", _months(past), key="months") if past else Html(""),
    )


def name_of(by: str, namespace: str, value: str) -> str:
    """What a run counts for, in the words of the page."""
    return f"{namespace}/{value}" if value and by in {"flow", "deployment", "backfill"} else value


def _choices(asked: Asked, past: Past | None) -> Html:
    spans = [*((each, SPAN_NAMES[each]) for each in (LONGER_SPANS if past else SPANS)), ("", "All that are there")]
    return join(
        (
            _links("By", [(f"/cost?{urlencode({'by': by, 'since': asked.since})}", name, by == asked.by) for by, name in BY.items()]),
            _links(
                "Of runs that ended" if past else "Of runs created",
                [(f"/cost?{urlencode({'by': asked.by, 'since': each})}", words, each == asked.since) for each, words in spans],
            ),
        )
    )  # fmt: skip


def _links(label: str, links: Sequence[tuple[str, str, bool]]) -> Html:
    shown = [tag("a", words, href=path, aria_current="true" if is_it else None) for path, words, is_it in links]
    return tag("nav", tag("span", label, class_="who"), *shown, class_="phases", aria_label=label)


def _together(found: Sequence[Total], past: Past | None, now: datetime) -> Html:
    runs, unpriced = sum(each.runs for each in found), sum(each.unpriced for each in found)
    amounts = ", ".join(_amount(amount, currency) for currency, amount in together(found).items())
    return join(
        (
            tag("p", f"{past.problem} What has left the cluster is missing.", class_="notice bad", role="alert")
            if past and past.problem
            else None,
            tag("p", tag("strong", amounts or "No price is known"), f" for {runs:,} runs", class_="phase"),
            tag("p", f"{unpriced:,} runs have no price: they have not started, or their pool has none.")
            if unpriced
            else None,
            tag("p", f"As of {exact(now)}; {_of_what(past)}", class_="hint"),
        )
    )


def _of_what(past: Past | None) -> str:
    if past is None:
        return "of runs that are still in the cluster. `headrace cost --store` has those that left it."
    return "of runs that have ended, as the history has them, and of those under way, as far as they are."


def _months(past: Past) -> Html:
    headings = ("Month", "Cost", "Runs", "Without price")
    rows = []
    for month, spent in past.months:
        priced = [each for each in spent if each.runs]
        amounts = ", ".join(_amount(each.amount, each.currency) for each in priced)
        runs, unpriced = sum(each.runs for each in priced), sum(each.unpriced for each in spent)
        rows.append(cells(headings, (month, amounts or NONE, f"{runs:,}", f"{unpriced:,}" if unpriced else NONE)))
    return table(headings, rows, caption="Cost by month in UTC, of runs that ended in it", empty="Nothing is recorded.")


def _table(asked: Asked, found: Sequence[Total]) -> Html:
    headings = (BY[asked.by], "Cost", "Share", "Runs", "Without price")
    most = max((each.amount for each in found), default=Decimal(0))
    rows = [
        cells(
            headings,
            (
                each.name or tag("span", "(none)", class_="none"),
                _amount(each.amount, each.currency) if each.currency else NONE,
                _bar(each.amount, most),
                f"{each.runs:,}",
                f"{each.unpriced:,}" if each.unpriced else NONE,
            ),
        )
        for each in found[:SHOWN]
    ]
    more = tag("p", f"The dearest {SHOWN} of {len(found):,}.", class_="hint") if len(found) > SHOWN else None
    listed = table(
        headings, rows, caption=f"Cost by {BY[asked.by].lower()}", empty="There are no runs that you may see."
    )
    return join((listed, more))  # fmt: skip


def _bar(amount: Decimal, most: Decimal) -> Html:
    """As long as it is dear; the number stands beside it."""
    width = int(BAR * amount / most) if most else 0
    bar = tag("rect", x=0, y=0, width=max(width, int(amount > 0)), height=10, class_="bar running")
    return tag("svg", bar, viewBox=f"0 0 {BAR} 10", preserveAspectRatio="none", aria_hidden="true", class_="share")


def _amount(amount: Decimal, currency: str) -> str:
    """To a hundredth of a cent, as runs cost little."""
    return f"{amount.quantize(PLACES):,f} {currency}"

"""What runs have cost, by team, flow or whatever is asked, the dearest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, cells, page, section, table
from headrace_dashboard.pages.runs import SPAN_NAMES
from headrace_dashboard.pages.selecting import SPANS
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

TeamOf = Callable[[RunRecord], str]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is added up, one of BY, and of runs created since when, one of SPANS or empty for all that are there."""

    by: str
    since: str


@dataclass(frozen=True, slots=True)
class Total:
    """What the runs of one name have cost together in one currency, `""` where no price is known."""

    name: str
    currency: str
    amount: Decimal
    runs: int
    unpriced: int


def asked_from(given: Mapping[str, str]) -> Asked:
    """What an address asks for; what it does not say, or says wrong, is as by default."""
    by, since = given.get("by", FIRST), given.get("since", DEFAULT_SPAN)
    return Asked(by if by in BY else FIRST, since if since in {"", *SPANS} else DEFAULT_SPAN)


def totals(
    runs: Iterable[RunRecord], asked: Asked, visible: Callable[[str], bool], *, team_of: TeamOf, now: datetime
) -> list[Total]:
    """The dearest first; runs without a price count where their name has one already."""
    after = before(now, SPANS[asked.since]) if asked.since else ""
    amounts: defaultdict[tuple[str, str], list[Decimal]] = defaultdict(list)
    unpriced: defaultdict[str, int] = defaultdict(int)
    for run in runs:
        if not visible(run.namespace) or run.created < after:
            continue
        name = team_of(run) if asked.by == "team" else _name(run, asked.by)
        if run.cost:
            amounts[name, run.currency].append(Decimal(run.cost))
        else:
            unpriced[name] += 1
    found = [
        Total(name, currency, sum(each, Decimal(0)), len(each), unpriced.pop(name, 0))
        for (name, currency), each in amounts.items()
    ]
    found += [Total(name, "", Decimal(0), 0, count) for name, count in unpriced.items()]
    return sorted(found, key=lambda total: (-total.amount, total.name, total.currency))


def cost_page(frame: Frame, asked: Asked, found: Sequence[Total], now: datetime) -> str:
    """The whole page. It stands still: it is read over coffee, and costs a walk over all runs."""
    return page(
        frame,
        "Cost",
        _choices(asked),
        section("Together", _together(found, now), key="together"),
        section(f"By {BY[asked.by].lower()}", _table(asked, found), key="totals"),
    )


def _name(run: RunRecord, by: str) -> str:
    value = str(getattr(run, by))
    return f"{run.namespace}/{value}" if value and by in {"flow", "deployment", "backfill"} else value


def _choices(asked: Asked) -> Html:
    spans = [*((each, SPAN_NAMES[each]) for each in SPANS), ("", "All that are there")]
    return join(
        (
            _links("By", [(f"/cost?{urlencode({'by': by, 'since': asked.since})}", name, by == asked.by) for by, name in BY.items()]),
            _links(
                "Of runs created",
                [(f"/cost?{urlencode({'by': asked.by, 'since': each})}", words, each == asked.since) for each, words in spans],
            ),
        )
    )  # fmt: skip


def _links(label: str, links: Sequence[tuple[str, str, bool]]) -> Html:
    shown = [tag("a", words, href=path, aria_current="true" if is_it else None) for path, words, is_it in links]
    return tag("nav", tag("span", label, class_="who"), *shown, class_="phases", aria_label=label)


def _together(found: Sequence[Total], now: datetime) -> Html:
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    for each in found:
        if each.currency:
            sums[each.currency] += each.amount
    runs, unpriced = sum(each.runs for each in found), sum(each.unpriced for each in found)
    amounts = ", ".join(_amount(amount, currency) for currency, amount in sorted(sums.items()))
    hint = f"As of {exact(now)}; of runs that are still in the cluster. `headrace cost --store` has those that left it."
    return join(
        (
            tag("p", tag("strong", amounts or "No price is known"), f" for {runs:,} runs", class_="phase"),
            tag("p", f"{unpriced:,} runs have no price: they have not started, or their pool has none.")
            if unpriced
            else None,
            tag("p", hint, class_="hint"),
        )
    )


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

"""Limits and pools: how full they are, how full they have been, and who holds them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace.api import keys
from headrace_dashboard.pages.deployments import condition
from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, about, badge, cells, facts, page, run_link, section, table
from headrace_dashboard.pages.plot import legend, plot
from headrace_dashboard.pages.runs import HEADINGS as RUN_HEADINGS
from headrace_dashboard.pages.runs import run_row
from headrace_dashboard.pages.times import NONE, ago
from headrace_dashboard.watching.records import Kept, RunRecord
from headrace_dashboard.watching.saturation import Level, Sample

HEADINGS: Final = ("Name", "State", "In use", "Waiting", "Until now")
HOLDERS: Final = ("Held by", "In", "Since")
LIST_POINTS: Final = 60
SHOWN: Final = 50


@dataclass(frozen=True, slots=True)
class Measured:
    """A pool or a limit, how full it is, and how full it has been."""

    obj: Kept
    level: Level
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Shown:
    """What the list shows; None for a kind that the visitor may not list."""

    pools: Sequence[Measured] | None
    limits: Sequence[Measured] | None


def capacity_page(frame: Frame, shown: Shown, now: datetime) -> str:
    """The page with the lists of pools and limits."""
    return page(
        frame,
        "Limits and pools",
        tag("p", legend(), class_="hint"),
        section("Pools", _listed("pools", shown.pools, now), key="pools"),
        section("Limits", _listed("limits", shown.limits, now), key="limits"),
        live=about(keys.WORKPOOLS.plural, keys.CONCURRENCYLIMITS.plural),
    )


def pool_page(frame: Frame, pool: Measured, runs: Sequence[RunRecord], now: datetime) -> str:
    """One pool; `runs` are those in it that the visitor may see."""
    rows = [run_row(run, now) for run in runs[:SHOWN]]
    listed = table(RUN_HEADINGS, rows, caption="Runs in the pool, newest first", empty="None that you may see.")
    return page(
        frame,
        pool.obj.name,
        section("Pool", _state(pool), facts(_pool_facts(pool.obj)), key="state"),
        section("Until now", tag("p", legend(), class_="hint"), plot(pool.samples, now), key="plot"),
        section("Runs in it", listed, _more(len(runs)), key="runs"),
        live=about(keys.WORKPOOLS.plural, keys.FLOWRUNS.plural),
    )


def limit_page(frame: Frame, limit: Measured, may_see: Callable[[str], bool], now: datetime) -> str:
    """One limit; holders of namespaces that the visitor may not see are counted and not named."""
    return page(
        frame,
        limit.obj.name,
        section("Limit", _state(limit), facts(_limit_facts(limit.obj)), key="state"),
        section("Until now", tag("p", legend(), class_="hint"), plot(limit.samples, now), key="plot"),
        section("Who holds it", _holders(limit.obj.status, may_see, now), key="holders"),
        live=about(keys.CONCURRENCYLIMITS.plural, name=limit.obj.name),
    )


def state_of(measured: Measured) -> tuple[str, str]:
    """In a word whether there is room, and why not."""
    ready = condition(measured.obj.status, "Ready")
    if ready.get("status") == "False":
        return "Failed", str(ready.get("message") or ready.get("reason") or "")
    level = measured.level
    if level.most is not None and level.used >= level.most:
        return "Full", "Nothing is free."
    if level.waiting:
        return "Pending", f"{level.waiting:,} wait."
    return "Ready", ""


def _listed(kind: str, measured: Sequence[Measured] | None, now: datetime) -> Html:
    if measured is None:
        return tag("p", f"You may not list {kind} of the cluster.", class_="empty")
    rows = [_row(kind, each, now) for each in measured]
    return table(HEADINGS, rows, caption=f"The cluster's {kind}", empty="None.")


def _row(kind: str, measured: Measured, now: datetime) -> Html:
    word, why = state_of(measured)
    link = tag("a", measured.obj.name, href=f"/capacity/{kind}/{measured.obj.name}")
    values = (
        link,
        tag("span", badge(word), title=why or None),
        _used(measured.level),
        f"{measured.level.waiting:,}",
        plot(measured.samples, now, points=LIST_POINTS) if len(measured.samples) > 1 else NONE,
    )
    return cells(HEADINGS, values)


def _state(measured: Measured) -> Html:
    word, why = state_of(measured)
    return tag(
        "p", badge(word), f" {_used(measured.level)} in use, {measured.level.waiting:,} waiting. ", why, class_="phase"
    )


def _used(level: Level) -> str:
    return f"{level.used:,}" if level.most is None else f"{level.used:,} of {level.most:,}"


def _pool_facts(pool: Kept) -> Sequence[tuple[str, Html | str | None]]:
    spec, nodes = pool.spec, pool.status.get("nodes") or {}
    return (
        ("Nodes", f"{nodes.get('ready', 0)} of {nodes.get('total', 0)} ready"),
        ("Picked by", _pairs(spec.get("nodeSelector")) or "all nodes"),
        ("Largest pod", _pairs(spec.get("maxPodResources"))),
        ("Asked for", _pairs(pool.status.get("requested"))),
        ("Bounds", _pairs((spec.get("capacity") or {}).get("resources"))),
        ("Price", _pairs(spec.get("pricing"))),
        ("Spot", "yes: its nodes can be reclaimed at any time" if spec.get("spot") else None),
    )


def _limit_facts(limit: Kept) -> Sequence[tuple[str, Html | str | None]]:
    rate, slots = limit.spec.get("rate"), limit.spec.get("slots")
    selector = (limit.spec.get("selector") or {}).get("matchLabels")
    return (
        ("Slots", "any number" if slots is None else f"{slots:,}"),
        ("Rate", f"{rate['count']} starts in {rate.get('perSeconds', 60)} s" if rate else None),
        ("Holds by label", _pairs(selector)),
    )


def _pairs(values: Mapping[str, Any] | None) -> str | None:
    return ", ".join(f"{key} {value}" for key, value in values.items()) if values else None


def _holders(status: Mapping[str, Any], may_see: Callable[[str], bool], now: datetime) -> Html:
    known = [(_named(each["holder"]), each.get("since")) for each in status.get("holders") or ()]
    seen = [(holder, since) for holder, since in known if may_see(holder[1])]
    rows = [
        cells(
            HOLDERS,
            (
                run_link(namespace, name) if kind == "run" else f"{name} (a task)",
                namespace,
                ago(since, now) if since else NONE,
            ),
        )
        for (kind, namespace, name), since in seen
    ]
    unseen = int(status.get("active") or 0) - len(seen)
    more = tag("p", f"{unseen:,} more that are not listed, or that you may not see.", class_="hint")
    listed = table(HOLDERS, rows, caption="Holders of its slots", empty="Nobody that you may see.")
    return join((listed, more if unseen > 0 else None))


def _named(holder: str) -> tuple[str, str, str]:
    """Kind, namespace and name of run/<namespace>/<name>."""
    kind, _, rest = holder.partition("/")
    namespace, _, name = rest.partition("/")
    return kind, namespace, name


def _more(count: int) -> Html | None:
    return tag("p", f"The newest {SHOWN} of {count:,}.", class_="hint") if count > SHOWN else None

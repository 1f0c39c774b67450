"""Automations: what they wait for, what became of it, and the runs that they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from headrace.api import keys
from headrace_dashboard.pages.deployments import condition
from headrace_dashboard.pages.html import Html, join, tag
from headrace_dashboard.pages.layout import Frame, about, badge, cells, facts, page, section, table
from headrace_dashboard.pages.runs import HEADINGS as RUN_HEADINGS
from headrace_dashboard.pages.runs import run_row
from headrace_dashboard.pages.times import ago
from headrace_dashboard.watching.records import Kept, RunRecord

HEADINGS: Final = ("Automation", "State", "When", "Does", "Fired", "Failed", "Last")
FIRINGS: Final = ("About", "When", "State", "Why")
SHOWN: Final = 50

TRIGGERS: Final[Mapping[str, str]] = {
    "run": "a run has come into a phase",
    "lateRun": "a run is late",
    "longRun": "a run lasts long",
    "circuitOpen": "a circuit has opened",
    "webhook": "a request comes in",
    "limitSaturated": "a limit is saturated",
    "metric": "a metric is beyond its threshold",
    "kubernetesEvent": "Kubernetes tells of an object",
}
DEEDS: Final[Mapping[str, str]] = {"Cancel": "cancels", "Retry": "retries"}
COUNTS: Final[Mapping[str, str]] = {
    "matched": "let pass by the filter",
    "fired": "acted on",
    "deduplicated": "of a group that had fired",
    "suppressed": "silenced",
    "throttled": "above the rate",
    "failed": "failed",
}


def automations_page(frame: Frame, automations: Sequence[Kept], now: datetime) -> str:
    """The page with the list of Automations."""
    rows = [_row(each, now) for each in automations]
    listed = table(HEADINGS, rows, caption="Automations", empty="There are no Automations that you may see.")
    return page(
        frame, "Automations", tag("div", listed, id="automations", data_live=True), live=about(keys.AUTOMATIONS.plural)
    )


def automation_page(frame: Frame, automation: Kept, runs: Sequence[RunRecord], now: datetime) -> str:
    """One of them; `runs` are those that it started and that the visitor may see."""
    rows = [run_row(run, now) for run in runs[:SHOWN]]
    started = table(RUN_HEADINGS, rows, caption="Runs that it started, newest first", empty="None that you may see.")
    return page(
        frame,
        automation.name,
        section("State", _state(automation, now), key="state"),
        section("What it did", _firings(automation, now), key="firings"),
        section("Runs that it started", started, key="runs"),
        live=about(keys.AUTOMATIONS.plural, keys.FLOWRUNS.plural, namespace=automation.namespace),
    )


def state_of(automation: Kept) -> tuple[str, str]:
    """Whether it acts, in a word, and why not, in a sentence."""
    ready = condition(automation.status, "Ready")
    if ready.get("status") == "False":
        return "Failed", str(ready.get("message") or ready.get("reason") or "")
    if automation.spec.get("suspend"):
        return "Suspended", "What happens is counted, and nothing is done."
    return ("Ready", "") if ready else ("Pending", "The operator has not looked at it yet.")


def _row(automation: Kept, now: datetime) -> Html:
    word, why = state_of(automation)
    counts = automation.status.get("counts") or {}
    link = tag("a", automation.name, href=f"/automations/{automation.namespace}/{automation.name}")
    values = (
        join((link, tag("small", automation.namespace))),
        tag("span", badge(word), title=why or None),
        _trigger(automation.spec),
        ", ".join(each["name"] for each in automation.spec["actions"]),
        f"{counts.get('fired') or 0:,}",
        f"{counts.get('failed') or 0:,}",
        ago(automation.status.get("lastTriggered"), now),
    )
    return cells(HEADINGS, values)


def _state(automation: Kept, now: datetime) -> Html:
    spec, counts = automation.spec, automation.status.get("counts") or {}
    word, why = state_of(automation)
    told = ", ".join(f"{counts[name]:,} {words}" for name, words in COUNTS.items() if counts.get(name))
    silences = ", ".join(f"{each['name']} until {each['until']}" for each in spec.get("silences") or ())
    window = int(spec.get("deduplicateSeconds") or 0)
    return join(
        (
            tag("p", badge(word), " ", why, class_="phase"),
            facts(
                (
                    ("Namespace", automation.namespace),
                    ("When", _trigger(spec)),
                    ("Filter", tag("code", spec["filter"]) if spec.get("filter") else None),
                    ("Grouped by", tag("code", ", ".join(spec["groupBy"])) if spec.get("groupBy") else None),
                    ("Once in", f"{window:,} s for each group" if window else None),
                    ("Does", ", ".join(_action(each) for each in spec["actions"])),
                    ("Silences", silences or None),
                    ("Events", told or "none yet"),
                    ("Acted last", ago(automation.status.get("lastTriggered"), now)),
                )
            ),
        )
    )


def _firings(automation: Kept, now: datetime) -> Html:
    firings = (automation.status.get("firings") or ())[::-1]
    rows = [
        cells(
            FIRINGS,
            (
                each.get("about") or each["id"],
                ago(each["at"], now),
                badge({"Done": "Succeeded", "Open": "Running"}.get(each["state"], each["state"])),
                str(each.get("message") or ""),
            ),
        )
        for each in firings[:SHOWN]
    ]
    return table(FIRINGS, rows, caption="What it acted on, the latest first", empty="Nothing yet.")


def _trigger(spec: Mapping[str, Any]) -> str:
    return next((words for name, words in TRIGGERS.items() if name in spec["trigger"]), "something of a newer version")


def _action(action: Mapping[str, Any]) -> str:
    """What is done, by its kind; neither addresses nor texts, which may tell secrets."""
    if "start" in action:
        return f"{action['name']}: starts {action['start']['deployment']}"
    if "run" in action:
        return f"{action['name']}: {DEEDS.get(action['run'], action['run'])} the run"
    return f"{action['name']}: {next((kind for kind in ('deployment', 'webhook', 'event') if kind in action), '?')}"

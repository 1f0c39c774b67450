"""Prefect's triggers of a deployment as triggers of ours: those that wait for a state of a flow run."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from headrace.api.trigger import MAX_TRIGGERS
from headrace.migration.names import dns_name

PHASES: Final = {
    "prefect.flow-run.Completed": "Succeeded",
    "prefect.flow-run.Failed": "Failed",
    "prefect.flow-run.Crashed": "Crashed",
    "prefect.flow-run.TimedOut": "Failed",
    "prefect.flow-run.Cancelled": "Cancelled",
    "prefect.flow-run.AwaitingRetry": "Retrying",
    "prefect.flow-run.Paused": "Paused",
}
ROLES: Final = {"flow": ("flows", 50), "deployment": ("deployments", 40)}
"""The field of ours that names such resources, and how long their names may be."""
ANY_RUN: Final = {"prefect.flow-run.*"}
PLAIN: Final = re.compile(r"[^*{}]+")
BY_HAND: Final = "write a trigger of the Deployment that waits for it (docs/triggers.md), or start a FlowRun from what sends it: `headrace start`"


class NoSuchTrigger(ValueError):
    """It has no counterpart here; the text says what stands in the way, and what to do."""


def trigger_from(raw: Any, index: int) -> dict[str, Any]:
    """
    One trigger, as spec.triggers of a Deployment has it.

    Raises: NoSuchTrigger: it waits for something else than states of flow runs, or for several events.
    """
    if not isinstance(raw, Mapping):
        raise NoSuchTrigger(f"it is made by the program; {BY_HAND}")
    for problem in _obstacles(raw, index):
        raise NoSuchTrigger(f"{problem}; {BY_HAND}")
    phases = tuple(dict.fromkeys(PHASES[event] for event in _texts(raw.get("expect"))))
    found: dict[str, Any] = {"name": f"prefect-{index + 1}", "run": {"phases": list(phases), **_choice(raw)}}
    if raw.get("parameters"):
        found["parameters"] = dict(raw["parameters"])
    if raw.get("enabled") is False:
        found["suspend"] = True
    return found


def _obstacles(raw: Mapping[str, Any], index: int) -> Iterator[str]:
    """What it says that has no counterpart."""
    if index >= MAX_TRIGGERS:
        yield f"a Deployment has {MAX_TRIGGERS} triggers at most"
    if raw.get("type", "event") != "event":
        yield f"its type is {raw.get('type')}, which waits for several events"
    if str(raw.get("posture", "Reactive")) != "Reactive":
        yield "it waits for an event that does not come"
    if raw.get("threshold", 1) != 1 or raw.get("after") or raw.get("for_each"):
        yield "it counts events, or waits for one after another"
    unknown = [event for event in _texts(raw.get("expect")) if event not in PHASES]
    if unknown or not _texts(raw.get("expect")):
        yield f"it waits for {', '.join(unknown) or 'any event'}"
    match = raw.get("match") or {}
    if (
        not isinstance(match, Mapping)
        or set(match) - {"prefect.resource.id"}
        or set(_texts(match.get("prefect.resource.id"))) - ANY_RUN
    ):
        yield "its match names single resources"
    yield from _foreign_relations(raw)
    if not isinstance(raw.get("parameters") or {}, Mapping):
        yield "its parameters have no names"
    if "{{" in str(raw.get("parameters") or ""):
        yield "its parameters have templates of Prefect's"


def _foreign_relations(raw: Mapping[str, Any]) -> Iterator[str]:
    related = raw.get("match_related") or {}
    if not isinstance(related, Mapping) or set(related) - {"prefect.resource.role", "prefect.resource.name"}:
        yield "its match_related names others than flows and deployments by their names"
        return
    names = _texts(related.get("prefect.resource.name"))
    if related and (related.get("prefect.resource.role") not in tuple(ROLES) or not names):
        yield "its match_related names others than flows and deployments by their names"
    if not all(PLAIN.fullmatch(name) for name in names):
        yield "its match_related has patterns"


def _choice(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """Whose runs are meant; all where it does not say."""
    related = raw.get("match_related") or {}
    if not related:
        return {}
    field, longest = ROLES[related["prefect.resource.role"]]
    return {field: [_own_name(name, longest) for name in _texts(related["prefect.resource.name"])]}


def _own_name(name: str, longest: int) -> str:
    """As a deployment is called "flow/deployment" in places, its last part, as it is named here."""
    return dns_name(name.rpartition("/")[2], longest)


def _texts(value: Any) -> Sequence[str]:
    if isinstance(value, str):
        return (value,)
    return [str(each) for each in value] if isinstance(value, (list, tuple, set)) else ()

"""Dashboards as Grafana takes them, from a short description of their panels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

WIDTH: Final = 24
SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
GOOD, BAD = "green", "red"

Json = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """A PromQL expression; `legend` names its series by their labels."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """
    One plot or number.

    Args:
        what: What it shows, for those who hover over its title.
        kind: timeseries, stat, bargauge or table.
        unit: As Grafana names it.
        width: Of 24 columns.
        steps: Colours from these values on; the first is for all that is less.
    """

    title: str
    what: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    steps: tuple[tuple[str, float | None], ...] = ((GOOD, None),)
    is_stacked: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A page of panels, from left to right and from top to bottom."""

    name: str
    title: str
    panels: tuple[Panel, ...]
    has_namespaces: bool = True
    since: str = "now-24h"


def one(expr: str, legend: str = "") -> tuple[Query, ...]:
    """A single query."""
    return (Query(expr, legend),)


def as_json(dashboard: Dashboard) -> Json:
    """What Grafana takes."""
    return {
        "uid": dashboard.name,
        "title": dashboard.title,
        "tags": ["headrace"],
        "schemaVersion": 39,
        "editable": True,
        "timezone": "browser",
        "time": {"from": dashboard.since, "to": "now"},
        "refresh": "1m",
        "links": [
            {
                "type": "dashboards",
                "title": "Headrace",
                "tags": ["headrace"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "templating": {"list": list(_variables(dashboard))},
        "annotations": {"list": []},
        "panels": list(_panels(dashboard.panels)),
    }


def _variables(dashboard: Dashboard) -> Iterator[Json]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    if dashboard.has_namespaces:
        query = "label_values(headrace_flow_info, namespace)"
        yield {
            "name": "namespace",
            "label": "Namespace",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": "namespaces"},
            "definition": query,
            "refresh": 2,
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }


def _panels(panels: Sequence[Panel]) -> Iterator[Json]:
    x = y = height = 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, height = 0, y + height, 0
        yield _panel(number, panel, x=x, y=y)
        x, height = x + panel.width, max(height, panel.height)


def _panel(number: int, panel: Panel, *, x: int, y: int) -> Json:
    is_momentary = panel.kind in {"stat", "bargauge", "table"}
    targets = [
        {
            "refId": chr(ord("A") + index),
            "datasource": SOURCE,
            "expr": query.expr,
            "legendFormat": query.legend or "__auto",
            "instant": is_momentary,
            "range": not is_momentary,
        }
        for index, query in enumerate(panel.queries)
    ]
    steps = [{"color": colour, "value": value} for colour, value in panel.steps]
    defaults: Json = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": steps}}
    if panel.unit == "percentunit":
        defaults["max"] = 1
    if panel.is_stacked:
        defaults["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 40}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.what,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": panel.width, "h": panel.height},
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _options(panel.kind),
        "targets": targets,
    }


def _options(kind: str) -> Json:
    if kind == "stat":
        return {"colorMode": "background", "graphMode": "none", "reduceOptions": {"calcs": ["lastNotNull"]}}
    if kind == "bargauge":
        return {"orientation": "horizontal", "displayMode": "basic", "reduceOptions": {"calcs": ["lastNotNull"]}}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}

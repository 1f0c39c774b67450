"""Rules and dashboards speak of metrics that exist, and the pages of alerts that exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contract.test_docs import metric_names

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "headrace"
GROUPS = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = sorted(rule["alert"] for rule in RULES if "alert" in rule)
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARDS = sorted((CHART / "dashboards").glob("*.json"))
PAGE = (ROOT / "docs" / "alerts.md").read_text()
SERIES = {f"{name}{part}" for name in metric_names() for part in ("", "_bucket", "_count", "_sum")}


def panels(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return found


def unknown(expression: str) -> set[str]:
    """Names of series that nobody makes."""
    recorded = set(re.findall(r"\w+:headrace_\w+:\w+", expression))
    plain = re.sub(r"\w+:headrace_\w+:\w+", "", re.sub(r'"[^"]*"', "", expression))
    return (recorded - RECORDED) | (set(re.findall(r"headrace_\w+", plain)) - SERIES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.get("alert") or rule["record"])
def test_a_rule_rests_on_metrics_that_exist(rule: dict[str, Any]) -> None:
    """An alert on a name that nobody tells never fires."""
    assert unknown(rule["expr"]) == set()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_shows_metrics_that_exist(path: Path) -> None:
    """In each of its panels."""
    queries = {panel["title"]: " ".join(target["expr"] for target in panel["targets"]) for panel in panels(path)}
    assert {title: names for title, query in queries.items() if (names := unknown(query))} == {}


def test_there_are_three_dashboards_and_they_are_current() -> None:
    """As `python -m charts.make_dashboards` writes them."""
    assert [path.stem for path in DASHBOARDS] == ["headrace-debug", "headrace-executive", "headrace-on-call"]
    done = subprocess.run(
        [sys.executable, "-m", "charts.make_dashboards", "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_each_alert_has_a_section_and_each_section_an_alert() -> None:
    """Its runbook annotation leads there."""
    assert sorted(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == ALERTS
    runbooks = {rule["alert"]: rule["annotations"]["runbook"] for rule in RULES if "alert" in rule}
    assert runbooks == {name: f"docs/alerts.md#{name.lower()}" for name in ALERTS}


def test_each_alert_says_how_grave_it_is_and_what_is_wrong() -> None:
    """In words that Alertmanager's routes and people read."""
    for rule in RULES:
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            assert {"summary", "description"} <= set(rule["annotations"])


def test_each_alert_is_tested() -> None:
    """By `promtool test rules`, firing once at least."""
    cases = yaml.safe_load((ROOT / "tests" / "monitoring" / "rules.test.yaml").read_text())["tests"]
    fired = {case["alertname"] for test in cases for case in test.get("alert_rule_test", ()) if case["exp_alerts"]}
    assert sorted(fired) == ALERTS

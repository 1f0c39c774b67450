"""The chart's rules for Prometheus: as they are in the file, unless values change them; for this release's operators; nowhere without metrics."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.support.helm import CHART, Helm, names, only, provided
from tests.tools import PROMTOOL

ROOT = Path(__file__).parents[2]
RULES = yaml.safe_load((CHART / "files" / "rules.yaml").read_text())
CASES = ROOT / "tests" / "monitoring" / "tuned.test.yaml"
MONITORING = "--api-versions=monitoring.coreos.com/v1"
RULES_ONLY = ("--set=metrics.rules.create=Always", "--set=metrics.monitor.create=Never")
TUNED = {
    "operator": {"namespaces": ["team-a", "team-b"]},
    "metrics": {
        "rules": {
            "disabled": ["HeadraceDeadLetters"],
            "severities": {"HeadraceHistoryFull": "page", "HeadraceOperatorBehind": "info"},
            "pagedNamespaces": r"prod-\d+|billing",
            "runbookUrl": "https://docs.example.com/headrace/alerts.html",
        }
    },
}

pytestmark = pytest.mark.timeout(1200)
"""Helm and promtool may have to be built first."""


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    return Helm(tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="module")
def tuned(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Rules by all values that change them."""
    values = tmp_path_factory.mktemp("values") / "values.yaml"
    values.write_text(yaml.safe_dump(TUNED))
    return spec(helm, MONITORING, f"--values={values}")


def spec(helm: Helm, *options: str) -> dict[str, Any]:
    made: dict[str, Any] = only(helm.template(*options), "PrometheusRule")["spec"]
    return made


def alerts(rules: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in rules["groups"] for rule in group["rules"] if "alert" in rule}


def down(helm: Helm, *options: str) -> str:
    expression: str = alerts(spec(helm, *options))["HeadraceOperatorDown"]["expr"]
    return expression


def test_they_are_those_of_the_file(helm: Helm) -> None:
    """Whatever is in it."""
    assert spec(helm, *RULES_ONLY) == RULES


@pytest.mark.parametrize("create", ["Auto", "Always"])
def test_without_metrics_there_are_none(helm: Helm, create: str) -> None:
    """They would say for ever that nobody tells any."""
    manifests = helm.template(MONITORING, "--set=settings.metricsPort=0", f"--set=metrics.rules.create={create}")
    assert names(manifests, "PrometheusRule") == names(manifests, "ServiceMonitor") == []


def test_an_operator_that_is_gone_is_not_hidden_by_another_one(helm: Helm) -> None:
    """It is known by where the chart has it scraped, and by what it serves: the latter it says itself."""
    served = "--set=operator.namespaces={a,b}"
    assert down(helm, MONITORING) == 'absent(headrace_shards_held{namespace="headrace-system", serves=""})'
    assert down(helm, MONITORING, served) == (
        'absent(headrace_shards_held{namespace="headrace-system", serves="a"})'
        ' or absent(headrace_shards_held{namespace="headrace-system", serves="b"})'
    )
    assert down(helm, *RULES_ONLY, served) == (
        'absent(headrace_shards_held{serves="a"}) or absent(headrace_shards_held{serves="b"})'
    )


def test_values_change_what_they_name_and_nothing_else(tuned: dict[str, Any]) -> None:
    """An alert is left out, or has another severity, or one by the namespace; each has the address of its section."""
    before, after = alerts(RULES), alerts(tuned)
    severities = {name: rule["labels"]["severity"] for name, rule in after.items()}
    paging = r'{{ if match "^(?:prod-\\d+|billing)$" $labels.namespace }}critical{{ else }}warning{{ end }}'
    expected = {name: rule["labels"]["severity"] for name, rule in before.items() if name != "HeadraceDeadLetters"}
    expected |= TUNED["metrics"]["rules"]["severities"]
    assert severities == {**expected, "HeadraceErrorBudgetBurn": paging, "HeadraceCriticalFlowFailed": paging}
    url = TUNED["metrics"]["rules"]["runbookUrl"]
    for name, rule in after.items():
        was = before[name]
        assert rule["annotations"] == {**was["annotations"], "runbook_url": f"{url}#{name.lower()}"}
        assert name == "HeadraceOperatorDown" or rule["expr"] == was["expr"]
    recorded = [[r for group in rules["groups"] for r in group["rules"] if "record" in r] for rules in (RULES, tuned)]
    assert recorded[0] == recorded[1]


def test_a_group_without_alerts_is_left_out(helm: Helm) -> None:
    history = [
        rule["alert"] for group in RULES["groups"] if group["name"].endswith("history") for rule in group["rules"]
    ]
    made = spec(helm, *RULES_ONLY, f"--set=metrics.rules.disabled={{{','.join(history)}}}")
    assert made["groups"] == [group for group in RULES["groups"] if not group["name"].endswith("history")]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        (
            "disabled={HeadracePoolFul}",
            'metrics.rules.disabled: there is no alert "HeadracePoolFul"; name some of Head',
        ),
        ("severities.Burn=warning", 'metrics.rules.severities: there is no alert "Burn"; name some of Headrace'),
        ("pagedNamespaces=(a", "missing closing"),
        ("runbookUrl=docs/alerts.md", "runbookUrl"),
        ("severities.HeadracePoolFull=", "HeadracePoolFull"),
    ],
)
def test_a_value_that_changes_nothing_is_refused(helm: Helm, option: str, expected: str) -> None:
    """An alert that somebody believes to be off pages all the same."""
    assert expected in helm.refusal(*RULES_ONLY, f"--set=metrics.rules.{option}")


def test_prometheus_takes_them_as_they_are_meant(tuned: dict[str, Any], tmp_path: Path) -> None:
    """As promtool judges."""
    program, rules, cases = str(provided(PROMTOOL)), tmp_path / "rules.yaml", tmp_path / "tuned.test.yaml"
    rules.write_text(json.dumps(tuned))
    cases.write_text(CASES.read_text().replace("[RULES]", f"[{rules}]"))
    for command in (("check", "rules", "--lint=all", "--lint-fatal", str(rules)), ("test", "rules", str(cases))):
        done = subprocess.run([program, *command], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_who_installs_rules_that_nobody_feeds_is_told(tmp_path: Path) -> None:
    """By the notes, which `helm template` does not show: a copy of the chart has them as an object."""
    chart = tmp_path / "headrace"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "NOTES.txt").rename(chart / "files" / "notes.txt")
    shown = 'kind: Notes\ntext: {{ tpl (.Files.Get "files/notes.txt") . | toJson }}\n'
    (chart / "templates" / "notes.yaml").write_text(shown)
    copied = Helm(tmp_path / "helm", chart=chart)

    def warns(*options: str) -> bool:
        done = copied.call("template", "headrace", str(chart), "--kube-version=1.32.0", *options)
        (notes,) = [each for each in yaml.safe_load_all(done.stdout) if each and each["kind"] == "Notes"]
        return "HeadraceOperatorDown" in notes["text"]

    assert warns(*RULES_ONLY)
    assert not warns(MONITORING)
    assert not warns()
    assert not warns(*RULES_ONLY, "--set=settings.metricsPort=0")

"""The pages leave out nothing that a user can set, call or read, and their links and commands lead somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer.main
from prometheus_client import CollectorRegistry

from bench.__main__ import BENCHMARKS
from charts.generate import SET_BY_THE_CHART, camel
from headrace.api.conditions import EventReason, Phase, Reason
from headrace.api.crd import KINDS
from headrace.cli.main import application
from headrace_operator.holdings import Holdings
from headrace_operator.settings import PREFIX, Settings
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.wiring import utc_now

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").rglob("*.md")),
]
EVERYTHING = "\n".join(page.read_text() for page in PAGES)
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
OPERATOR = "".join(path.read_text() for path in sorted((ROOT / "operator").rglob("*.py")))
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)")
TABLES = ("headrace_runs", "headrace_results")
"""Of databases; all else that is called so is a metric."""
MAKE = re.compile(r"\bmake ([a-z][a-z0-9-]*)")


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    """Each command with what a person types before its options."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)
        else:
            yield " ".join(("headrace", *path, name)), command


def metric_names() -> list[str]:
    registry = CollectorRegistry()
    Metrics(registry).watch(Holdings(list), keeps_history=False, clock=utc_now)
    suffix = {"counter": "_total"}
    return sorted(family.name + suffix.get(family.type, "") for family in registry.collect())


COMMANDS = dict(commands(typer.main.get_command(application())))  # type: ignore[arg-type]
OPTIONS = sorted(
    {
        option
        for command in COMMANDS.values()
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help"
    }
)


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_in_the_operations_page_with_its_default(name):
    """The table tells the variable, and the default as the code has it."""
    row = re.search(rf"^\| `{PREFIX}{name.upper()}` \| (.*?) \|", OPERATIONS, re.MULTILINE)
    assert row, f"docs/operations.md has no row for {PREFIX}{name.upper()}"
    field = Settings.model_fields[name]
    default, told = field.default, row[1].strip("`")
    if field.default_factory is not None:  # found out where it runs: told in words
        assert len(told.split()) > 1
        return
    if default == "":  # what that means is told in a word
        assert re.fullmatch(r"\([a-z]+\)", told)
        return
    assert told == (f"{default:g}" if isinstance(default, float) else str(default))


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_told_with_the_value_of_the_chart(name):
    """By which it is changed for good."""
    row = re.search(rf"^\| `{PREFIX}{name.upper()}` \| .*? \| (.*?) \|", OPERATIONS, re.MULTILINE)
    assert row[1].strip("`") == SET_BY_THE_CHART.get(name, f"settings.{camel(name)}")


@pytest.mark.parametrize("name", metric_names())
def test_a_metric_is_in_the_operations_page(name):
    """Under the name that /metrics shows."""
    assert f"`{name}`" in OPERATIONS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_metric_on_a_page_exists(page):
    """An alert on a name that is told nowhere never fires."""
    told = set(re.findall(r"`[^`\n]*?(?<![:\w])(headrace_[a-z_]+)", page.read_text()))  # recorded ones have colons
    series = {f"{name}{part}" for name in metric_names() for part in ("", "_bucket", "_count", "_sum")}
    assert told - {"headrace_operator", "headrace_dashboard", *TABLES} <= series


def test_log_events_in_the_operations_page_exist():
    """Those of its table, and those to look for when something is wrong."""
    section = OPERATIONS.partition("## Logs")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    told = {word for row in rows for word in re.findall(r"`([a-z_]+)`", row)}
    told |= {word for row in re.findall(r"\| log: (.*?) \|", OPERATIONS) for word in re.findall(r"`([a-z_]+)`", row)}
    assert len(told) > 20
    assert {event for event in told if f'("{event}"' not in re.sub(r"\(\s+", "(", OPERATOR)} == set()


@pytest.mark.parametrize(
    ("page", "short_name", "header"),
    [
        pytest.param(page, short_name, header, id=f"{page.name}, {short_name}")
        for page in PAGES
        for short_name, header in re.findall(r"^ *\$ kubectl get (\w+)\n *(NAME .*)$", page.read_text(), re.MULTILINE)
    ],
)
def test_a_table_on_a_page_has_the_columns_that_kubectl_shows(page, short_name, header):
    """Those that it shows without being asked for more."""
    (model,) = (model for model in KINDS if model.resource.short_name == short_name)
    columns = [column.name.upper() for column in model.columns if not column.priority]
    assert header.split() == ["NAME", *columns], page.name


@pytest.mark.parametrize("name", EventReason)
def test_an_event_is_explained_on_a_page(name):
    """Beside its line in the reference, which says no more than its kind and what it means."""
    pages = [page for page in PAGES if page.name not in {"api.md", "CHANGELOG.md"}]
    assert any(re.search(rf"\b{name}\b", page.read_text()) for page in pages)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_has_a_row(name):
    """That says what it measures, and what it may cost."""
    assert re.search(rf"^\| `{name}` \| \S", (ROOT / "docs" / "benchmarks.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("kind", [model.resource.kind for model in KINDS])
def test_a_kind_is_in_the_list_of_pages(kind):
    """Who reads a manifest finds where it is explained."""
    assert f"`{kind}`" in (ROOT / "docs" / "README.md").read_text()


@pytest.mark.parametrize("word", [*Phase, *Reason])
def test_a_phase_or_reason_is_explained_somewhere(word):
    """A person who reads it in a status finds it by search."""
    assert re.search(rf"\b{word}\b", EVERYTHING)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_documented(command):
    """As a person types it."""
    assert re.search(rf"{command}\b", EVERYTHING)


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_documented(option):
    """By its long name."""
    assert re.search(rf"(?<![\w-]){option}(?![\w-])", EVERYTHING)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Files exist, and headings too."""
    for target, anchor in LINK.findall(page.read_text()):
        if target.startswith("https://"):
            continue
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_exist(page):
    """What a page tells to type, the Makefile knows."""
    code = re.findall(r"`([^`\n]+)`", page.read_text()) + re.findall(r"^    (.*)$", page.read_text(), re.MULTILINE)
    told = {target for line in code for target in MAKE.findall(line)}
    known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert told <= known


def test_the_first_flow_of_the_readme_runs_and_renders(tmp_path, monkeypatch, capsys):
    """As it stands there, and with the options that are told."""
    text = README.read_text()
    (tmp_path / "report.py").write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1])
    monkeypatch.chdir(tmp_path)
    lines = re.findall(r"^    headrace (.*report\.py.*?)(?: \|.*)?$", text, re.MULTILINE)
    assert len(lines) == 2
    for line in lines:
        application()(shlex.split(line), standalone_mode=False)
    shown = capsys.readouterr().out
    assert "Succeeded" in shown
    assert "timeZone: Europe/London" in shown


def test_ci_does_what_the_readme_tells():
    """Setup, then test; then what needs a machine of one's own."""
    script = [line for line in (ROOT / ".ci" / "run").read_text().splitlines() if line.startswith("make")]
    assert script == ["make setup", "make test", "make e2e"]
    assert all(line in README.read_text() for line in script[:2])

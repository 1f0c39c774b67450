"""`headrace history`: what a person sees of runs that have left the cluster."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from headrace.cli.main import application
from headrace.errors import UsageError
from headrace.history import open_history
from tests.unit.headrace.history.finished import a_record
from tests.unit.headrace.hostile_text import BAD, GOOD


def ran(*arguments: str) -> str:
    """What the command prints."""
    done = CliRunner().invoke(application(), ["history", *arguments])
    if done.exception:
        raise done.exception
    return done.stdout


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three runs, one of them of an hour ago; the variable names it."""
    url = f"sqlite:///{tmp_path}/history.db"
    recently = datetime.now(UTC) - timedelta(hours=1)
    opened = open_history(url)
    opened.write(
        [
            a_record("good", cost={"amount": "0.0125", "currency": "EUR"}),
            a_record("bad", phase="Failed", reason="FlowFailed").with_log_tail("KeyError: 'x'\n"),
            a_record("new", finishedAt=recently.isoformat(), startedAt=None),
        ]
    )
    opened.close()
    monkeypatch.setenv("HEADRACE_HISTORY_URL", url)
    return url


def names(*arguments: str) -> list[str]:
    return [row["name"] for row in json.loads(ran("list", "-o", "json", *arguments))]


def test_runs_are_listed_the_last_first(store: str) -> None:
    """Whose they were, how they ended, how long they took and what they cost."""
    lines = {line.split()[1]: line.split() for line in ran("list").splitlines()}
    assert list(lines)[1:] == ["new", "bad", "good"]
    assert lines["good"][:8] == ["team-a", "good", "daily", "Succeeded", "Succeeded", "1", "1.5s", "0.0125"]
    assert lines["bad"][3:5] == ["Failed", "FlowFailed"]


def test_a_list_is_narrowed(store: str) -> None:
    """By each of the options."""
    assert names("--phase", "failed") == ["bad"]
    assert names("--since", "2h", "--deployment", "daily") == ["new"]
    assert names("-n", "team-a", "--flow", "etl", "--limit", "1") == ["new"]
    assert ran("list", "-n", "team-b") == "no run is recorded that is asked for\n"
    assert names("--backfill", "march") == []


def test_one_run_is_shown_with_the_end_of_its_log(store: str) -> None:
    """Every field that has a value."""
    shown = ran("show", "bad", "-n", "team-a")
    assert "FlowFailed" in shown
    assert '{"day": "2026-03-03", "rows": 10}' in shown
    assert shown.endswith("log_tail:\nKeyError: 'x'\n")
    (as_json,) = json.loads(ran("show", "bad", "-n", "team-a", "--output", "json"))
    assert as_json["attempts"] == [{"number": 1, "pod": "bad-1", "exitCode": 0}]


def test_what_is_shown_commands_no_terminal(store: str) -> None:
    """Whoever wrote the message and the log is not the one who reads them."""
    opened = open_history(store)
    opened.write([a_record("hostile", message=BAD).with_log_tail(BAD)])
    opened.close()
    shown = ran("show", "hostile", "-n", "team-a")
    assert shown.count(GOOD) == 2
    assert BAD not in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "none"], "no run default/none is recorded"),
        (["list", "--phase", "Running"], "a run ends as one of Succeeded, Failed"),
        (["list", "--store", ""], "no history store is named"),
    ],
)
def test_what_cannot_be_shown_is_told(store: str, arguments: list[str], said: str) -> None:
    """With what to do."""
    with pytest.raises(UsageError, match=said):
        ran(*arguments)

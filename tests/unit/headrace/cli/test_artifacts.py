"""`headrace artifacts`: what is listed and shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.cli.artifacts import as_table, named, of_run, print_text, readable
from headrace.cli.cluster import ClusterRefusal
from headrace.errors import NoSuchResult, UsageError
from tests.unit.headrace.cli.memory_api import MemoryApi

ROWS = {"name": "rows", "kind": "table", "description": "Rows of the day, " * 6, "url": "s3://b/rows.json"}
LOAD = {"name": "load", "kind": "progress", "description": "80 %"}


def a_run(**status: Any) -> dict[str, Any]:
    return {"kind": "FlowRun", "metadata": {"name": "etl-7", "namespace": "team-a"}, "status": status}


async def test_the_artifacts_of_a_run_are_listed() -> None:
    """Long descriptions are cut, and there may be no URL."""
    where, found = await of_run(MemoryApi(a_run(artifacts=[ROWS, LOAD])), "team-a", "etl-7")
    assert (where, found) == ("team-a", [ROWS, LOAD])
    header, first, second = as_table(found).splitlines()
    assert header.split() == ["NAME", "KIND", "DESCRIPTION", "URL"]
    assert first.endswith("…   s3://b/rows.json")
    assert second.split() == ["load", "progress", "80", "%"]


async def test_a_run_without_artifacts_and_one_that_is_not_there() -> None:
    """Both are told."""
    _, found = await of_run(MemoryApi(a_run()), "team-a", "etl-7")
    assert as_table(found) == "the run has no artifacts"
    with pytest.raises(ClusterRefusal, match='there is no FlowRun "etl-8" in namespace team-a'):
        await of_run(MemoryApi(a_run()), "team-a", "etl-8")


def test_one_is_chosen_by_its_name() -> None:
    """A wrong name is answered with the right ones."""
    assert named([ROWS, LOAD], "load", "FlowRun a/b") is LOAD
    with pytest.raises(UsageError, match='FlowRun a/b has no artifact "x"; it has: rows, load'):
        named([ROWS, LOAD], "x", "FlowRun a/b")


def test_what_can_be_read_of_each_kind(tmp_path: Any) -> None:
    """The content, the URL, or where it is."""
    (tmp_path / "notes.md").write_text("# Ä")
    notes = {"name": "notes", "kind": "markdown", "url": (tmp_path / "notes.md").as_uri()}
    assert readable(notes, "kubectl logs") == "# Ä"
    assert readable(LOAD, "kubectl logs") == "80 %"
    assert readable({"name": "a", "kind": "image", "url": "s3://b/a.png"}, "") == "s3://b/a.png"
    with pytest.raises(UsageError, match="is in the log of the run, as no results URL is set: kubectl logs"):
        readable({"name": "a", "kind": "markdown"}, "kubectl logs")
    with pytest.raises(NoSuchResult):
        readable({**notes, "url": (tmp_path / "gone.md").as_uri()}, "")


@pytest.mark.parametrize(
    ("kind", "text", "shown"),
    [
        ("markdown", "# Title\x1b[2J\n\n- a", ["Title[2J", "• a"]),
        ("table", json.dumps([{"a": 1, "b": "[bold]x\x1b[2J"}, {"a": None}]), ["a", "b", "[bold]x", "null"]),
        ("table", "[[1, 2]]", ["1", "2"]),
        ("link", "https://example.org", ["https://example.org"]),
        ("progress", "half\x1b[2J", ["half[2J"]),
    ],
)
def test_a_terminal_shows_it_as_people_read_it(capsys: Any, kind: str, text: str, shown: list[str]) -> None:
    """And gets no commands from it."""
    print_text(kind, text, terminal=True)
    out = capsys.readouterr().out
    assert all(part in out for part in shown)
    assert "\x1b[2J" not in out


def test_a_pipe_gets_it_as_it_is(capsys: Any) -> None:
    """For other programs."""
    print_text("table", '[{"a": 1}]', terminal=False)
    assert capsys.readouterr().out == '[{"a": 1}]\n'

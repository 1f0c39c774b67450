"""Programs that benchmarks build."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.gotools import ARGO, KWOK
from headrace.devcluster.errors import MissingTool
from headrace.devcluster.progress import Silent
from tests.gotools import Tool, provide


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """A tool whose module and cache are the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "module"
    folder.mkdir()
    (folder / "go.mod").write_text("module example\n\nrequire example.org/tool v1.2.3\n")
    (folder / "go.sum").write_text("")
    return Tool("tool", folder, "example.org/tool", "example.org/tool/cmd")


def test_a_version_is_that_of_go_mod(tool: Tool) -> None:
    """In a line of its own."""
    assert tool.version == "v1.2.3"


@pytest.mark.parametrize("each", [KWOK, ARGO], ids=lambda each: each.name)
def test_the_tools_of_the_benchmarks_have_versions(each: Tool) -> None:
    """In a block of lines too."""
    assert each.version.startswith("v")


def test_another_version_is_another_build(tool: Tool) -> None:
    """So nobody measures what was built before."""
    before = tool.home
    (tool.folder / "go.sum").write_text("example.org/tool v1.2.3 h1:=\n")
    assert tool.home != before


def test_what_is_built_is_not_built_again(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Go it is there all the same."""
    tool.home.mkdir(parents=True)
    tool.program.touch(mode=0o700)
    monkeypatch.setenv("PATH", "")
    assert provide(tool, Silent()).is_built


def test_without_go_it_tells_what_to_install(tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    """And for which program."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingTool, match="no Go to build other with: install Go"):
        provide(replace(tool, name="other"), Silent())

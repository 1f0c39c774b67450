"""Pages that are read from top to bottom are run from top to bottom."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.pages import DOCS, Block, Shell, blocks, commands, is_shown

CLUSTER = "On Kubernetes"
"""From this section on the tutorial needs a cluster: tests/cluster/test_tutorial.py goes through all of it."""


def test_the_tutorial_does_what_it_says(tmp_path):
    """Up to where it needs a cluster."""
    told = list(blocks(DOCS / "tutorial.md"))
    sections = list(dict.fromkeys(block.section for block in told))
    first = sections.index(CLUSTER)
    with Shell(tmp_path) as shell:
        for block in told:
            if sections.index(block.section) < first:
                shell.follow(block)


@pytest.mark.parametrize(
    "section", list(dict.fromkeys(block.section for block in blocks(DOCS / "howto.md"))), ids=lambda text: text
)
def test_a_how_to_does_what_it_says(section, tmp_path):
    """Each by itself, in an empty folder."""
    with Shell(tmp_path) as shell:
        for block in blocks(DOCS / "howto.md"):
            if block.section == section:
                shell.follow(block)


@pytest.mark.parametrize(
    "block",
    [
        block
        for page in ("tutorial.md", "howto.md")
        for block in blocks(DOCS / page)
        if "no-run" in block.options or block.language not in {"python", "yaml", "console"}
    ],
    ids=lambda block: block.place,
)
def test_a_block_that_is_not_run_says_why(block):
    """And pytest tells which ones there are."""
    why = block.options.get("no-run", "")
    assert why, f"{block.place} is run by nothing"
    pytest.skip(f"{block.place} is not run: {why}")


@pytest.mark.parametrize(
    ("expected", "seen", "is_same"),
    [
        ("3\n", "3\n", True),
        ("3\n", "4\n", False),
        ("", "", True),
        ("", "a warning\n", False),
        ("one\n…\nfour\n", "one\ntwo\nthree\nfour\n", True),
        ("one\n…\nfour\n", "one\ntwo\nthree\n", False),
        ("…\n", "", True),
        ("run … ended\n", "run 7 of 9 ended\n", True),
        ("run … ended\n", "run 7\nof 9 ended\n", False),
        (
            "12:00:00.001 info  etl-0a1b2c3d4e5f  succeeded in 1.5 s",
            "23:59:59.999 info etl-ffffffffffff succeeded in 3e-05 s",
            True,
        ),
        ("etl-20260302081502-3791   True   2m3s", "etl-20261121190140-2974 True 5s", True),
        ("etl-20260302081502-3791   True   2m3s", "etl-20261121190140-2974 False 5s", False),
        ("12:00:00.001 info  etl-0a1b2c3d4e5f  succeeded", "12:00:00.001 info etl-0a1b2c3d4e5f failed", False),
    ],
)
def test_what_counts_as_the_same_output(expected, seen, is_same):
    """All of it, but for what differs each time and where the page has an ellipsis."""
    assert is_shown(expected, seen) is is_same


def test_a_shell_keeps_its_session_and_notices_what_differs(tmp_path):
    """Variables stay; another output, another exit status and a page that never types are errors."""

    def block(text: str, **options: str) -> Block:
        return Block(DOCS / "tutorial.md", 1, "", "console", options, text)

    with Shell(tmp_path) as shell:
        shell.follow(block("$ export DAY=monday\n$ cat <<END\n> on $DAY\n> END\non monday\n"))
        shell.follow(block("$ false\n", exit="1"))
        with pytest.raises(AssertionError, match="exit status 1, expected 0"):
            shell.follow(block("$ false\n"))
        with pytest.raises(AssertionError, match="on the page"):
            shell.follow(block("$ echo $DAY\ntuesday\n"))
        with pytest.raises(ValueError, match="expected"):
            commands(block("echo hello\n"))


def test_an_option_that_does_not_exist_is_refused(tmp_path):
    """So a block is not left out by a slip."""
    page = DOCS / "tutorial.md"
    wrong = Path(tmp_path / "wrong.md")
    wrong.write_text("```console norun=why\n$ true\n```\n")
    assert list(blocks(page))
    with pytest.raises(ValueError, match="norun"):
        list(blocks(wrong))

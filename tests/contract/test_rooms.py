"""The table of rooms in docs/design.md has all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECTION = (ROOT / "docs" / "design.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| (`.*?) \| (.*) \|$", SECTION, re.MULTILINE)
NAMED = {room for rooms, _ in ROWS for room in re.findall(r"`([^`]+)`", rooms)}
PARTS = {f"{room.strip('`')}{part}" for room, text in ROWS for part in re.findall(r"`([a-z]+/)`", text)}
ROOMS = sorted(
    f"{path.parent.relative_to(ROOT)}/" for root in ("sdk", "operator") for path in (ROOT / root).rglob("__init__.py")
)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_told(room):
    """By its path, or by its name in the row of the one that it is in."""
    assert room in NAMED | PARTS


@pytest.mark.parametrize("path", sorted(NAMED))
def test_what_is_told_is_there(path):
    """A room that has moved is told where it is."""
    assert (ROOT / path).exists()

"""The page of the dashboard leaves out no setting and no log event."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from headrace_dashboard.server import ROUTES
from headrace_dashboard.settings import PREFIX, Settings

PAGE = (Path(__file__).parents[3] / "docs/dashboard.md").read_text()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_setting_is_told_with_its_default(name: str) -> None:
    """An empty one in a word."""
    row = re.search(rf"^\| `{PREFIX}{name.upper()}` \| (.*?) \|", PAGE, re.MULTILINE)
    assert row, f"docs/dashboard.md has no row for {PREFIX}{name.upper()}"
    default = Settings.model_fields[name].default
    assert re.fullmatch(r"\([a-z]+\)", row[1]) if default == "" else row[1].strip("`") == str(default)


def test_every_right_that_a_route_needs_is_told() -> None:
    """By verb and resource, as `kubectl auth can-i` takes them."""
    needed = {
        f"{need.verb} {need.resource}{'/' + need.subresource if need.subresource else ''}"
        for route in ROUTES
        for need in route.needs
    }
    assert len(needed) >= 6
    assert {each for each in needed if f"`{each}`" not in PAGE} == set()

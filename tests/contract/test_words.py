"""A status speaks in no word that is never said: each reason and condition type is used by the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.api.conditions import ConditionType, Phase, Reason

ROOT = Path(__file__).parents[2]
CODE = "".join(
    path.read_text()
    for folder in ("operator", "sdk")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path != ROOT / "sdk/headrace/api/conditions.py"
)


@pytest.mark.parametrize("word", [*ConditionType, *Phase, *Reason], ids=lambda word: f"{type(word).__name__}.{word}")
def test_a_word_is_used(word):
    assert f"{type(word).__name__}.{word.name}" in CODE

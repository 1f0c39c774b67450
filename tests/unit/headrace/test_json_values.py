"""What a person types as JSON, where the API carries it."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest

from headrace.json_values import json_from, json_or_text

DEEP = 100_000
UNCARRIED = (
    "123456789012345678901234",
    "9223372036854775808",
    "-9223372036854775809",
    '[1, {"a": 123456789012345678901234}]',
    "9" * 5000,
    "1e999",
    "-1e999",
    "[1e999]",
    "NaN",
    "Infinity",
    '{"a": NaN}',
    r'"\ud800"',
    r'{"\udc00": 1}',
    "[" * DEEP + "]" * DEEP,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("1.5e300", 1.5e300),
        (r'"\ud83d\ude00"', "\U0001f600"),
        ('{"a": [true, null]}', {"a": [True, None]}),
        ("2026-01-01", "2026-01-01"),
        ("", ""),
    ],
)
def test_a_value_is_json_or_else_text(text: str, value: Any) -> None:
    found = json_or_text(text)
    assert found == value
    assert orjson.loads(orjson.dumps(found)) == value


@pytest.mark.parametrize("text", UNCARRIED, ids=[text[:24] for text in UNCARRIED])
def test_what_the_api_does_not_carry_stays_text(text: str) -> None:
    """It would be another number there, or null, or could not be sent at all."""
    assert json_or_text(text) == text
    assert orjson.loads(orjson.dumps(text)) == text


def test_a_file_is_told_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="9223372036854775808 has more than 64 bits; write it as text, in quotes"):
        json_from(json.dumps({"a": 2**63}))

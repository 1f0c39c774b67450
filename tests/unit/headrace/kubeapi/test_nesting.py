"""JSON that nests deeper than a parser goes."""

from __future__ import annotations

import json

import orjson
import pytest

from headrace.kubeapi.nesting import DEEPEST, LEFT_OUT, loads

BESIDE = {"name": 'a "b" \\ [{', "numbers": [1, {"two": [[]]}]}


def a_list(deep: str) -> bytes:
    """Of two objects, one of which nests."""
    return f'{{"items": [{json.dumps(BESIDE)}, {{"deep": {deep}, "after": "]"}}]}}'.encode()


@pytest.mark.parametrize(
    "deep", ["[" * 5_000 + '"]"' + "]" * 5_000, '{"a":' * 2_000 + "[1, 2]" + "}" * 2_000], ids=["lists", "objects"]
)
def test_what_is_too_deep_is_left_out_and_nothing_else(deep: str) -> None:
    """The objects beside it are whole, and so is what follows it."""
    beside, found = loads(a_list(deep))["items"]
    assert (beside, found["after"]) == (BESIDE, "]")
    value, depth = found["deep"], 0
    while not isinstance(value, str):
        (value,) = value.values() if isinstance(value, dict) else value
        depth += 1
    assert (value, depth) == (json.loads(LEFT_OUT), DEEPEST - 3)
    orjson.dumps(found)


def test_siblings_that_are_too_deep_are_left_out_each() -> None:
    """Not what is between them."""
    deep = "[" * 2_000 + "]" * 2_000
    found = loads(f'{{"a": {deep}, "b": [1], "c": {deep}}}'.encode())
    assert found["b"] == [1]
    assert found["a"] == found["c"] != []


@pytest.mark.parametrize("payload", [b"", b"<html>", a_list("[" * 5_000), a_list("1")[:-9], b'{"a": "[[['])
def test_what_is_no_json_is_told(payload: bytes) -> None:
    """As it was cut off, deep or not."""
    with pytest.raises(orjson.JSONDecodeError):
        loads(payload)

"""
JSON of the API server that nests deeper than a parser goes.

The API server takes objects of 10,000 levels from whoever may create any, and sends them in one list with those of everybody else. A list that
cannot be read stops an operator for all of them; so what is too deep is left out, and its object is read without it.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

DEEPEST: Final = 200
"""Levels that are read of what nests too deep; orjson writes 254."""
LEFT_OUT: Final = f'"(left out: it nests deeper than {DEEPEST} levels)"'.encode()
TOKEN: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{}]', re.DOTALL)


def loads(payload: bytes) -> Any:
    """What the JSON says; a text is in the place of what is too deep to be read. Raises: orjson.JSONDecodeError: it is no JSON."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        flat = _flattened(payload)
        if flat == payload:
            raise
        return orjson.loads(flat)


def _flattened(payload: bytes) -> bytes:
    kept: list[bytes] = []
    depth = begin = 0
    for token in TOKEN.finditer(payload):
        character = token[0][:1]
        if character in b"[{":
            depth += 1
            if depth == DEEPEST + 1:
                kept += (payload[begin : token.start()], LEFT_OUT)
                begin = len(payload)
        elif character in b"]}":
            if depth == DEEPEST + 1:
                begin = token.end()
            depth -= 1
    return b"".join((*kept, payload[begin:]))

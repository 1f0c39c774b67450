"""JSON that a person typed, as far as the API carries it: Python reads numbers and texts that Kubernetes has no place for."""

from __future__ import annotations

import json
from typing import Any, Final

from headrace.errors import shown

BITS: Final = 63
"""Of a whole number beside its sign: the API server makes a float of any larger one."""


def json_from(text: str) -> Any:
    """
    The value that the text says.

    Raises: ValueError: it is no JSON, or says what the API does not carry as it is: a whole number of more than 64 bits, NaN, a number
    as large as 1e999, half of a surrogate pair, more levels than can be read.
    """
    try:
        found = json.loads(text, parse_int=_whole_number)
        json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("it nests too deep") from error
    return found


def json_or_text(text: str) -> Any:
    """The value that the text says, or else the text itself: what is wrong with it is for a schema to say."""
    try:
        return json_from(text)
    except ValueError:
        return text


def _whole_number(digits: str) -> int:
    number = int(digits)
    if not -(2**BITS) <= number < 2**BITS:
        raise ValueError(f"{shown(number)} has more than 64 bits; write it as text, in quotes")
    return number

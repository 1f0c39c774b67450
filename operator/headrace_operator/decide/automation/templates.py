"""
Texts with `{{ event.x }}` in them.

What stands between the braces is an expression: nothing is executed, and what comes in is put in as it is, never read as a template again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from headrace_operator.decide.automation.expressions import (
    MAX_DEPTH,
    Evaluate,
    EvaluationError,
    Event,
    InvalidExpression,
    compiled,
)

TEXT_LIMIT: Final = 16 * 1024
"""Characters of one text: what comes in may be put into it many times over."""
_HOLE: Final = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)


def template(value: Any, *, depth: int = 0) -> Evaluate:
    """
    A JSON value whose texts are templates. A text that is one hole and nothing else becomes the value, with its type.

    Raises: InvalidExpression: a hole cannot be understood, or the value nests too deep.
    """
    if depth > MAX_DEPTH:
        raise InvalidExpression("…", f"the value is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        parts = {name: template(part, depth=depth + 1) for name, part in value.items()}
        return lambda event: {name: part(event) for name, part in parts.items()}
    if isinstance(value, (list, tuple)):
        items = [template(item, depth=depth + 1) for item in value]
        return lambda event: [item(event) for item in items]
    return lambda _event: value


def _text(text: str) -> Evaluate:
    pieces = _HOLE.split(text)  # texts and expressions in turn
    if len(pieces) == 1:
        return lambda _event: text
    holes = [compiled(piece) for piece in pieces[1::2]]
    if len(holes) == 1 and not "".join(pieces[::2]).strip():
        return holes[0]
    between = pieces[::2]

    def evaluate(event: Event) -> str:
        pieces, size = [between[0]], len(between[0])
        for hole, after in zip(holes, between[1:], strict=True):
            pieces += (_shown(hole(event)), after)
            size += len(pieces[-2]) + len(after)
            if size > TEXT_LIMIT:
                raise EvaluationError(
                    f"a text comes to more than {TEXT_LIMIT} characters; take less of the event into it"
                )
        return "".join(pieces)

    return evaluate


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))

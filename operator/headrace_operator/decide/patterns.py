"""
Patterns of users, applied in bounded time.

Python's regular expressions try what may match again and again: `^(a+)+$` takes hours for forty characters. Those of
pydantic look at each character once, and know no look-around and no back references. At each character they may have to
follow every state of the pattern, and `[ab]{50000}` has so many: what a pattern costs is told before it is used.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

MOST_STATES: Final = 1_000_000
"""Counted at most: larger ones fit into no budget."""
CLASS_STEPS: Final = 500
"""To prepare a class like `\\w`, which has hundreds of ranges; measured."""
STATE_STEPS: Final = 10
"""To prepare any other state."""
_TOKEN: Final = re.compile(
    r"""
      (?P<class> \\[pP]\{[^}]*\} | \\[pPdDsSwWbB] | \[(?=[^\]]*[\\\[])(?:\\.|[^\]\\])*\] )
    | (?P<times> \{ \s* (?P<least>\d*) \s* (?: , \s* (?P<most>\d*) \s* )? \} )
    | (?P<opens> \( )
    | (?P<closes> \) )
    | \[(?:\\.|[^\]\\])*\] | \\. | .
    """,
    re.DOTALL | re.VERBOSE,
)
_LAYOUT: Final = re.compile(r"\(\?[a-zA-Z-]*x")
"""Lets a pattern hold blanks and comments, which are not told from the rest here."""


class UnboundedPattern(ValueError):
    """The pattern cannot be applied in bounded time."""


def matches(pattern: str, text: str) -> bool:
    """Whether the pattern is anywhere in the text. Raises: UnboundedPattern."""
    expression = _expression(pattern)
    if expression is None:
        raise UnboundedPattern(pattern)
    try:
        expression.validate_python(text)
    except ValidationError:
        return False
    return True


@lru_cache(maxsize=256)
def states_of(pattern: str) -> int:
    """About how many states the pattern has: what is repeated counts as often as it may occur."""
    return _sum(pattern, of_class=1, of_state=1)


@lru_cache(maxsize=256)
def steps_to_prepare(pattern: str) -> int:
    """About how many microseconds it takes until the pattern can be applied."""
    return _sum(pattern, of_class=CLASS_STEPS, of_state=STATE_STEPS)


def _sum(pattern: str, *, of_class: int, of_state: int) -> int:
    """Of the prices of its parts. A list holds a group that is still open, each part of it with its repetitions."""
    if _LAYOUT.search(pattern):
        return MOST_STATES * of_class
    open_groups: list[list[int]] = [[]]
    for token in _TOKEN.finditer(pattern):
        parts = open_groups[-1]
        if token["times"] is not None and parts:
            parts[-1] = min(parts[-1] * _times(token), MOST_STATES * of_class)
        elif token["opens"] is not None:
            open_groups.append([])
        elif token["closes"] is not None and len(open_groups) > 1:
            group = open_groups.pop()
            open_groups[-1].append(of_state + sum(group))
        else:
            parts.append(of_class if token["class"] is not None else of_state)
    return sum(map(sum, open_groups)) or 1


def _times(token: re.Match[str]) -> int:
    return max(1, *(int(bound[:9]) for bound in (token["least"], token["most"]) if bound), 1)


@lru_cache(maxsize=64)
def _expression(pattern: str) -> SchemaValidator | None:
    """Up to 10 MB each."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))
    except SchemaError:
        return None

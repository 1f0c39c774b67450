"""What is asked of a person before a command changes many objects at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headrace.errors import UsageError

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def agreed(text: str) -> bool:
    """Whether a person wants it. Raises: UsageError: there is nobody to ask."""
    if not sys.stdin.isatty():
        raise UsageError(f"{text}\nnobody can be asked here, as this is no terminal; add --yes to go on")
    print(text, file=sys.stderr)
    return typer.confirm("Go on?", err=True)

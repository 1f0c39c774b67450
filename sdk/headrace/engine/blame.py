"""Where an exception comes from, in the words of the person whose code it is."""

from __future__ import annotations

import contextlib
import os
import sysconfig
from pathlib import Path
from types import TracebackType

from headrace.secrecy.redaction import redacted

OURS = str(Path(__file__).parent.parent) + os.sep
LIBRARIES = tuple({sysconfig.get_path(name) + os.sep for name in ("stdlib", "purelib", "platlib")})
MACHINERY = (OURS, contextlib.__file__)
"""Frames between the caller and the author's code; they say nothing about what went wrong."""
MAX_TRACEBACK = 8192
"""Characters of a traceback in a log line; the end is kept, as it says what went wrong."""


def where(error: BaseException) -> str:
    """The innermost line of the author's own code that the exception passed, as "etl.py:23"; empty if there is none."""
    place = ""
    step = error.__traceback__
    while step is not None:
        if _is_authors(step):
            place = f"{_shortened(step.tb_frame.f_code.co_filename)}:{step.tb_lineno}"
        step = step.tb_next
    return place


def traceback_text(error: BaseException) -> str:
    """The traceback without the frames of this package, at most 8,192 characters of it."""
    import traceback  # noqa: PLC0415 - only failures need it

    told = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = told
    while part is not None:
        foreign = [frame for frame in part.stack if not frame.filename.startswith(MACHINERY)]
        part.stack = traceback.StackSummary.from_list(foreign)
        part = part.__cause__ or part.__context__
    return redacted("".join(told.format()).rstrip())[-MAX_TRACEBACK:]


def _is_authors(step: TracebackType) -> bool:
    name = step.tb_frame.f_code.co_filename
    return not name.startswith((OURS, "<frozen", *LIBRARIES))


def _shortened(name: str) -> str:
    """Relative to the working folder where it is below it, else the bare name: folders of an image say little."""
    path = Path(name)
    try:
        here = Path.cwd()
        return path.name if here == here.parent else str(path.relative_to(here))  # a pod works in "/" at times
    except (ValueError, OSError):
        return path.name

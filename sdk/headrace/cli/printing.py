"""How commands show what goes on: lines that stay, and one that changes where the terminal can."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Final

from headrace.terminal_text import harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

QUIET_S = 15.0
"""Between two ticks where the output is a file or a CI log: enough to see that it lives."""
COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
COLOURS: Final = {
    **dict.fromkeys(("Succeeded", "ok", "True", "info"), "32"),
    **dict.fromkeys(("Running", "debug"), "36"),
    **dict.fromkeys(("Retrying", "Paused", "Waiting", "warning", "warn"), "33"),
    **dict.fromkeys(("Failed", "Crashed", "error", "critical", "fail", "False"), "31"),
    **dict.fromkeys(("Cancelled", "Skipped"), "2"),
}
"""What a terminal is told, by phase, verdict and level of a log line."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their header, each column as wide as its widest cell."""
    lines = [header, *rows]
    widths = [max(width(line[column]) for line in lines) for column in range(len(header))]
    return harmless("\n".join("   ".join(map(_padded, line, widths)).rstrip() for line in lines))


def width(text: str) -> int:
    """Characters that it takes on a terminal; its colours take none."""
    return len(COLOUR.sub("", text)) if "\x1b" in text else len(text)


def _padded(text: str, size: int) -> str:
    return text + " " * (size - width(text))


def shortened(text: str, size: int) -> str:
    """In one line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= size else f"{line[: size - 1]}…"


def paints(stream: IO[str]) -> bool:
    """Whether colours are wanted there: on a terminal, unless NO_COLOR is set or the terminal is dumb."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def painted(text: str, word: str) -> str:
    """The text in the colour of a phase or a verdict, whatever the stream is; others stay as they are."""
    code = COLOURS.get(word)
    return f"\x1b[{code}m{text}\x1b[0m" if code and text else text


def counted(count: int, noun: str) -> str:
    """The count with its noun, such as "1 run" or "2 runs"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


class Lines:
    """Progress without a terminal: every step a line, a tick now and then."""

    def __init__(self) -> None:
        self._next_tick = time.monotonic() + QUIET_S

    def step(self, text: str) -> None:
        """Prints the text as a line on standard error."""
        print(text, file=sys.stderr, flush=True)

    def tick(self, text: str) -> None:
        """One line, if none came for a while."""
        if time.monotonic() >= self._next_tick:
            self._next_tick = time.monotonic() + QUIET_S
            self.step(f"  {text}")


class Terminal:
    """Progress on a terminal: steps above, the tick in the last line beside a spinner."""

    def __init__(self, console: Console, status: Status) -> None:
        self._console = console
        self._status = status

    def step(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, highlight=False, markup=False)

    def tick(self, text: str) -> None:
        """Replaces the text beside the spinner."""
        self._status.update(text)


@contextmanager
def progress() -> Iterator[Lines | Terminal]:
    """Shows progress on standard error until the block ends; standard output stays free for results."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console  # noqa: PLC0415 - on a terminal only

    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        yield Lines()
        return
    with console.status("") as status:
        yield Terminal(console, status)

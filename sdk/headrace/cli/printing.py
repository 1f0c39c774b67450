"""How commands show what goes on: lines that stay, and one that changes where the terminal can."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.status import Status

QUIET_S = 15.0
"""Between two ticks where the output is a file or a CI log: enough to see that it lives."""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The rows under their header, each column as wide as its widest cell."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("   ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def age(span: timedelta) -> str:
    """As kubectl tells it: "50s", "12m", "5h", "3d"."""
    seconds = max(0, int(span.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def counted(count: int, noun: str) -> str:
    """The count with its noun, such as "1 run" or "2 runs"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


class Lines:
    """Progress without a terminal: every step a line, a tick now and then."""

    def __init__(self) -> None:
        self._next_tick = time.monotonic() + QUIET_S

    def step(self, text: str) -> None:
        """One line."""
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
    console = Console(stderr=True, soft_wrap=True)
    if not console.is_terminal:
        yield Lines()
        return
    with console.status("") as status:
        yield Terminal(console, status)

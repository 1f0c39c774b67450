"""How commands show what goes on: lines that stay, and one that changes where the terminal can."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.status import Status

QUIET_S = 15.0
"""Between two ticks where the output is a file or a CI log: enough to see that it lives."""


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

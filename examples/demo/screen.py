"""What the demo shows: lines that stay, a line that changes on a terminal, and plain text everywhere else."""

from __future__ import annotations

import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.status import Status
from rich.text import Text

WIDTH = 110
"""Of lines where the output is no terminal."""


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=True)
    return console if console.is_terminal else Console(highlight=False, soft_wrap=True, width=WIDTH, no_color=True)


@dataclass(slots=True)
class Screen:
    """Standard output. It takes the progress of the local cluster too (`step` and `tick`)."""

    console: Console = field(default_factory=_console)
    began: float = field(default_factory=time.monotonic)
    _status: Status | None = None

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self.began

    def heading(self, text: str) -> None:
        """What comes next."""
        self.console.print(Text(f"\n{text}", style="bold"))

    def step(self, text: str) -> None:
        """Something was done."""
        self.still()
        self.line(f"  {text}", "dim")

    def tick(self, text: str) -> None:
        """What is going on; seen on a terminal only, until the next line."""
        if not self.console.is_terminal:
            return
        if self._status is None:
            self._status = self.console.status(text)
            self._status.start()
        self._status.update(text)

    def still(self) -> None:
        """Takes the changing line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def command(self, words: Sequence[str]) -> None:
        """A command as a person would type it."""
        self.console.print(Text.assemble(("$ ", "green"), (shlex.join(words), "bold")))

    def line(self, text: str, style: str = "") -> None:
        """One line."""
        self.console.print(Text(text, style=style))

    def task(self, name: str, mark: str, text: str, style: str) -> None:
        """What happened to a task, with the time since the demo began."""
        self.console.print(
            Text.assemble((f"  {self.seconds:5.1f}s  ", "dim"), (f"{mark} ", style), (f"{name:<12} ", "bold"), text)
        )

"""What a person is shown while something takes long."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Shows how far a long step has come."""

    def step(self, text: str) -> None:
        """One line that stays: something began or was done."""

    def tick(self, text: str) -> None:
        """What is going on now; replaces the last tick, and may be dropped."""


class Silent:
    """Progress that nobody is shown."""

    def step(self, text: str) -> None:
        """Drops the text."""

    def tick(self, text: str) -> None:
        """Drops the text."""

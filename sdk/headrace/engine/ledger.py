"""What the runs of a session have read and written: the first ones by name, of the others how many."""

from __future__ import annotations

from threading import Lock
from typing import Final, Literal

NAMED: Final = 16
"""Datasets that are kept by name, of those that were read and of those that were written."""
COUNTED: Final = 10_000
"""Datasets that are told apart; a flow that touches more is said to have touched so many."""

Direction = Literal["inputs", "outputs"]


class Ledger:
    """Datasets by their URI, each once, from any thread."""

    __slots__ = ("_lock", "_seen")

    def __init__(self) -> None:
        self._lock = Lock()
        self._seen: dict[Direction, dict[str | int, None]] = {"inputs": {}, "outputs": {}}

    def note(self, direction: Direction, dataset: str) -> None:
        """Keeps the dataset, if it is new."""
        with self._lock:
            seen = self._seen[direction]
            # A name takes a hundred bytes, a hash of it eight.
            mark = hash(dataset)
            if dataset not in seen and mark not in seen and len(seen) < COUNTED:
                seen[dataset if len(seen) < NAMED else mark] = None

    def named(self, direction: Direction) -> list[str]:
        """The first 16, in the order in which they were touched."""
        with self._lock:
            return [each for each in self._seen[direction] if isinstance(each, str)]

    def unnamed(self, direction: Direction) -> int:
        """How many there are beside the named ones."""
        with self._lock:
            return max(0, len(self._seen[direction]) - NAMED)

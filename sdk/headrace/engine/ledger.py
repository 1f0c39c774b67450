"""What the runs of a session have read and written: the first ones by name, of the others how many."""

from __future__ import annotations

import json
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

    def summary(self, most_bytes: int = 2**20) -> dict[str, list[str] | int]:
        """
        `inputs` and `outputs`, the first 16 of each in the order in which they were touched, and how many `more`.

        Args:
            most_bytes: That those may have together, as JSON; where they have more, the last are only counted.
        Returns: Without what is empty or 0.
        """
        with self._lock:
            seen = {name: list(found) for name, found in self._seen.items()}
        kept = {name: [each for each in found if isinstance(each, str)] for name, found in seen.items()}
        while sum(map(_size, kept.values())) > most_bytes:
            max(kept.values(), key=_size).pop()
        more = sum(len(found) - len(kept[name]) for name, found in seen.items())
        return {**{name: found for name, found in kept.items() if found}, **({"more": more} if more else {})}


def _size(texts: list[str]) -> int:
    """Bytes of them as JSON; none take none."""
    return len(json.dumps(texts, ensure_ascii=False).encode("utf-8", "replace")) if texts else 0

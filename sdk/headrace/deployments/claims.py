"""Which FlowRuns this process has started or taken up already: two equal calls are two runs."""

from __future__ import annotations

import threading


class Claims:
    """Names of FlowRuns, each taken by one call at a time. Safe from any thread."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def take(self, name: str) -> bool:
        """Whether it was free."""
        with self._lock:
            is_free = name not in self._taken
            self._taken.add(name)
        return is_free

    def give_back(self, name: str) -> None:
        """Lets another call take it."""
        with self._lock:
            self._taken.discard(name)

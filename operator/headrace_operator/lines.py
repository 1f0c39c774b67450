"""
The keys that are ready, in several lines that take turns.

    team-a: r1 r2 r3 …           team-a: r1        team-a: r2
    team-b: r9             ──>   team-b: r9  ──>   (cluster): c1  ──> …
    (cluster): c1                (cluster): c1

A line of ten thousand keys delays a line of one by no more than one key of each other line.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Lines(Generic[K]):
    """
    Each key once.

    Args:
        line_of: The line that a key stands in.
    """

    def __init__(self, line_of: Callable[[K], Hashable]) -> None:
        self._line_of = line_of
        self._standing: dict[K, Hashable] = {}
        """The line that each key stands in; one that moved is passed over where it stood before."""
        self._lines: dict[Hashable, deque[K]] = {}
        self._turns: deque[Hashable] = deque()

    def __len__(self) -> int:
        return len(self._standing)

    def put(self, key: K, *, behind: bool = False, gives_way: bool = False) -> None:
        """
        Stand at the end of its line; a key that stands somewhere stays there.

        Args:
            behind: In a second line beside the first, which has turns of its own. A key that stands there may move to the first.
            gives_way: And a key that stands in the first moves to the second.
        """
        name = self._line_of(key)
        line: Hashable = (name, "behind") if behind else name
        standing = self._standing.get(key)
        if standing is not None and (standing == line or (behind and not gives_way)):
            return
        self._standing[key] = line
        keys = self._lines.get(line)
        if keys is None:
            keys = self._lines[line] = deque()
            self._turns.append(line)
        keys.append(key)

    def take(self) -> K:
        """The first key of the line whose turn it is. Raises: IndexError: there is none."""
        while True:
            line = self._turns[0]
            keys = self._lines[line]
            key = keys.popleft()
            is_here = self._standing.get(key) == line
            if not keys:
                self._turns.popleft()
                del self._lines[line]
            elif is_here:  # one that has moved costs its line no turn
                self._turns.rotate(-1)
            if is_here:
                del self._standing[key]
                return key

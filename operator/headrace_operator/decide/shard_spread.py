"""
How replicas share the shards: evenly, and with as few moves as that takes.

    a shard that nobody holds  is taken by who has too few, then by who may have one more
    a shard too many           is given back by who holds it; it is nobody's then

As long as all shards are as much work, or there is little, their number is what counts. Else each weighs what its holder tells of it, and one more, so that idle
ones are spread as well: what is nobody's is taken by who has the least to do, and who has the most gives what makes the two most alike.

Each replica decides for itself, from what it sees of all. Two that decide at once cannot take one shard: that is compare and
swap on its Lease. When nobody has too few, nobody gives: so the spread comes to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

NOBODY = ""
WORTHWHILE: Final = 10
"""Reconciles a second for each replica, about a hundredth of what one can do: with fewer, loads move nothing."""
TOLERATED: Final = 0.15
"""Between who has most to do and who has least, as a share of what all have in the mean."""
INTOLERABLE: Final = 0.5
"""The same: beyond it a shard is moved at once, as after a replica came."""
GAIN: Final = 0.8
"""What a move must leave of the difference, at most."""


@dataclass(frozen=True, slots=True)
class Take:
    """Hold this shard, which nobody holds."""

    shard: int


@dataclass(frozen=True, slots=True)
class Give:
    """Give this shard back; one that has too few takes it."""

    shard: int


Step = Take | Give


@dataclass(frozen=True, slots=True)
class Spread:
    """
    Who holds what, as one replica sees it.

    Args:
        holders: Of each shard, NOBODY for none; those that are gone are none.
        members: The replicas that are alive, `me` among them.
        loads: How much work each shard is; (): nothing is known of that.
        is_calm: No shard was moved for its load of late: one may be.
    """

    me: str
    holders: Sequence[str]
    members: Collection[str]
    loads: Sequence[float] = ()
    is_calm: bool = True

    def step(self) -> Step | None:
        """What this replica does next; None: nothing, as the others see to it or all is well."""
        is_worth_it = sum(self.loads) >= WORTHWHILE * len(self.members)
        return self._by_load() if is_worth_it and len(set(self.loads)) > 1 else self._by_number()

    def _by_load(self) -> Step | None:
        tasks = dict.fromkeys(sorted(self.members), 0.0)
        for shard, holder in enumerate(self.holders):
            if holder in tasks:
                tasks[holder] += self._weight(shard)
        least, most = min(tasks, key=lambda name: tasks[name]), max(tasks, key=lambda name: tasks[name])
        if NOBODY in self.holders:
            return Take(self._first_free()) if self.me == least else None
        gap, mean = tasks[most] - tasks[least], sum(tasks.values()) / len(tasks)
        if self.me != most or gap <= mean * (TOLERATED if self.is_calm else INTOLERABLE):
            return None
        mine = (shard for shard, holder in enumerate(self.holders) if holder == self.me)
        best = min(mine, key=lambda shard: abs(gap - 2 * self._weight(shard)))
        return Give(best) if abs(gap - 2 * self._weight(best)) <= gap * GAIN else None

    def _weight(self, shard: int) -> float:
        return 1 + (self.loads[shard] if self.loads else 0)

    def _by_number(self) -> Step | None:
        held = Counter(self.holders)
        least, spare = divmod(len(self.holders), len(self.members))
        mine, free = held[self.me], held[NOBODY]
        too_few = {name: least - held[name] for name in self.members if held[name] < least}
        others_lack = sum(lack for name, lack in too_few.items() if name != self.me)
        if free and (mine < least or (spare and mine == least and free > others_lack)):
            return Take(self._first_free())
        most = least + bool(spare)
        if mine > most or (mine > least and others_lack > free and self._gives_first(held)):
            return Give(max(shard for shard, holder in enumerate(self.holders) if holder == self.me))
        return None

    def _first_free(self) -> int:
        """The heaviest. Of those alike each begins to look elsewhere, so that those who look at once seldom meet."""
        count = len(self.holders)
        start = sorted(self.members).index(self.me) * count // len(self.members)
        order = ((start + offset) % count for offset in range(count))
        return max((shard for shard in order if self.holders[shard] == NOBODY), key=self._weight)

    def _gives_first(self, held: Counter[str]) -> bool:
        """Of those who hold the most, one at a time gives: the first by name."""
        return self.me == min(self.members, key=lambda name: (-held[name], name))

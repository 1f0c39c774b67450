"""
How replicas share the shards: evenly, and with as few moves as that takes.

    a shard that nobody holds  is taken by who has too few, then by who may have one more
    a shard too many           is given back by who holds it; it is nobody's then

Each replica decides for itself, from what it sees of all. Two that decide at once cannot take one shard: that is compare and
swap on its Lease. When nobody has too few, nobody gives: so the spread comes to rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

NOBODY = ""


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
    """

    me: str
    holders: Sequence[str]
    members: Collection[str]

    def step(self) -> Step | None:
        """What this replica does next; None: nothing, as the others see to it or all is well."""
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
        """Each begins to look elsewhere, so that those who look at once seldom meet."""
        count = len(self.holders)
        start = sorted(self.members).index(self.me) * count // len(self.members)
        order = ((start + offset) % count for offset in range(count))
        return next(shard for shard in order if self.holders[shard] == NOBODY)

    def _gives_first(self, held: Counter[str]) -> bool:
        """Of those who hold the most, one at a time gives: the first by name."""
        return self.me == min(self.members, key=lambda name: (-held[name], name))

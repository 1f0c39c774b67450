"""Which namespaces belong to which shard."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Final


@lru_cache(maxsize=65536)
def shard_of(namespace: str, count: int) -> int:
    """The shard of a namespace, from 0 to below `count`; the same in every process, version and year."""
    return int.from_bytes(hashlib.sha256(namespace.encode()).digest()[:8]) % count


@dataclass(frozen=True, slots=True)
class Share:
    """
    What one shard of `count` looks after.

    Args:
        index: From 0 to below `count`.
        term: Another one after each time that something else than this number of shards was in use: what these shards had booked is out of date.
    """

    index: int = 0
    count: int = 1
    term: int = 0

    def serves(self, namespace: str) -> bool:
        """Whether the namespace's objects are this shard's."""
        return self.count == 1 or shard_of(namespace, self.count) == self.index

    @property
    def keeps_cluster(self) -> bool:
        """Whether it looks after what is in no namespace: ConcurrencyLimits' Leases and statuses, WorkPools' statuses."""
        return self.index == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other shard."""
        return self.count == 1


EVERYTHING: Final = Share()
"""Of an operator without shards."""

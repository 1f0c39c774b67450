"""Which partition has which place in the order of running: a bijection, computed both ways, never listed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from headrace.api.backfill import Order

_ROUNDS: Final = 4
_MULTIPLIER: Final = 0x9E3779B97F4A7C15
_WORD: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Ordering:
    """
    The order of `total` partitions. Made by `ordering_of`.

    Args:
        keys: What shuffles them, for Random.
    """

    order: Order
    total: int
    keys: tuple[int, ...] = ()

    def index_at(self, position: int) -> int:
        """The partition that goes in this place, both from 0 to total - 1."""
        if self.order is Order.RANDOM:
            return self._walk(position, self._forward)
        return position if self.order is Order.OLDEST else self.total - 1 - position

    def position_of(self, index: int) -> int:
        """The place of this partition: the reverse of `index_at`."""
        if self.order is Order.RANDOM:
            return self._walk(index, self._backward)
        return index if self.order is Order.OLDEST else self.total - 1 - index

    @property
    def _half_bits(self) -> int:
        return max(1, ((self.total - 1).bit_length() + 1) // 2)

    def _walk(self, number: int, step: Callable[[int], int]) -> int:
        """A permutation of the next power of four, walked until it is back below total; at most four steps on average."""
        number = step(number)
        while number >= self.total:
            number = step(number)
        return number

    def _forward(self, number: int) -> int:
        """A Feistel network: each round swaps the halves and mixes one into the other, so that it can be undone."""
        bits = self._half_bits
        left, right = number >> bits, number & ((1 << bits) - 1)
        for key in self.keys:
            left, right = right, left ^ _mixed(right, key, bits)
        return left << bits | right

    def _backward(self, number: int) -> int:
        bits = self._half_bits
        left, right = number >> bits, number & ((1 << bits) - 1)
        for key in reversed(self.keys):
            left, right = right ^ _mixed(left, key, bits), left
        return left << bits | right


def ordering_of(order: Order, total: int, seed: str) -> Ordering:
    """The order of running; the same seed gives the same one in every process, today and after an upgrade."""
    if order is not Order.RANDOM:
        return Ordering(order, total)
    digest = hashlib.sha256(seed.encode()).digest()
    return Ordering(order, total, tuple(int.from_bytes(digest[8 * k : 8 * k + 8], "big") for k in range(_ROUNDS)))


def _mixed(half: int, key: int, bits: int) -> int:
    """`bits` bits that depend on all of `half` and `key`: the upper ones of a product."""
    product = ((half + 1) * (key | 1) ^ key) * _MULTIPLIER & _WORD
    product = (product ^ product >> 29) * _MULTIPLIER & _WORD
    return product >> (64 - bits)

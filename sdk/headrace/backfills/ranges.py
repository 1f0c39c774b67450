"""
Sets of small numbers that fill up from the left, such as the positions of a Backfill's partitions that are over.

A set is one whole number whose bits are its members. 300,000 members take 38 KB whatever gaps they have, and every
operation is one pass over these bytes: a member more costs some microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Final

LARGEST: Final = 2**24
"""Members are below this: what a status says by mistake must not fill the memory."""

_CHUNK: Final = 4096
_FEW: Final = 8
"""As many numbers are put together one by one; more, in a field of bytes."""
_RUN = re.compile("1+")
_ITEM = re.compile(r"([0-9]{1,8})(?:-([0-9]{1,8}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ranges:
    """
    An immutable set of numbers from 0 to LARGEST - 1; equal sets are equal, and hash alike.

    Args:
        bits: Bit n is 1 where n is a member. Use `of`, `span`, `parse` or the operators to make one.
    """

    bits: int = 0

    @classmethod
    def of(cls, members: Iterable[int]) -> Ranges:
        """
        The set of these numbers, in any order.

        Raises: ValueError: one is negative, or not below LARGEST.
        """
        numbers = tuple(members)
        last = max(numbers, default=0)
        if last >= LARGEST or min(numbers, default=0) < 0:
            wrong = last if last >= LARGEST else min(numbers)
            raise ValueError(f"{wrong} is no position; expected 0 to {LARGEST - 1}")
        if len(numbers) <= _FEW:
            return cls(reduce(or_, (1 << number for number in numbers), 0))
        marks = bytearray(last // 8 + 1)
        for number in numbers:
            marks[number >> 3] |= 1 << (number & 7)
        return cls(int.from_bytes(marks, "little"))

    @classmethod
    def span(cls, start: int, stop: int) -> Ranges:
        """
        The numbers from `start` to `stop` - 1; none where `stop` is not above `start`.

        Raises: ValueError: `start` is negative, or `stop` above LARGEST.
        """
        if start < 0 or stop > LARGEST:
            raise ValueError(f"{start}-{stop - 1} is no range of positions; expected 0 to {LARGEST - 1}")
        return cls(((1 << (stop - start)) - 1) << start if stop > start else 0)

    @classmethod
    def parse(cls, text: str) -> Ranges:
        """
        The set that `text` writes down, as in "0-1999,2002"; "" is the empty one.

        Raises: ValueError: it is no such text; the message says what to write.
        """
        if not text:
            return cls()
        bits = 0
        for item in text.split(","):
            found = _ITEM.fullmatch(item)
            if found is None or (found[2] is not None and int(found[2]) < int(found[1])):
                raise ValueError(f'"{item[:40]}" is no range; write a number or two, as in "0-1999,2002"')
            low = int(found[1])
            bits |= cls.span(low, int(found[2] or low) + 1).bits
        return cls(bits)

    @property
    def text(self) -> str:
        """The set for people, and for `parse`: "0-1999,2002,2005-2010". As long as there are runs; see `run_count`."""
        return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in self.runs())

    @property
    def run_count(self) -> int:
        """How many runs of neighbours there are."""
        return (self.bits & ~(self.bits << 1)).bit_count()

    def runs(self) -> Iterator[tuple[int, int]]:
        """The first and the last member of each run of neighbours, ascending."""
        flags = bin(self.bits)[:1:-1]
        return ((found.start(), found.end() - 1) for found in _RUN.finditer(flags))

    def __len__(self) -> int:
        return self.bits.bit_count()

    def __bool__(self) -> bool:
        return self.bits != 0

    def __contains__(self, number: int) -> bool:
        return number >= 0 and self.bits >> number & 1 == 1

    def __iter__(self) -> Iterator[int]:
        return _members(self.bits, 0)

    def __or__(self, other: Ranges) -> Ranges:
        return Ranges(self.bits | other.bits)

    def __and__(self, other: Ranges) -> Ranges:
        return Ranges(self.bits & other.bits)

    def __sub__(self, other: Ranges) -> Ranges:
        return Ranges(self.bits & ~other.bits)

    def first_missing(self, after: int = 0) -> int:
        """The smallest number from `after` on that is no member."""
        rest = self.bits >> after
        return after + (rest ^ (rest + 1)).bit_length() - 1

    def missing(self, total: int, after: int = 0) -> Iterator[int]:
        """The numbers from `after` to `total` - 1 that are no members, ascending, found as they are asked for."""
        start = self.first_missing(after)
        if start >= total:
            return iter(())
        return _members(Ranges.span(start, total).bits & ~self.bits, start)

    @property
    def last(self) -> int:
        """The largest member; -1 where there is none."""
        return self.bits.bit_length() - 1


EMPTY: Final = Ranges()


def _members(bits: int, start: int) -> Iterator[int]:
    """The places of the bits that are 1, from `start` on; a chunk at a time, as each step passes over what it works on."""
    mask = (1 << _CHUNK) - 1
    for base in range(start, bits.bit_length(), _CHUNK):
        chunk = bits >> base & mask
        while chunk:
            lowest = chunk & -chunk
            yield base + lowest.bit_length() - 1
            chunk ^= lowest

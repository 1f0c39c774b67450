"""
How the partitions of a Backfill ended, and how its status holds that within 64 KiB.

    few runs of neighbours   succeeded: "0-1999,2002"  failed: "2000-2001"       read with the eye
    many                     packed: "eNr..."                                    one text for all of it

Packed, a position costs one bit at worst for success or failure: a bit says whether a position is in the first set;
those that are not in it have a bit for the second, and so on. So no bit says what another one has said already.
300,000 positions of which each has succeeded or failed, in whatever pattern, are 51 KB of text; where nearly all
have ended in one way, it is far less.
"""

from __future__ import annotations

import zlib
from base64 import b64decode, b64encode
from binascii import Error as NoBase64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from itertools import compress
from typing import Final

from headrace.api.backfill import PartitionOutcomes
from headrace.backfills.ranges import EMPTY, LARGEST, Ranges

READABLE_RUNS: Final = 256
"""With more runs of neighbours than that, in all sets together, they are packed."""

_VERSION: Final = 1
_LARGEST_PACKED: Final = 4 * (LARGEST // 8 + 8)
_DIGIT_TO_FLAG = bytes.maketrans(b"01", b"\0\1")
_FLAG_TO_DIGIT = bytes.maketrans(b"\0\1", b"01")
_FLIPPED = bytes.maketrans(b"\0\1", b"\1\0")


class InvalidOutcomes(ValueError):
    """A status that does not say which partitions ended how; the message names the field, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """
    The positions of partitions that are over, by how they ended; no position is in two of the sets.

    Args:
        again: Failed before, and to be run once more, as spec.rerunFailed asks: not over.
    """

    succeeded: Ranges = EMPTY
    failed: Ranges = EMPTY
    cancelled: Ranges = EMPTY
    again: Ranges = EMPTY

    @property
    def over(self) -> Ranges:
        """The positions that nothing more is done for."""
        return self.succeeded | self.failed | self.cancelled

    def noted(
        self, *, succeeded: Iterable[int] = (), failed: Iterable[int] = (), cancelled: Iterable[int] = ()
    ) -> Outcomes:
        """
        With these positions over as well. What is over already stays as it is: the first outcome counts.

        Raises: ValueError: a number is no position.
        """
        over = self.over
        done = Ranges.of(succeeded) - over
        broken = Ranges.of(failed) - over - done
        stopped = Ranges.of(cancelled) - over - done - broken
        return Outcomes(
            self.succeeded | done,
            self.failed | broken,
            self.cancelled | stopped,
            self.again - done - broken - stopped,
        )

    def with_failed_again(self) -> Outcomes:
        """With every position that has failed to be run once more."""
        return Outcomes(self.succeeded, EMPTY, self.cancelled, self.again | self.failed)

    def encoded(self) -> PartitionOutcomes:
        """As the status holds it: as text for people while that is short, else packed."""
        sets = _sets(self)
        if sum(numbers.run_count for numbers in sets) <= READABLE_RUNS:
            return PartitionOutcomes(**{name: numbers.text or None for name, numbers in zip(_NAMES, sets, strict=True)})
        return PartitionOutcomes(packed=_packed(sets))


def decoded(told: PartitionOutcomes | None) -> Outcomes:
    """
    What a status says; nothing is over where it says nothing.

    Raises: InvalidOutcomes.
    """
    if told is None:
        return Outcomes()
    if told.packed:
        return Outcomes(*_unpacked(told.packed))
    return Outcomes(*_disjoint({name: _parsed(name, getattr(told, name) or "") for name in _NAMES}))


_NAMES: Final = tuple(field.name for field in fields(Outcomes))


def _sets(outcomes: Outcomes) -> tuple[Ranges, ...]:
    return tuple(getattr(outcomes, name) for name in _NAMES)


def _parsed(name: str, text: str) -> Ranges:
    try:
        return Ranges.parse(text)
    except ValueError as error:
        raise InvalidOutcomes(f"status.outcomes.{name}: {error}") from error


def _disjoint(sets: dict[str, Ranges]) -> Iterator[Ranges]:
    known = EMPTY
    for name, numbers in sets.items():
        if numbers & known:
            twice = next(iter(numbers & known))
            raise InvalidOutcomes(
                f"status.outcomes.{name}: position {twice} is in another set too; expected one of them"
            )
        known |= numbers
        yield numbers


def _packed(sets: tuple[Ranges, ...]) -> str:
    """Version, number of positions, then the bits of each set for the positions that no earlier set has."""
    size = max(numbers.last for numbers in sets) + 1
    parts = [bytes((_VERSION,)), size.to_bytes(4, "big")]
    planes = [_flags(numbers.bits, size) for numbers in sets]
    while planes:
        first, *others = planes
        parts.append(_bits(first).to_bytes(_bytes_for(len(first)), "little"))
        free = first.translate(_FLIPPED)
        planes = [bytes(compress(plane, free)) for plane in others]
    return b64encode(zlib.compress(b"".join(parts), 9)).decode()


def _unpacked(text: str) -> Iterator[Ranges]:
    data = _inflated(text)
    size, rest = int.from_bytes(data[1:5], "big"), data[5:]
    if data[:1] != bytes((_VERSION,)) or size > LARGEST:
        raise InvalidOutcomes(
            "status.outcomes.packed: was written by a newer headrace; install that version, or a later one"
        )
    free = _flags((1 << size) - 1, size)
    for _ in _NAMES:
        length = free.count(1)
        if len(rest) < _bytes_for(length):
            raise InvalidOutcomes("status.outcomes.packed: ends too early; restore the status, as it cannot be guessed")
        flags = _flags(int.from_bytes(rest[: _bytes_for(length)], "little"), length)
        rest = rest[_bytes_for(length) :]
        plane = _spread(flags, free)
        yield Ranges(_bits(plane))
        free = _flags(_bits(free) & ~_bits(plane), size)


def _spread(flags: bytes, free: bytes) -> bytes:
    """The flags of the free positions, with 0 for all others: the reverse of `compress`."""
    if len(flags) == len(free):
        return flags
    plane = bytearray(len(free))
    for position in compress(compress(range(len(free)), free), flags):
        plane[position] = 1
    return bytes(plane)


def _inflated(text: str) -> bytes:
    try:
        inflating = zlib.decompressobj()
        data = inflating.decompress(b64decode(text, validate=True), _LARGEST_PACKED)
    except (NoBase64, zlib.error, ValueError) as error:
        raise InvalidOutcomes(
            f"status.outcomes.packed: {error}; restore the status, as it cannot be guessed"
        ) from error
    if not inflating.eof:
        raise InvalidOutcomes("status.outcomes.packed: ends too early; restore the status, as it cannot be guessed")
    return data


def _flags(bits: int, size: int) -> bytes:
    """A byte of 0 or 1 for each of the `size` lowest bits, the lowest first."""
    return f"{bits:0{size}b}"[::-1].encode().translate(_DIGIT_TO_FLAG) if size else b""


def _bits(flags: bytes) -> int:
    """The number whose bits are these flags."""
    return int(flags[::-1].translate(_FLAG_TO_DIGIT), 2) if flags else 0


def _bytes_for(bits: int) -> int:
    return (bits + 7) // 8

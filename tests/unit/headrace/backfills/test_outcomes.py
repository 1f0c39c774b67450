"""Outcomes come back from a status as they were, and the status stays small whatever they are."""

from __future__ import annotations

import base64
import random
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.backfill import PartitionOutcomes
from headrace.backfills.outcomes import InvalidOutcomes, Outcomes, decoded
from headrace.backfills.ranges import Ranges

TOTAL = 300_000
BOUND = 64 * 1024
ENDS = ("pending", "succeeded", "failed", "cancelled", "again")


def outcomes(ends: list[int]) -> Outcomes:
    """The outcomes in which position n ended as ENDS[ends[n]]."""
    return Outcomes(*(Ranges.of(n for n, end in enumerate(ends) if end == kind) for kind in range(1, 5)))


def size(known: Outcomes) -> int:
    return len(known.encoded().model_dump_json(by_alias=True, exclude_defaults=True))


def random_ends(chances: tuple[float, ...], total: int = TOTAL, seed: int = 7) -> Outcomes:
    return outcomes(random.Random(seed).choices(range(5), chances, k=total))


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), max_size=300))
def test_what_is_encoded_is_decoded(ends):
    known = outcomes(ends)

    assert decoded(PartitionOutcomes.model_validate(known.encoded().to_api())) == known


@settings(max_examples=15, deadline=None)
@given(st.integers(), st.tuples(*[st.floats(0.01, 1)] * 5))
def test_what_is_packed_is_unpacked(seed, chances):
    known = random_ends(chances, 5000, seed)
    encoded = known.encoded()

    assert encoded.packed
    assert not encoded.succeeded
    assert decoded(encoded) == known


ADVERSARIES = {
    "half of them failed at random": lambda: random_ends((0, 1, 1, 0, 0)),
    "half of them failed, and are run once more": lambda: random_ends((0, 1, 0, 0, 1)),
    "half of them were cancelled": lambda: random_ends((0, 1, 0, 1, 0)),
    "a twentieth failed": lambda: random_ends((0, 19, 1, 0, 0)),
    "half failed, and a thousand are under way anywhere": lambda: random_ends((1000 / TOTAL, 0.5, 0.5, 0, 0)),
    "every other one failed": lambda: outcomes([1 + n % 2 for n in range(TOTAL)]),
    "every third one failed": lambda: outcomes([1 + (n % 3 == 0) for n in range(TOTAL)]),
    "failures come in stretches of any length": lambda: outcomes(
        [1 + k % 2 for k in range(40_000) for _ in range(random.Random(k).randrange(1, 15))][:TOTAL]
    ),
    "all succeeded": lambda: outcomes([1] * TOTAL),
    "all failed": lambda: outcomes([2] * TOTAL),
}


@pytest.mark.parametrize("make", ADVERSARIES.values(), ids=ADVERSARIES)
def test_300_000_partitions_fit_into_64_kib(make):
    """Whatever the pattern, with 4 KiB to spare for the rest of the status; and all of it comes back."""
    known = make()

    assert size(known) <= BOUND - 4096
    assert decoded(known.encoded()) == known


def test_the_worst_that_can_be_is_told_as_well():
    """Three ends at random, in equal parts, are more than 64 KiB can tell; they take a third more."""
    assert size(random_ends((0, 1, 1, 1, 0))) <= 82 * 1024


def test_few_runs_are_written_for_people():
    known = Outcomes(Ranges.parse("0-1999,2002"), Ranges.of([2000, 2001]))

    assert known.encoded().to_api() == {"succeeded": "0-1999,2002", "failed": "2000-2001"}


def test_nothing_is_over_at_first():
    assert decoded(None) == decoded(PartitionOutcomes()) == Outcomes()
    assert Outcomes().encoded().to_api() == {}


def test_the_first_outcome_of_a_position_counts():
    """So that an end which is told twice, or in two ways, is counted once."""
    known = Outcomes().noted(succeeded=[0, 1], failed=[1, 2], cancelled=[2, 3]).noted(failed=[0], cancelled=[1, 2, 4])

    assert known == Outcomes(Ranges.of([0, 1]), Ranges.of([2]), Ranges.of([3, 4]))
    assert known.over == Ranges.span(0, 5)


def test_those_that_failed_go_again_and_are_not_over_then():
    known = Outcomes().noted(succeeded=[0], failed=[1, 2], cancelled=[3]).with_failed_again()
    assert known == Outcomes(Ranges.of([0]), cancelled=Ranges.of([3]), again=Ranges.of([1, 2]))
    assert known.over == Ranges.of([0, 3])

    assert known.noted(succeeded=[1], failed=[2]).again == Ranges()


@given(st.lists(st.tuples(st.sampled_from(ENDS[1:4]), st.integers(0, 60)), max_size=60))
def test_noting_one_by_one_agrees_with_a_dictionary(ends):
    known, expected = Outcomes(), {}
    for end, position in ends:
        known = known.noted(**{end: [position]})
        expected.setdefault(position, end)

    assert {n: end for end in ENDS[1:4] for n in getattr(known, end)} == expected


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"succeeded": "0-x"}, "status.outcomes.succeeded: .*is no range"),
        ({"succeeded": "0-4", "failed": "4"}, "status.outcomes.failed: position 4 is in another set too"),
        ({"packed": "&"}, "status.outcomes.packed: .*restore the status"),
        ({"packed": "AAAA"}, "status.outcomes.packed: .*restore the status"),
        ({"packed": packed(bytes(2**26))}, "status.outcomes.packed: ends too early"),
        ({"packed": packed(b"\x02\0\0\0\1\0")}, "written by a newer headrace"),
        ({"packed": packed(b"\x01\xff\xff\xff\xff")}, "written by a newer headrace"),
        ({"packed": packed(b"\x01\0\0\0\x10\0")}, "status.outcomes.packed: ends too early"),
        ({"packed": packed(b"")}, "written by a newer headrace"),
    ],
)
def test_a_status_that_cannot_be_read_says_so(told, message):
    """Nothing is guessed: what is not known to be over would be run again."""
    with pytest.raises(InvalidOutcomes, match=message):
        decoded(PartitionOutcomes(**told))

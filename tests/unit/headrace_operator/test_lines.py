"""Lines take turns: nobody stands behind ten thousand keys of somebody else."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_operator.lines import Lines

Key = tuple[str, int]
PLACES: list[dict[str, bool]] = [{}, {"behind": True}, {"behind": True, "gives_way": True}]


def by_namespace() -> Lines[Key]:
    return Lines(lambda key: key[0])


def taken(lines: Lines[Key]) -> list[Key]:
    return [lines.take() for _ in range(len(lines))]


def test_one_key_waits_for_one_of_each_other_line() -> None:
    """Ten thousand runs of one team delay the single run of another by one look, and that of a third by two."""
    lines = by_namespace()
    for number in range(10_000):
        lines.put(("a", number))
    lines.put(("b", 0))
    lines.put(("c", 0))
    assert [lines.take() for _ in range(4)] == [("a", 0), ("b", 0), ("c", 0), ("a", 1)]


def test_who_comes_later_waits_no_longer() -> None:
    """The turn goes round whenever a line begins."""
    lines = by_namespace()
    for number in range(100):
        lines.put(("a", number))
    for _ in range(10):
        lines.take()
    lines.put(("b", 0))
    assert [lines.take() for _ in range(2)].count(("b", 0)) == 1


def test_keys_of_one_line_keep_their_order() -> None:
    """Each is there once."""
    lines = by_namespace()
    for number in (3, 1, 2, 3, 1):
        lines.put(("a", number))
    assert taken(lines) == [("a", 3), ("a", 1), ("a", 2)]


def test_the_second_line_takes_turns_with_the_first() -> None:
    """A new key is taken next, though thousands stand behind."""
    lines = by_namespace()
    for number in range(5_000):
        lines.put(("a", number), behind=True)
    lines.put(("a", -1))
    assert {lines.take(), lines.take()} == {("a", 0), ("a", -1)}


def test_a_key_that_there_is_news_of_moves_to_the_first_line() -> None:
    """It is taken once; the place that it left costs nobody a turn."""
    lines = by_namespace()
    for number in range(3):
        lines.put(("a", number), behind=True)
    lines.put(("a", 2))
    lines.put(("a", 0))
    lines.put(("a", 0), behind=True)
    assert len(lines) == 3
    assert taken(lines) == [("a", 1), ("a", 2), ("a", 0)]
    with pytest.raises(IndexError):
        lines.take()


def test_a_key_that_gives_way_moves_to_the_second_line() -> None:
    """And back, once there is news of it."""
    lines = by_namespace()
    for number in range(4):
        lines.put(("a", number))
    for number in range(3):
        lines.put(("a", number), behind=True, gives_way=True)
    assert len(lines) == 4
    assert {lines.take(), lines.take()} == {("a", 0), ("a", 3)}
    lines.put(("a", 2))
    assert taken(lines) == [("a", 1), ("a", 2)]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.sampled_from(PLACES), st.booleans())))
def test_whatever_is_put_is_taken_once(steps: list[tuple[str, int, dict[str, bool], bool]]) -> None:
    """However keys are put, moved and taken in between."""
    lines = by_namespace()
    standing: Counter[Key] = Counter()
    for namespace, number, place, takes in steps:
        lines.put((namespace, number), **place)
        standing[namespace, number] = 1
        assert len(lines) == standing.total()
        if takes:
            standing[lines.take()] -= 1
            assert min(standing.values()) >= 0
    assert Counter(taken(lines)) == +standing

"""Garbage is looked for seldom, and found all the same."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from headrace_operator.garbage import LOOK_AFTER, look_seldom


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_cycles_are_found_by_themselves() -> None:
    """Not one by one, but before there are many."""
    look_seldom()
    found: list[object] = []
    knots = LOOK_AFTER[0] * 2
    for _ in range(knots):
        weakref.finalize(Knot(), found.append, None)
    assert found


def test_what_was_there_at_the_start_is_not_looked_through() -> None:
    """Modules and classes stay for ever."""
    look_seldom()
    assert gc.get_freeze_count() > 10_000

"""A ledger answers as a plain sorted list would, whatever is put in and taken out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_operator.decide.snapshot import ObjectKey, Place
from headrace_operator.observe.ledger import Ledger, Standing
from tests.builders import NAMESPACE, NOW


@dataclass(frozen=True)
class Entry:
    """A run as the naive model knows it."""

    key: ObjectKey
    standing: Standing
    priority: int
    due: datetime


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)


KEYS = st.sampled_from("abcdefg").map(key)
ENTRIES = st.builds(
    Entry,
    key=KEYS,
    standing=st.sampled_from(Standing),
    priority=st.integers(-1, 1),
    due=st.integers(0, 3).map(lambda s: NOW + timedelta(seconds=s)),
)


class Model:
    """The same questions, answered by looking at every run."""

    def __init__(self) -> None:
        self.entries: dict[ObjectKey, Entry] = {}

    def of(self, *standings: Standing) -> list[Entry]:
        return [entry for entry in self.entries.values() if entry.standing in standings]

    def waiting(self) -> list[ObjectKey]:
        queue = sorted(self.of(Standing.WAITING), key=lambda e: (-e.priority, e.due, e.key))
        return [entry.key for entry in queue]

    def place(self, entry: Entry) -> Place:
        def turn(other: Entry) -> tuple[int, datetime, ObjectKey]:
            return (-other.priority, other.due, other.key)

        in_the_house = self.of(Standing.ACTIVE, Standing.WAITING)
        newer = [o for o in in_the_house if (o.due, o.key) > (entry.due, entry.key)]
        return Place(
            active=len([o for o in self.of(Standing.ACTIVE) if o.key != entry.key]),
            ahead=len([o for o in self.of(Standing.WAITING) if turn(o) < turn(entry)]),
            newer=0 if entry.standing is Standing.OUT else len(newer),
        )


@settings(max_examples=100, deadline=None)
@given(st.lists(ENTRIES | KEYS, max_size=25))
def test_a_ledger_answers_as_a_sorted_list_does(steps: list[Entry | ObjectKey]) -> None:
    """Places, counts and turns after every change; an entry is put in, a bare key is taken out."""
    ledger, model = Ledger(), Model()
    for step in steps:
        if isinstance(step, Entry):
            is_news = model.entries.get(step.key) != step
            assert ledger.put(step.key, step.standing, priority=step.priority, due=step.due) is is_news
            model.entries[step.key] = step
        else:
            assert ledger.remove(step) is (model.entries.pop(step, None) is not None)
        assert len(ledger) == len(model.entries)
        assert set(ledger.all()) == set(model.entries)
        assert set(ledger.active()) == {entry.key for entry in model.of(Standing.ACTIVE)}
        assert (ledger.active_count, ledger.waiting_count) == (len(model.of(Standing.ACTIVE)), len(model.waiting()))
        for entry in model.entries.values():
            assert ledger.place(entry.key) == model.place(entry)


def test_higher_priority_goes_first_then_who_was_due_first_then_by_name() -> None:
    """The order is total: two looks agree."""
    ledger = Ledger()
    for name, priority, due_s in (("late", 0, 9), ("b", 0, 1), ("a", 0, 1), ("urgent", 5, 99)):
        ledger.put(key(name), Standing.WAITING, priority=priority, due=NOW + timedelta(seconds=due_s))
    assert [ledger.place(key(name)).ahead for name in ("urgent", "a", "b", "late")] == [0, 1, 2, 3]


def test_a_run_that_is_not_known_yet_stands_behind_all_others() -> None:
    """It does not start before it has its place."""
    ledger = Ledger()
    ledger.put(key("a"), Standing.ACTIVE, priority=0, due=NOW)
    ledger.put(key("b"), Standing.WAITING, priority=0, due=NOW)
    assert ledger.place(key("unknown")) == Place(active=1, ahead=1, newer=0)

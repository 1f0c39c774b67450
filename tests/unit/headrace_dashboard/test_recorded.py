"""The history store as pages ask it: once for all, for so long at most, and not again at once when it is away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from headrace.history import HistoryStore, HistoryUnavailable, open_history
from headrace_dashboard.recorded import PAUSE_S, TTL_S, HistoryAway, Recorded


class Clock:
    """Seconds that the test moves on."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorded(tmp_path: Path, clock: Clock) -> Recorded:
    url = f"sqlite:///{tmp_path}/history.db"
    writer = open_history(url)
    writer.write([])
    writer.close()
    return Recorded(url, clock)


def counting(store: HistoryStore) -> Any:
    return store.rows("select count(*) as n from headrace_runs")[0]["n"]


class Asked:
    """A question that counts how often it was put; it fails as long as it is told to."""

    def __init__(self) -> None:
        self.times = 0
        self.fails = False

    def __call__(self, store: HistoryStore) -> Any:
        self.times += 1
        if self.fails:
            raise HistoryUnavailable(store.shown, "no route to host db.internal")
        return counting(store)


async def test_an_answer_is_kept_for_some_seconds(recorded: Recorded, clock: Clock) -> None:
    """However many look."""
    asked = Asked()
    assert [await recorded.ask("all", asked) for _ in range(5)] == [0] * 5
    clock.now_s += TTL_S + 1
    await recorded.ask("all", asked)
    await recorded.ask("other", asked)
    assert asked.times == 3


async def test_a_store_that_is_away_is_not_asked_again_at_once(recorded: Recorded, clock: Clock) -> None:
    """And nobody is told where it is; then it is asked again, and answers."""
    asked = Asked()
    asked.fails = True
    for key in range(3):
        with pytest.raises(HistoryAway) as away:
            await recorded.ask(key, asked)
        assert "db.internal" not in str(away.value)
    assert asked.times == 1
    asked.fails = False
    clock.now_s += PAUSE_S + 1
    assert await recorded.ask(0, asked) == 0


async def test_a_question_that_the_store_refuses_takes_it_away_from_nobody(recorded: Recorded) -> None:
    """Whatever somebody writes into a filter."""

    def odd(store: HistoryStore) -> Any:
        return store.rows("select ? as n", (2**70,))

    with pytest.raises(HistoryAway, match="change the filters"):
        await recorded.ask("odd", odd)
    assert await recorded.ask("all", counting) == 0


@contextmanager
def released(gate: threading.Event) -> Iterator[Callable[[HistoryStore], Any]]:
    """A question that is answered when the gate opens; it opens at the end."""

    def work(store: HistoryStore) -> Any:
        assert gate.wait(60)
        return counting(store)

    try:
        yield work
    finally:
        gate.set()


async def test_who_asks_too_much_is_told_and_holds_nobody_else_up(recorded: Recorded) -> None:
    """There is another connection; and the slow one counts again when it is done."""
    gate = threading.Event()
    with released(gate) as slow:
        with pytest.raises(HistoryAway, match="narrow down what is asked"):
            await recorded.ask("slow", slow, patience_s=0.01)
        assert await recorded.ask("fast", counting, patience_s=60) == 0
    assert await recorded.ask("slow", slow, patience_s=60) == 0


async def test_a_question_that_nobody_waits_for_any_more_is_never_put(recorded: Recorded) -> None:
    """Or a store that is slow would be asked ever more."""
    gate, late = threading.Event(), Asked()
    with released(gate) as slow:
        for key in ("one", "two"):
            with pytest.raises(HistoryAway):
                await recorded.ask(key, slow, patience_s=0.01)
        for key in range(5):
            with pytest.raises(HistoryAway, match="narrow down"):
                await recorded.ask(key, late, patience_s=0.01)
    assert await recorded.ask("three", counting, patience_s=60) == 0
    assert late.times == 0

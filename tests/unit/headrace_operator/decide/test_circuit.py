"""When a Deployment that keeps failing is given a rest, and that every end counts once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.conditions import Phase, Reason
from headrace.api.deployment import Circuit, CircuitBreaker, CircuitState
from headrace_operator.decide.circuit import (
    MAX_NAMED,
    CircuitDecision,
    advance,
    circuit_condition,
    circuit_limit,
    circuit_wait,
    is_counted,
)
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey
from tests.builders import NAMESPACE, NOW

BREAKER = CircuitBreaker(failures=3, cooldown_seconds=60)
START = Circuit(counted_until=NOW)
PHASES = {"F": Phase.FAILED, "C": Phase.CRASHED, "S": Phase.SUCCEEDED, "x": Phase.CANCELLED, "k": Phase.SKIPPED}


def at(second: float) -> datetime:
    return NOW + timedelta(seconds=second)


def an_end(second: int, letter: str, *, version: int | None = None) -> FinishedRun:
    """A run that ended so many seconds after NOW; named by that, and by its version within the second."""
    version = second if version is None else version
    name = f"{letter}{second}-{version}"
    return FinishedRun(
        ObjectKey(NAMESPACE, name), f"uid-{name}", "daily", PHASES[letter], "Why", at(second), version=version
    )


def ends(letters: str, begin: int = 1) -> list[FinishedRun]:
    """One end a second, a letter each."""
    return [an_end(begin + number, letter) for number, letter in enumerate(letters)]


def step(
    before: CircuitDecision | None, runs: Sequence[FinishedRun], *, now: float = 30, **changes: Any
) -> CircuitDecision:
    """One pass, from what the one before has written."""
    given = {"spec": BREAKER, "reset": before.circuit.reset if before else None, **changes}
    memory, consecutive = (before.circuit, before.consecutive_failures) if before else (START, 0)
    return advance(memory, consecutive, given["spec"], runs, reset=given["reset"], now=at(now))


def told(decision: CircuitDecision) -> tuple[CircuitState | None, int, int | None]:
    return decision.circuit.state, decision.consecutive_failures, decision.allowed


OPEN, HALF, CLOSED = CircuitState.OPEN, CircuitState.HALF_OPEN, CircuitState.CLOSED


@pytest.mark.parametrize(
    ("letters", "now", "expected"),
    [
        pytest.param("", 30, (CLOSED, 0, None), id="nothing has ended"),
        pytest.param("FF", 30, (CLOSED, 2, None), id="too few"),
        pytest.param("FCF", 30, (OPEN, 3, 0), id="failures and crashes in a row"),
        pytest.param("FFSF", 30, (CLOSED, 1, None), id="a success begins the count anew"),
        pytest.param("FxFkF", 30, (OPEN, 3, 0), id="runs that were cancelled or skipped say nothing"),
        pytest.param("FFFFF", 30, (OPEN, 5, 0), id="runs that were active go on to be counted"),
        pytest.param("FFFS", 30, (OPEN, 0, 0), id="a success of before the cooldown closes nothing"),
        pytest.param("FFF", 62, (OPEN, 3, 0), id="a second before the cooldown is over"),
        pytest.param("FFF", 63, (HALF, 3, 1), id="the cooldown is over"),
    ],
)
def test_the_circuit_follows_the_ends(letters: str, now: float, expected: tuple[Any, ...]) -> None:
    """Opened by failures in a row, half-open after the cooldown."""
    assert told(step(None, ends(letters), now=now)) == expected


@pytest.mark.parametrize(
    ("letter", "expected", "retry_at"),
    [("S", (CLOSED, 0, None), None), ("F", (OPEN, 4, 0), at(130)), ("C", (OPEN, 4, 0), at(130))],
)
def test_the_next_run_decides(letter: str, expected: tuple[Any, ...], retry_at: datetime | None) -> None:
    """Whether the operator saw the end of the cooldown or was away."""
    opened = step(None, ends("FFF"))
    probe = an_end(70, letter)
    seen_all = step(step(opened, ends("FFF"), now=63), [*ends("FFF"), probe], now=71)
    was_away = step(opened, [*ends("FFF"), probe], now=71)
    assert told(seen_all) == told(was_away) == expected
    assert seen_all.circuit == was_away.circuit
    assert seen_all.circuit.retry_at == retry_at


def test_an_end_of_before_the_retry_that_is_heard_of_late_decides_nothing() -> None:
    """It is no probe."""
    half = step(step(None, ends("FFF")), ends("FFF"), now=64)
    assert told(step(half, [*ends("FFF"), an_end(50, "S")], now=65)) == (HALF, 0, 1)
    assert told(step(half, [*ends("FFF"), an_end(50, "F")], now=65)) == (HALF, 4, 1)


def test_each_turn_is_told_once() -> None:
    """As an Event, the opening as a warning, with the time of the next try."""
    opened = step(None, ends("FFF"))
    assert [(event.reason, event.warning) for event in opened.events] == [(Reason.CIRCUIT_OPEN, True)]
    assert "2026-03-04T12:01:03Z" in opened.events[0].message
    assert "F3-3 (Why)" in opened.events[0].message
    assert opened.look_again_at == at(63)
    again = step(opened, ends("FFF"))
    assert (again.events, again.circuit) == ((), opened.circuit)
    half = step(again, ends("FFF"), now=70)
    assert [event.reason for event in half.events] == [Reason.CIRCUIT_HALF_OPEN]
    assert half.look_again_at is None
    closed = step(half, [*ends("FFF"), an_end(80, "S")], now=80)
    assert [event.reason for event in closed.events] == [Reason.CIRCUIT_CLOSED]


def test_without_a_breaker_failures_are_counted_and_nothing_opens() -> None:
    """The status tells them all the same."""
    decision = step(None, ends("FFFFF"), spec=None)
    assert told(decision) == (None, 5, None)
    assert told(step(decision, ends("FFFFFS"), spec=None)) == (None, 0, None)


def test_taking_the_breaker_out_closes_and_setting_it_begins_anew() -> None:
    """What failed before does not open it."""
    opened = step(None, ends("FFF"))
    without = step(opened, ends("FFF"), spec=None)
    assert told(without) == (None, 3, None)
    assert without.circuit.retry_at is None
    anew = step(without, ends("FFF"))
    assert told(anew) == (CLOSED, 0, None)
    assert told(step(anew, ends("FFFFF"))) == (CLOSED, 2, None)


def test_a_person_closes_it_once_with_each_value() -> None:
    """The count begins anew; the same value does nothing again."""
    opened = step(None, ends("FFF"))
    closed = step(opened, ends("FFF"), reset="a")
    assert told(closed) == (CLOSED, 0, None)
    assert [event.reason for event in closed.events] == [Reason.CIRCUIT_CLOSED]
    reopened = step(closed, ends("FFFFFF"), reset="a")
    assert told(reopened) == (OPEN, 3, 0)
    assert told(step(reopened, ends("FFFFFF"), reset="b")) == (CLOSED, 0, None)


def test_ends_of_one_second_are_told_apart_by_version() -> None:
    """The field finishedAt has seconds only."""
    within = [an_end(5, letter, version=number) for number, letter in enumerate("FSFF", 1)]
    whole = step(None, within)
    assert told(whole) == (CLOSED, 2, None)
    assert told(step(step(None, within[:3]), within)) == (CLOSED, 2, None)


@pytest.mark.parametrize(
    ("late", "expected"),
    [
        pytest.param(an_end(1, "S"), (CLOSED, 2, None), id="a success before all failures changes nothing"),
        pytest.param(an_end(3, "S"), (CLOSED, 1, None), id="a success in between leaves the failures after it"),
        pytest.param(an_end(9, "S"), (CLOSED, 0, None), id="a success after all"),
        pytest.param(an_end(3, "F"), (OPEN, 3, 0), id="a failure in between"),
    ],
)
def test_an_end_that_is_heard_of_late_counts_where_it_belongs(late: FinishedRun, expected: tuple[Any, ...]) -> None:
    """Its write was slower than that of a run that ended after it."""
    early = [an_end(2, "F"), an_end(4, "F")]
    assert told(step(step(None, early), [*early, late])) == expected


def test_a_failure_that_a_counted_success_overtook_does_not_count() -> None:
    """It happened before."""
    counted = step(None, ends("FS"))
    assert told(step(counted, [*ends("FS"), an_end(1, "F", version=0)])) == (CLOSED, 0, None)


def test_the_memory_stays_small() -> None:
    """However many fail in a row, each counts once."""
    runs = ends("F" * 450)
    decision = step(None, runs[:150], spec=None, now=999)
    for size in (150, 200, 450, 450):
        decision = step(decision, runs[:size], spec=None, now=999)
        assert len(decision.circuit.counted) <= MAX_NAMED
        assert decision.consecutive_failures == size
    assert step(decision, [*runs, *ends("S", 451)], spec=None, now=999).circuit.counted == ("uid-S451-451",)


def test_runs_that_are_gone_are_not_named() -> None:
    """They cannot be seen again; their failures stay counted."""
    two = step(None, ends("FF"))
    assert len(two.circuit.counted) == 2
    fewer = step(two, ends("FF")[1:])
    assert fewer.circuit.counted == ("uid-F2-2",)
    assert fewer.consecutive_failures == 2


LETTERS = st.lists(st.tuples(st.integers(1, 200), st.sampled_from("FFFCSxk")), max_size=30)


def a_history(drawn: list[tuple[int, str]]) -> list[FinishedRun]:
    """Ends in the order in which they happened, their versions ascending as those of the API server."""
    return [an_end(second, letter, version=n) for n, (second, letter) in enumerate(sorted(drawn), 1)]


def in_a_row(runs: Sequence[FinishedRun]) -> int:
    """Failures since the last success, by walking back."""
    count = 0
    for run in reversed(runs):
        if run.phase is Phase.SUCCEEDED:
            return count
        count += run.phase in {Phase.FAILED, Phase.CRASHED}
    return count


@given(LETTERS, st.lists(st.integers(0, 30), max_size=6))
def test_however_the_passes_fall_the_count_is_the_same(drawn: list[tuple[int, str]], cuts: list[int]) -> None:
    """In one pass or many, repeated or not: the circuit and the count of one pass over all."""
    runs = a_history(drawn)
    decision = None
    for cut in [*sorted(cuts), len(runs)]:
        decision = step(decision, runs[:cut], now=0)
    assert decision is not None
    at_once = step(None, runs, now=0)
    assert (decision.circuit, told(decision)) == (at_once.circuit, told(at_once))
    assert all(is_counted(run, decision.circuit) for run in runs)
    assert decision.consecutive_failures == in_a_row(runs)


@given(LETTERS, st.data())
def test_whatever_order_ends_are_heard_of_in_each_counts_once(
    drawn: list[tuple[int, str]], data: st.DataObject
) -> None:
    """Late news too; a crash before the status is written has the same runs counted again from the start of the pass."""
    runs = a_history(drawn)
    decision = step(None, [], spec=None, now=0)
    heard: list[FinishedRun] = []
    for run in data.draw(st.permutations(runs)):
        heard.append(run)
        lost = step(decision, heard, spec=None, now=0)
        if data.draw(st.booleans()):
            assert step(decision, heard, spec=None, now=0) == lost
            decision = lost
    decision = step(decision, heard, spec=None, now=0)
    assert decision.consecutive_failures == in_a_row(runs)
    assert step(decision, heard, spec=None, now=0) == decision


@given(LETTERS)
def test_the_circuit_opens_exactly_when_enough_fail_in_a_row(drawn: list[tuple[int, str]]) -> None:
    """Against a machine that is written down the other way round: a walk over all ends."""
    state, streak, retry_at = CLOSED, 0, NOW
    for run in a_history(drawn):
        if run.phase in {Phase.CANCELLED, Phase.SKIPPED}:
            continue
        failed = run.phase is not Phase.SUCCEEDED
        streak = streak + 1 if failed else 0
        tries = state is OPEN and run.finished_at >= retry_at
        if tries and not failed:
            state = CLOSED
        elif tries or (state is CLOSED and failed and streak >= BREAKER.failures):
            state, retry_at = OPEN, run.finished_at + timedelta(seconds=60)
    decision = step(None, a_history(drawn), now=0)
    assert (decision.circuit.state, decision.consecutive_failures) == (state, streak) or (
        state is OPEN and decision.circuit.state is HALF
    )


def test_what_is_not_written_opens_nothing_but_holds_the_door() -> None:
    """Between a failing end and the status that counts it, no slot of a failed run is given on."""
    two = step(None, ends("FF"))
    three = ends("FFF")
    assert circuit_limit(two.circuit, BREAKER, consecutive=2, uncounted=ends("FF")) is None
    assert circuit_limit(two.circuit, BREAKER, consecutive=2, uncounted=[*ends("FF"), an_end(3, "S")]) is None
    assert circuit_limit(two.circuit, BREAKER, consecutive=2, uncounted=three) == 0
    assert circuit_limit(None, BREAKER, uncounted=three) == 0
    assert circuit_limit(step(two, three).circuit, BREAKER, consecutive=3, uncounted=three) == 0
    assert circuit_limit(None, None, uncounted=three) is None
    assert circuit_limit(two.circuit, BREAKER, consecutive=2, departed=1) == 0
    assert circuit_limit(two.circuit, BREAKER, consecutive=1, departed=1) is None


def test_half_open_lets_one_run_try_and_none_while_its_end_is_not_counted() -> None:
    """Exactly one at a time."""
    half = step(step(None, ends("FFF")), ends("FFF"), now=70)
    assert circuit_limit(half.circuit, BREAKER, consecutive=3, uncounted=ends("FFF")) == 1
    assert circuit_limit(half.circuit, BREAKER, consecutive=3, uncounted=[an_end(80, "S")]) == 0
    assert circuit_limit(half.circuit, BREAKER, consecutive=3, departed=1) == 0


def test_a_lower_threshold_waits_for_the_next_failure() -> None:
    """Nothing new failed."""
    two = step(None, ends("FF"))
    strict = CircuitBreaker(failures=1, cooldown_seconds=60)
    assert told(step(two, ends("FF"), spec=strict)) == (CLOSED, 2, None)
    assert circuit_limit(two.circuit, strict, consecutive=2, uncounted=ends("FF")) is None
    assert told(step(two, ends("FFF"), spec=strict)) == (OPEN, 3, 0)


def test_a_run_is_told_what_it_waits_for() -> None:
    """The time of the next try, as long as it is open."""
    opened = step(None, ends("FFF"))
    assert circuit_wait(None) is None
    assert circuit_wait(step(None, ends("FF")).circuit) is None
    wait = circuit_wait(opened.circuit)
    assert wait is not None
    assert wait[0] is Reason.CIRCUIT_OPEN
    assert "one run tries at 2026-03-04T12:01:03Z" in wait[1]
    half = circuit_wait(step(opened, ends("FFF"), now=70).circuit)
    assert half is not None
    assert half[0] is Reason.CIRCUIT_HALF_OPEN


@pytest.mark.parametrize(
    ("letters", "now", "expected"),
    [
        ("F", 30, (False, Reason.CIRCUIT_CLOSED)),
        ("FFF", 30, (True, Reason.CIRCUIT_OPEN)),
        ("FFF", 70, (True, Reason.CIRCUIT_HALF_OPEN)),
    ],
)
def test_the_condition_says_whether_it_is_open(letters: str, now: float, expected: tuple[bool, Reason]) -> None:
    """Half-open is not closed yet."""
    assert circuit_condition(step(None, ends(letters), now=now), BREAKER)[:2] == expected

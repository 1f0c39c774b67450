"""Which finished runs have been kept long enough."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.conditions import Phase
from headrace_operator.decide.retention import FinishedRun, Keep, Retirement, is_held, retire
from headrace_operator.decide.snapshot import ObjectKey
from tests.builders import NAMESPACE, NOW

NOTED = NOW - timedelta(hours=12)


def a_finished(age_s: float = 0, phase: Phase = Phase.SUCCEEDED, **changes: Any) -> FinishedRun:
    """A run that ended so many seconds before NOW, and is named by that."""
    name = changes.pop("name", f"{phase.lower()}-{age_s:g}")
    fields = {"reason": "", "deployment": "daily", "finished_at": NOW - timedelta(seconds=age_s), **changes}
    return FinishedRun(key=ObjectKey(NAMESPACE, name), uid=f"uid-{name}", phase=phase, **fields)


def keep(succeeded: int | None = None, failed: int | None = None, ttl_s: float | None = None, **until: Any) -> Keep:
    return Keep(succeeded, failed, ttl_s, until)


def names(retirement: Retirement) -> list[str]:
    return [run.key.name for run in retirement.delete]


SOME = [a_finished(age) for age in (30, 10, 20)] + [a_finished(age, Phase.FAILED) for age in (15, 25)]


@pytest.mark.parametrize(
    ("bounds", "gone"),
    [
        pytest.param(keep(), [], id="no bound keeps all"),
        pytest.param(keep(succeeded=2), ["succeeded-30"], id="the newest successes stay"),
        pytest.param(keep(failed=1), ["failed-25"], id="failures have a count of their own"),
        pytest.param(keep(succeeded=9, failed=9), [], id="fewer than the counts"),
        pytest.param(
            keep(succeeded=0, failed=0),
            ["succeeded-10", "failed-15", "succeeded-20", "failed-25", "succeeded-30"],
            id="0 keeps none",
        ),
        pytest.param(keep(ttl_s=20), ["succeeded-20", "failed-25", "succeeded-30"], id="none outlives its time"),
        pytest.param(keep(succeeded=1, ttl_s=29), ["succeeded-20", "succeeded-30"], id="either reason suffices"),
    ],
)
def test_runs_beyond_the_counts_or_the_time_to_live_go(bounds: Keep, gone: list[str]) -> None:
    """Newest first; a run that two bounds would remove goes once."""
    assert names(retire(SOME, bounds, NOW)) == gone


def test_a_run_whose_end_is_not_counted_yet_stays() -> None:
    """Its Deployment's circuit breaker would lose it."""
    bounds = Keep(0, 0, 0, uncounted=frozenset({SOME[0].uid, SOME[3].uid}))
    assert names(retire(SOME, bounds, NOW)) == ["succeeded-10", "succeeded-20", "failed-25"]


@pytest.mark.parametrize("phase", [Phase.FAILED, Phase.CRASHED, Phase.CANCELLED])
def test_every_bad_end_counts_with_the_failures(phase: Phase) -> None:
    """And skipped runs with the successes."""
    runs = [a_finished(1, phase), a_finished(2, Phase.SKIPPED)]
    assert names(retire(runs, keep(failed=0), NOW)) == [f"{phase.lower()}-1"]
    assert names(retire(runs, keep(succeeded=0), NOW)) == ["skipped-2"]


@pytest.mark.parametrize(
    ("bounds", "again_s"),
    [
        pytest.param(keep(ttl_s=25), 5, id="when the oldest that stays expires"),
        pytest.param(keep(ttl_s=5), None, id="never, when none stays"),
        pytest.param(keep(succeeded=1, failed=1), None, id="never, without a time to live"),
        pytest.param(keep(succeeded=1, failed=0, ttl_s=60), 50, id="those that go now do not matter"),
    ],
)
def test_the_next_look_is_when_a_run_expires(bounds: Keep, again_s: float | None) -> None:
    """An instant ahead, or None: only another end calls for a look."""
    expected = None if again_s is None else NOW + timedelta(seconds=again_s)
    assert retire(SOME, bounds, NOW).look_again_at == expected


@pytest.mark.parametrize(
    ("scheduled", "until", "goes"),
    [
        pytest.param(NOTED, {"nightly": NOTED}, True, id="its time is noted"),
        pytest.param(NOTED, {"nightly": NOTED - timedelta(days=1)}, False, id="its time is not yet noted"),
        pytest.param(NOTED, {"nightly": None}, False, id="no time of its schedule is noted yet"),
        pytest.param(NOTED, {}, True, id="its schedule is gone"),
        pytest.param(None, {"nightly": None}, True, id="it is for no time"),
    ],
)
def test_a_run_stays_until_its_time_is_noted_as_decided(
    scheduled: datetime | None, until: dict[str, Any], goes: bool
) -> None:
    """Else its schedule would create it once more."""
    run = a_finished(99, schedule="nightly", scheduled_time=scheduled)
    assert retire([run], keep(succeeded=0, ttl_s=1, **until), NOW).delete == ((run,) if goes else ())


def test_runs_that_ended_together_go_in_a_fixed_order() -> None:
    """Each look at the same runs removes the same ones."""
    runs = [a_finished(1, name=name) for name in "bca"]
    assert names(retire(runs, keep(succeeded=1), NOW)) == ["b", "a"]
    assert names(retire(runs[::-1], keep(succeeded=1), NOW)) == ["b", "a"]


BOUNDS = st.none() | st.integers(0, 5)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.sampled_from([Phase.SUCCEEDED, Phase.FAILED])), max_size=12),
    BOUNDS,
    BOUNDS,
    st.none() | st.integers(1, 50),
)
def test_what_stays_is_within_every_bound(
    ends: list[tuple[int, Phase]], succeeded: int | None, failed: int | None, ttl_s: int | None
) -> None:
    """And a second look finds nothing more to do."""
    runs = [a_finished(age, phase, name=f"r{n}") for n, (age, phase) in enumerate(ends)]
    bounds = keep(succeeded, failed, ttl_s)
    gone = retire(runs, bounds, NOW).delete
    stay = [run for run in runs if run not in gone]
    for phase, count in ((Phase.SUCCEEDED, succeeded), (Phase.FAILED, failed)):
        assert count is None or len([run for run in stay if run.phase is phase]) <= count
    assert ttl_s is None or all((NOW - run.finished_at).total_seconds() < ttl_s for run in stay)
    assert retire(stay, bounds, NOW).delete == ()


@pytest.mark.timeout(5)
def test_many_thousand_runs_are_no_burden() -> None:
    """The operator's one loop waits for this; with a cost that grows with the square it took minutes."""
    runs = [a_finished(age) for age in range(20_000)]
    assert len(retire(runs, keep(ttl_s=10_000), NOW).delete) == 10_000


def test_a_run_without_a_record_stays_whatever_the_bounds_say() -> None:
    """The history store would never have it."""
    waits = frozenset({SOME[0].uid, SOME[3].uid})
    assert names(retire(SOME, Keep(0, 0, 0, unrecorded=waits), NOW)) == ["succeeded-10", "succeeded-20", "failed-25"]
    assert [run.key.name for run in SOME if is_held(run, Keep(0, 0, 0, unrecorded=waits))] == [
        "succeeded-30",
        "failed-15",
    ]


def test_one_that_is_given_up_goes_at_the_end_of_its_time_and_not_by_the_counts() -> None:
    """More wait for the store than may be held back."""
    all_wait = frozenset(run.uid for run in SOME)
    given_up = frozenset({SOME[0].uid, SOME[3].uid})
    assert names(retire(SOME, Keep(0, 0, None, unrecorded=all_wait, given_up=given_up), NOW)) == []
    assert names(retire(SOME, Keep(0, 0, 20, unrecorded=all_wait, given_up=given_up), NOW)) == ["succeeded-30"]


def test_a_run_that_its_schedule_would_create_again_stays_also_if_it_is_given_up() -> None:
    """Deleting it would run it twice."""
    run = a_finished(30, schedule="nightly", scheduled_time=NOW)
    bounds = Keep(0, 0, 0, {"nightly": NOTED}, unrecorded={run.uid}, given_up={run.uid})
    assert names(retire([run], bounds, NOW)) == []

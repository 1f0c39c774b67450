"""Which finished runs of a Backfill are deleted, and when."""

from __future__ import annotations

from headrace.api.conditions import Phase
from headrace_operator.decide.backfill.retirement import retire_partition_runs
from headrace_operator.decide.retention import FinishedRun, Keep
from headrace_operator.decide.snapshot import ObjectKey, PartitionRef
from tests.builders import NAMESPACE, NOW
from tests.unit.headrace_operator.decide.backfill.scenes import later

NOTHING_HELD = Keep(None, None, None)


def finished(name: str, phase: Phase = Phase.SUCCEEDED, *, ended_s: float = -60) -> FinishedRun:
    """A run that ended then, seen from NOW."""
    partition = PartitionRef("bf", "bf-uid", 0, 1)
    return FinishedRun(ObjectKey(NAMESPACE, name), name, "daily", phase, "", later(ended_s), partition=partition)


def deleted(*runs: FinishedRun, keep: Keep = NOTHING_HELD, keep_failed: int = 1) -> list[str]:
    """Names, sorted."""
    found = retire_partition_runs(runs, keep, keep_failed=keep_failed, name_held_s=8, now=NOW)
    return sorted(run.uid for run in found.delete)


def test_all_go_but_the_newest_failed_ones() -> None:
    """Crashed and cancelled ones are looked at as failed ones are."""
    runs = (
        finished("good"),
        finished("old", Phase.FAILED, ended_s=-90),
        finished("new", Phase.CRASHED, ended_s=-30),
    )
    assert deleted(*runs) == ["good", "old"]
    assert deleted(*runs, keep_failed=0) == ["good", "new", "old"]


def test_a_run_keeps_its_name_for_a_while_after_its_end() -> None:
    """And is looked at again when that is over."""
    run = finished("fresh", ended_s=-3)
    found = retire_partition_runs([run], NOTHING_HELD, keep_failed=0, name_held_s=8, now=NOW)
    assert (found.delete, found.look_again_at) == ((), later(5))


def test_a_run_that_is_not_told_or_not_recorded_yet_stays() -> None:
    """Whatever the counts say."""
    assert deleted(finished("a"), finished("b"), keep=Keep(None, None, None, uncounted={"a"})) == ["b"]
    assert deleted(finished("a"), finished("b"), keep=Keep(None, None, None, unrecorded={"b"})) == ["a"]

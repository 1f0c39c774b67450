"""Sizes learnt from what runs used."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.common import InfrastructureRetryPolicy, Resources
from headrace.api.flow import MAX_SAMPLES, LearntSize
from headrace_operator.decide.autosize import FinishedUsage, Lesson, learn, usage_of
from headrace_operator.decide.quantities import MIB, parse_quantity
from headrace_operator.decide.snapshot import RunStatus
from tests.builders import NOW, an_attempt

LIMITED = Resources.model_validate({"limits": {"memory": "512Mi"}})


def used(
    *memory_mib: float, cpu: float | None = None, kills: int = 0, limits: Resources | None = LIMITED
) -> list[Lesson]:
    """Runs that ended a second after each other."""
    return [
        Lesson(
            FinishedUsage(NOW + timedelta(seconds=number), int(mib * MIB), cpu, kills),
            limits,
            InfrastructureRetryPolicy(),
        )
        for number, mib in enumerate(memory_mib)
    ]


def learnt(lessons: list[Lesson], seen: LearntSize | None = None) -> tuple[Any, Any]:
    found = learn(seen, lessons)
    return found.memory, found.cpu


@pytest.mark.parametrize(
    ("lessons", "expected"),
    [
        pytest.param([], (None, None), id="nothing is learnt from nothing"),
        pytest.param(used(100, 100, cpu=0.5), (None, None), id="nor from two runs"),
        pytest.param(
            used(100, 100, 100), ("128Mi", None), id="a fifth is added, and it is rounded up to steps of 16 MiB"
        ),
        pytest.param(used(1, 1, 1, cpu=0.001), ("16Mi", "10m"), id="a step is the least"),
        pytest.param(used(100, 100, 200), ("240Mi", None), id="of a few runs the largest counts"),
        pytest.param(used(*[100] * 19, 900), ("128Mi", None), id="of many, one that is out of line does not"),
        pytest.param(used(100, 100, 100, cpu=0.5), ("128Mi", "600m"), id="CPU likewise"),
        pytest.param(used(100, 100, 100, cpu=1.67), ("128Mi", "2010m"), id="in steps of 10 thousandths of a core"),
        pytest.param(used(10, kills=2), ("1392Mi", None), id="killed attempts count as what they would get next"),
        pytest.param(
            used(10, 10, 10, kills=2, limits=None), ("16Mi", None), id="without a limit it was the node that was short"
        ),
    ],
)
def test_what_is_learnt(lessons: list[Lesson], expected: tuple[Any, Any]) -> None:
    """A high percentile with headroom."""
    assert learnt(lessons) == expected


@pytest.mark.parametrize(
    ("mib", "memory"),
    [
        pytest.param(105, "128Mi", id="a little more is no reason to move"),
        pytest.param(95, "128Mi", id="nor is a little less"),
        pytest.param(130, "160Mi", id="more than a tenth is"),
        pytest.param(50, "64Mi", id="less by more than a tenth too"),
    ],
)
def test_a_recommendation_does_not_flap(mib: int, memory: str) -> None:
    """It moves when it moves by more than a tenth."""
    seen = LearntSize(memory="128Mi")
    assert learn(seen, used(*[mib] * 3)).memory == memory


def test_a_run_is_learnt_from_once() -> None:
    """The end of the latest one is kept: a new operator goes on from there."""
    lessons = used(100, 200, 300)
    first = learn(None, lessons[:2])
    assert (first.memory_samples, first.last_run_at) == ((100, 200), NOW + timedelta(seconds=1))
    second = learn(first, lessons)
    assert second.memory_samples == (100, 200, 300)
    assert learn(second, lessons) is second


def test_only_the_latest_samples_are_kept() -> None:
    """So that a flow that changed is known by what it does now."""
    found = learn(None, used(*range(1, MAX_SAMPLES + 10)))
    assert found.memory_samples == tuple(range(10, MAX_SAMPLES + 10))


@given(st.lists(st.integers(1, 10**6), min_size=3, max_size=MAX_SAMPLES))
def test_most_runs_fit_into_what_was_learnt(samples: list[int]) -> None:
    """At least 19 of 20, with a sixth of the memory to spare."""
    memory = learn(None, used(*samples)).memory
    assert memory is not None
    fits = sum(sample * 1.2 <= float(parse_quantity(memory) / MIB) for sample in samples)
    assert fits >= len(samples) * 0.95


USAGE = {"maxMemoryBytes": 5 * MIB, "cpuSeconds": 30.0}
ENDED: dict[str, Any] = {"finished_at": NOW + timedelta(seconds=60)}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param({}, None, id="a run that told nothing"),
        pytest.param(
            {"usage": USAGE, "attempts": (an_attempt(reason="Succeeded", **ENDED),)},
            FinishedUsage(NOW, 5 * MIB, 0.5),
            id="CPU is the mean over the attempt",
        ),
        pytest.param(
            {"usage": USAGE, "attempts": (an_attempt(reason="FlowFailed", finished_at=NOW),)},
            FinishedUsage(NOW, 5 * MIB, 30.0),
            id="an attempt counts as a second long at least",
        ),
        pytest.param(
            {
                "usage": USAGE,
                "attempts": (
                    an_attempt(1, reason="FlowFailed", **ENDED),
                    an_attempt(2, reason="Evicted", finished_at=NOW),
                ),
            },
            FinishedUsage(NOW, 5 * MIB, 0.5),
            id="an attempt that was ended from outside told nothing",
        ),
        pytest.param(
            {"attempts": (an_attempt(1, reason="OOMKilled", **ENDED), an_attempt(2, reason="OOMKilled", **ENDED))},
            FinishedUsage(NOW, oom_kills=2),
            id="kills tell something by themselves",
        ),
        pytest.param({"usage": {"cpuSeconds": 3.0}}, None, id="CPU alone says too little"),
    ],
)
def test_what_a_run_tells_of_its_size(status: dict[str, Any], expected: FinishedUsage | None) -> None:
    """From its last status."""
    assert usage_of(RunStatus(finished_at=NOW, **status)) == expected

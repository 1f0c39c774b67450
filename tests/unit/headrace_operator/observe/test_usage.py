"""What is remembered of what runs used, and who learns from it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from headrace.api.flow import MAX_SAMPLES
from headrace_operator.decide.snapshot import Run
from headrace_operator.observe.parse import run_from
from headrace_operator.observe.records import deployment_record, flow_record
from headrace_operator.observe.usage import Source, Usages, lessons_of, sized_flow
from tests.builders import NAMESPACE, NOW, stamp
from tests.unit.headrace_operator.observe.objects import an_intake, deployment, flow, key, metadata, run

BY_ITSELF: dict[str, Any] = {"flowRef": {"name": "etl"}}
LEARNING = {"entrypoint": "etl:main", "autosize": {}, "resources": {"limits": {"memory": "1Gi"}}}


def ended(name: str = "r1", *, mib: int = 100, after_s: int = 0, **spec: Any) -> Run:
    """A run that told what it used."""
    status = {
        "phase": "Succeeded",
        "finishedAt": stamp(NOW + timedelta(seconds=after_s)),
        "usage": {"maxMemoryBytes": mib * 2**20},
    }
    return run_from(run(name=name, status=status, **spec))


def memory(usages: Usages, deployment_name: str | None = "daily", flow_name: str | None = None) -> list[int]:
    uses = usages.of(Source(NAMESPACE, deployment_name, flow_name))
    return sorted((use.memory_bytes or 0) // 2**20 for use in uses)


def test_runs_are_kept_by_what_started_them() -> None:
    """A Deployment's apart from those that name the Flow themselves; one that is told twice counts once."""
    usages = Usages()
    for each in (ended("a", mib=1), ended("a", mib=1), ended("b", mib=2, **BY_ITSELF)):
        usages.put(each)
    assert (memory(usages), memory(usages, None, "etl"), memory(usages, "other")) == ([1], [2], [])


def test_only_the_latest_are_kept() -> None:
    """In whatever order they are read."""
    usages = Usages()
    for number in reversed(range(MAX_SAMPLES + 10)):
        usages.put(ended(f"r{number}", mib=number, after_s=number))
    assert memory(usages) == list(range(10, MAX_SAMPLES + 10))


TASK = {
    "name": "train",
    "parent": {"name": "r0", "uid": "u"},
    "function": "etl:train",
    "input": "file:///i",
    "output": "file:///o",
}


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(run_from(run(status={"phase": "Running"})), id="it has not ended"),
        pytest.param(run_from(run(status={"phase": "Cancelled", "finishedAt": stamp(NOW)})), id="it told nothing"),
        pytest.param(ended(task=TASK, **BY_ITSELF), id="it was a task of another size"),
    ],
)
def test_runs_that_teach_nothing(other: Run) -> None:
    """They are not kept."""
    usages = Usages()
    usages.put(other)
    assert (memory(usages), memory(usages, None, "etl")) == ([], [])


def test_a_flow_learns_from_its_own_runs_and_its_deployments() -> None:
    """Each with what was set for it: an attempt that was killed needed more than that."""
    intake, _ = an_intake()
    intake.cache.put_flow(flow_record(flow(spec=LEARNING)))
    intake.cache.put_deployment(deployment_record(deployment(resources={"limits": {"memory": "2Gi"}})))
    intake.cache.put_deployment(deployment_record(deployment(name="other", flowRef={"name": "another"})))
    usages = Usages()
    for each in (ended("a", mib=1), ended("b", mib=2, **BY_ITSELF), ended("c", mib=3, deploymentRef={"name": "other"})):
        usages.put(each)
    lessons = lessons_of(intake.cache.flows[key("etl")], intake.cache, usages)
    limits = {
        (lesson.use.memory_bytes or 0) // 2**20: lesson.resources and lesson.resources.limits for lesson in lessons
    }
    assert limits == {1: {"memory": "2Gi"}, 2: {"memory": "1Gi"}}


@pytest.mark.parametrize(
    ("spec", "learns"),
    [pytest.param(LEARNING, True, id="it asks to"), pytest.param({"entrypoint": "etl:main"}, False, id="it does not")],
)
def test_which_flow_learns_from_a_run(spec: dict[str, Any], learns: bool) -> None:
    """That of the run, or of its Deployment, if it says so."""
    intake, _ = an_intake()
    assert sized_flow(ended(), intake.cache) is None
    intake.cache.put_flow(flow_record(flow(spec=spec)))
    intake.cache.put_deployment(deployment_record(deployment()))
    expected = key("etl") if learns else None
    assert (sized_flow(ended(), intake.cache), sized_flow(ended(**BY_ITSELF), intake.cache)) == (expected, expected)


def test_a_flow_is_woken_once_for_many_ends() -> None:
    """And at the start for all that ended while no operator ran."""
    intake, wakes = an_intake()
    intake.flow_seen(flow(spec=LEARNING))
    intake.finished_run_listed(ended("old", **BY_ITSELF))
    wakes.told()
    intake.history_listed()
    assert "Autosize etl" in wakes.told()
    obj = {**run(name="r2", **BY_ITSELF), "status": {"phase": "Succeeded", "finishedAt": stamp(NOW)}}
    intake.run_seen({**obj, "metadata": metadata("r2", 2)})
    assert "Autosize etl in 30 s" in wakes.told()

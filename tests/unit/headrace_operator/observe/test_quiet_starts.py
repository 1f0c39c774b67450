"""Changes that can change no decision wake nobody; all others do."""

from __future__ import annotations

from typing import Any

import pytest

from headrace_operator.decide.snapshot import Turn
from headrace_operator.observe.intake import Intake
from tests.builders import a_pod_object, ended, running
from tests.unit.headrace_operator.observe.objects import Wakes, an_intake, finished, key, run, under_way

RUN: dict[str, Any] = {"flowRef": {"name": "etl"}}
BOUND = {"type": "PodScheduled", "status": "True"}
NO_NODE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are available"}


def pod(version: int, status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return a_pod_object(status, run="r1", metadata={"uid": "r1-1-uid", **metadata, "resourceVersion": str(version)})


def starting(*conditions: dict[str, str], waits: str | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {"phase": "Pending", "conditions": list(conditions)}
    if waits is not None:
        status["containerStatuses"] = [{"name": "flow", "state": {"waiting": {"reason": waits}}}]
    return status


def runs_of(wakes: Wakes) -> set[str]:
    """Those that were woken; whoever counts something besides is left out."""
    return {told for told in wakes.told() if told.startswith("FlowRun")}


@pytest.fixture
def world() -> tuple[Intake, Wakes]:
    """A run whose pod was just made by us."""
    intake, wakes = an_intake()
    intake.run_seen(run(uid="run-uid", name="r1", **RUN))
    intake.pod_written(pod(1, starting()))
    wakes.told()
    return intake, wakes


@pytest.mark.parametrize(
    "status",
    [
        starting(BOUND),
        starting(BOUND, {"type": "Initialized", "status": "True"}, waits="ContainerCreating"),
        starting(BOUND, {"type": "Ready", "status": "False", "reason": "ContainersNotReady"}, waits="PodInitializing"),
    ],
    ids=["it got a node", "its container is being created", "its init containers run"],
)
def test_a_pod_on_its_way_wakes_nobody(world: tuple[Intake, Wakes], status: dict[str, Any]) -> None:
    """Its run has told nothing of it yet, and would not now."""
    intake, wakes = world
    intake.pod_seen(pod(2, status))
    assert runs_of(wakes) == set()


@pytest.mark.parametrize(
    ("status", "metadata"),
    [
        (running(), {}),
        (ended(0), {}),
        (starting(NO_NODE), {}),
        (starting(BOUND, waits="ErrImagePull"), {}),
        (starting(BOUND, {"type": "DisruptionTarget", "status": "True", "reason": "Evicted"}), {}),
        (starting(BOUND, {"type": "Ready", "status": "False"}), {}),
        (starting(BOUND), {"deletionTimestamp": "2026-03-04T12:00:00Z"}),
        (starting(BOUND), {"finalizers": []}),
    ],
    ids=[
        "it runs",
        "it ended",
        "no node takes it",
        "its image cannot be pulled",
        "it is to be evicted",
        "its node is not heard of",
        "it is asked to end",
        "somebody took our finalizer off",
    ],
)
def test_whatever_may_have_to_be_told_wakes_its_run(
    world: tuple[Intake, Wakes], status: dict[str, Any], metadata: dict[str, Any]
) -> None:
    """At once."""
    intake, wakes = world
    intake.pod_seen(pod(2, status, **metadata))
    assert runs_of(wakes) == {"FlowRun r1"}


def test_a_start_that_was_told_of_is_told_on(world: tuple[Intake, Wakes]) -> None:
    """The status says on which node it is."""
    intake, wakes = world
    intake.run_seen(run(2, uid="run-uid", name="r1", status={**under_way(), "phase": "Pending"}, **RUN))
    wakes.told()
    intake.pod_seen(pod(2, starting(BOUND)))
    assert runs_of(wakes) == {"FlowRun r1"}


def test_the_answer_to_a_launch_wakes_nobody_unless_the_pod_is_further(world: tuple[Intake, Wakes]) -> None:
    """A pod that existed already may have ended."""
    intake, wakes = world
    intake.pod_written(pod(3, ended(0)))
    assert runs_of(wakes) == {"FlowRun r1"}


def test_a_status_that_settles_its_run_does_not_wake_it(world: tuple[Intake, Wakes]) -> None:
    """Any other does: deciding goes on from it."""
    intake, wakes = world
    intake.run_written(run(2, uid="run-uid", name="r1", status=under_way(), **RUN), is_settled=True)
    assert runs_of(wakes) == set()
    intake.run_written(run(3, uid="run-uid", name="r1", status={"phase": "Retrying"}, **RUN), is_settled=False)
    assert runs_of(wakes) == {"FlowRun r1"}


def test_an_end_is_over_with_the_answer_that_lets_its_pod_go(world: tuple[Intake, Wakes]) -> None:
    """Neither the pod nor the stream's echoes bring the run back."""
    intake, wakes = world
    intake.pod_seen(pod(2, ended(0)))
    wakes.told()
    intake.run_written(run(2, uid="run-uid", name="r1", status=finished(), **RUN), is_settled=True)
    wakes.told()
    intake.pod_written(pod(3, ended(0), finalizers=[]))
    intake.pod_seen(pod(3, ended(0), finalizers=[]))
    assert runs_of(wakes) == set()
    assert not intake.cache.runs


def test_a_launch_that_the_stream_tells_of_first_wakes_nobody() -> None:
    """Its answer is on the way; a pod that nobody here is launching is looked at."""
    intake, wakes = an_intake()
    intake.run_seen(run(uid="run-uid", name="r1", **RUN))
    intake.gate.charge(key("r1"), 1, Turn())
    wakes.told()
    intake.pod_seen(pod(1, starting()))
    assert runs_of(wakes) == set()
    intake.pod_gone(key("r1-1"), "r1-1-uid")
    wakes.told()
    intake.pod_seen(pod(2, starting(), uid="another"))
    assert runs_of(wakes) == {"FlowRun r1"}

"""Whole lives of runs: whatever happens to their pods, in whatever order, the promises about a run hold."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.conditions import Phase
from headrace_operator.decide.actions import Action, Decision, DeletePod, LaunchPod, RecordEvent, ReleasePod
from headrace_operator.decide.lifecycle import decide
from headrace_operator.decide.snapshot import Run, Snapshot
from headrace_operator.manifests.run_status import render_status
from headrace_operator.observe.parse import pod_from, status_from
from tests.builders import NOW, a_flow, a_pod_object, a_run, a_snapshot, ended, report, running, stamp, unschedulable

ENDS: list[dict[str, Any]] = [
    ended(0),
    ended(1),
    ended(1, message=report("Failed", message="boom")),
    ended(75, message=report("Retrying", retryDelaySeconds=1)),
    ended(78),
    ended(137, reason="OOMKilled"),
    ended(137, reason="ContainerStatusUnknown"),
    ended(143),
    {"phase": "Failed", "reason": "Evicted"},
    {"phase": "Failed", "reason": "NodeLost"},
    {"phase": "Failed", "reason": "DeadlineExceeded"},
    {"phase": "Failed", "reason": "OutOfmemory"},
    {"phase": "Failed", "reason": "SomethingNew"},
    {"phase": "Failed"},
    {"phase": "Succeeded"},
]
STARTS = [{"phase": "Pending"}, unschedulable(), running()]
HAPPENS = st.one_of(
    st.sampled_from(STARTS).map(lambda status: ("status", status)),
    st.sampled_from(ENDS).map(lambda status: ("status", status)),
    st.sampled_from(["deleted", "stripped", "suspend", "resume", "cancel", "time", "operator dies"]).map(
        lambda w: (w, {})
    ),
)


@dataclass
class World:
    """What the API would hold: the run's status, its pods, and the clock; decisions are carried out at once."""

    flow: Any
    run: Run = field(default_factory=a_run)
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    now: datetime = NOW
    launched: list[int] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    writes: int = 0

    def observe(self) -> Snapshot:
        pods = tuple(pod for obj in self.pods.values() if (pod := pod_from(obj)) is not None)
        attempts = self.run.status.attempts
        unfinished = bool(attempts) and attempts[-1].finished_at is None
        lost = unfinished and attempts[-1].pod not in self.pods
        admitted = bool(attempts) or bool(pods)
        return a_snapshot(self.run, flow=self.flow, pods=pods, lost=lost, admitted=admitted)

    def settle(self, *, dies_after: int | None = None) -> Decision:
        """Decide and act until nothing more is to be done; `dies_after` that many acts the operator starts anew."""
        for _ in range(12):
            decision = decide(self.observe(), self.now)
            acts = [*decision.actions, *([decision] if decision.status else []), *decision.afterwards]
            for act in acts[:dies_after]:
                self.perform(act)
            dies_after = None
            if not [act for act in acts if not isinstance(act, RecordEvent)]:
                return decision
        raise AssertionError(f"it never comes to rest: {decision}")

    def perform(self, act: Action | Decision) -> None:
        if isinstance(act, Decision):
            self.write(act)
        elif isinstance(act, LaunchPod):
            assert not any(self.is_live(pod) for pod in self.pods.values()), "two pods at a time"
            self.launched.append(act.attempt)
            self.pods[f"etl-1-{act.attempt}"] = a_pod_object(
                attempt=act.attempt, node=None, metadata={"creationTimestamp": stamp(self.now)}
            )
        elif isinstance(act, DeletePod):
            self.delete(act.name)
        elif isinstance(act, ReleasePod):
            self.pods[act.name]["metadata"]["finalizers"] = []
            self.sweep()

    def write(self, decision: Decision) -> None:
        assert decision.status is not None
        if self.run.status.phase is not None and self.run.status.phase.finished:
            assert decision.status.phase is self.run.status.phase
        self.run = replace(self.run, status=status_from(render_status(decision.status)))
        self.phases.append(decision.status.phase or Phase.PENDING)
        self.writes += 1

    def delete(self, name: str) -> None:
        """The API marks it, and its node, if it has one, ends it."""
        pod = self.pods.get(name)
        if pod is None:
            return
        pod["metadata"]["deletionTimestamp"] = stamp(self.now)
        if pod["spec"].get("nodeName") and self.is_live(pod):
            pod["status"] = ended(143)
        self.sweep()

    def sweep(self) -> None:
        gone = [n for n, pod in self.pods.items() if pod["metadata"].get("deletionTimestamp") and not held(pod)]
        for name in gone:
            del self.pods[name]

    def is_live(self, pod: dict[str, Any]) -> bool:
        return pod["status"].get("phase") not in {"Succeeded", "Failed"}

    def is_recorded(self, name: str) -> bool:
        return any(attempt.pod == name for attempt in self.run.status.attempts)

    def happen(self, what: str, status: dict[str, Any]) -> None:
        """Something happens to the pod that lives, or to the run's spec."""
        live = [name for name, pod in self.pods.items() if self.is_live(pod)]
        if what == "status" and live:
            self.pods[live[0]]["status"] = status
            self.pods[live[0]]["spec"]["nodeName"] = None if status == unschedulable() else "n1"
        elif what == "deleted" and live:
            self.delete(live[0])
        elif what == "stripped" and live and self.is_recorded(live[0]):
            del self.pods[live[0]]  # its finalizer taken off by force; before the first status nothing tells of it
        elif what in {"suspend", "resume"}:
            self.run = replace(self.run, suspend=what == "suspend")
        elif what == "cancel":
            self.run = replace(self.run, cancel=True)
        elif what == "time":
            self.now += timedelta(minutes=7)


def held(pod: dict[str, Any]) -> bool:
    return bool(pod["metadata"].get("finalizers"))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(HAPPENS, max_size=12),
    st.integers(0, 3),
    st.integers(0, 3),
    st.lists(st.integers(0, 3) | st.none(), min_size=1, max_size=4),
)
def test_every_run_comes_to_its_end_within_its_limits(
    events: list[tuple[str, dict[str, Any]]], limit: int, infrastructure: int, deaths: list[int | None]
) -> None:
    """
    Whatever its pods do, whoever deletes them, whenever the operator dies between two writes: one pod at a time,
    never more attempts than both policies allow, and a last phase that it never leaves.
    """
    wait = {"delaySeconds": 60, "jitter": 0}
    flow = a_flow(retries={"limit": limit, **wait}, infrastructureRetries={"limit": infrastructure, **wait})
    world = World(flow)
    for turn, (what, status) in enumerate(events):
        world.settle(dies_after=deaths[turn % len(deaths)] if what == "operator dies" else None)
        world.happen(what, status)
    world.happen("resume", {})
    for _ in range(limit + infrastructure + 2):
        world.settle()
        world.happen("status", ended(1))
        world.settle()
        world.now += timedelta(hours=2)
    world.settle()
    status = world.run.status
    assert status.phase is not None
    assert status.phase.finished
    assert world.launched == list(range(1, len(world.launched) + 1))
    assert len(world.launched) <= 1 + limit + infrastructure
    assert [attempt.number for attempt in status.attempts] == world.launched[: len(status.attempts)]
    assert all(attempt.finished_at and attempt.reason for attempt in status.attempts)
    assert not any(held(pod) for pod in world.pods.values())


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(ENDS), st.integers(0, 4))
def test_an_operator_that_dies_at_any_write_comes_to_the_same_end(end: dict[str, Any], dies_after: int) -> None:
    """The status after a death and a new start is the one of an operator that lived."""

    def live(dies: int | None) -> tuple[Any, list[int]]:
        world = World(a_flow(retries={"limit": 1, "delaySeconds": 60, "jitter": 0}))
        world.settle()
        world.happen("status", end)
        world.settle(dies_after=dies)
        return world.run.status, world.launched

    assert live(dies_after) == live(None)


def test_a_plain_run_costs_two_statuses() -> None:
    """One while it runs, one at its end."""
    world = World(a_flow())
    world.settle()
    world.happen("status", running())
    world.settle()
    world.happen("status", ended(0))
    world.settle()
    assert world.phases == [Phase.RUNNING, Phase.SUCCEEDED]
    assert world.launched == [1]


def test_a_start_that_is_told_anew_is_no_news() -> None:
    """A node that reports its pod twice may say another time."""
    world = World(a_flow())
    world.settle()
    world.happen("status", running())
    world.settle()
    later = running()
    later["containerStatuses"][0]["state"]["running"]["startedAt"] = stamp(NOW + timedelta(seconds=2))
    world.happen("status", later)
    world.settle()
    assert world.phases == [Phase.RUNNING]
    assert world.run.status.attempts[0].started_at == NOW

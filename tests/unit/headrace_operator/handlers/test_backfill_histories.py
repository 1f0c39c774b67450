"""
Backfills through any history: runs end in any order, the operator dies at any write, answers are lost, streams lag.

A naive model says what must come out: each run of a partition is created once, and each partition has one outcome.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal

import hypothesis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from headrace.api.backfill import BackfillStatus
from headrace.backfills.outcomes import decoded
from headrace.kubeapi.errors import ApiError, Unreachable
from headrace_operator.decide.backfill.noted import Noted
from headrace_operator.handlers import backfill, retention
from headrace_operator.kube.resources import BACKFILLS, DEPLOYMENTS, FLOW_RUNS, Resource
from headrace_operator.observe.backfills import BackfillRecord
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.parse import run_from
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics
from tests.builders import NAMESPACE, NOW, stamp
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import Wakes, key

PARTITIONS = 6
FINISHED = {"Succeeded", "Failed"}
Side = Literal["before", "after", "lost"]


class Died(BaseException):
    """The operator's process is gone."""


class Faulty:
    """The cluster, with a fault at one of the next writes: the process dies, or the answer is lost."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.created: Counter[str] = Counter()
        self.fault: tuple[int, Side] | None = None

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self.cluster.get(resource, namespace, name)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        side = self._next()
        stored = await self.cluster.create(resource, namespace, body)
        if resource is FLOW_RUNS:
            self.created[body["metadata"]["name"]] += 1
        return self._answer(side, stored)

    async def patch(self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = "") -> Any:
        side = self._next()
        return self._answer(side, await self.cluster.patch(resource, namespace, name, body, subresource=subresource))

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        side = self._next()
        self._answer(side, await self.cluster.delete(resource, namespace, name, uid=uid, version=version))

    def _next(self) -> Side | None:
        if self.fault is None:
            return None
        left, side = self.fault
        self.fault = (left - 1, side) if left else None
        if left:
            return None
        if side == "before":
            raise Died
        return side

    def _answer(self, side: Side | None, stored: Any) -> Any:
        if side == "after":
            raise Died
        if side == "lost":
            raise Unreachable(0, "Unreachable", "connection reset")
        return stored


class Story:
    """One operator after another, and the API that they share. `fails` says which runs fail: position and number."""

    def __init__(self, fails: set[tuple[int, int]], limit: int) -> None:
        self.now = NOW
        self.fails = fails
        self.cluster = FakeCluster()
        self.faulty = Faulty(self.cluster)
        spec = {
            "deploymentRef": {"name": "daily"},
            "partitions": {"list": [{"name": f"p{number}"} for number in range(PARTITIONS)]},
            "maxActive": 2,
            "retries": {"limit": limit, "delaySeconds": 1},
            "keepFailed": 1,
        }
        self.cluster.put(DEPLOYMENTS, _object("daily", {"flowRef": {"name": "etl"}}))
        self.cluster.put(BACKFILLS, _object("bf", spec))
        self.begin()

    def begin(self) -> None:
        """A new process: it lists what there is, and the finished runs not yet."""
        self.intake = Intake(Cache(), History(), Wakes(), status_delay_s=0, autosize_delay_s=0, monotonic=lambda: 0.0)
        self.context: Any = SimpleNamespace(
            settings=Settings(status_delay_s=0),
            cluster=self.faulty,
            clock=lambda: self.now,
            intake=self.intake,
            metrics=Metrics(CollectorRegistry()),
        )
        self.hear()

    def hear(self) -> None:
        """The streams bring what there is, and tell what is gone or has finished."""
        unfinished = [run for run in self.cluster.all(FLOW_RUNS) if _phase(run) not in FINISHED]
        for resource, objects in ((DEPLOYMENTS, None), (BACKFILLS, None), (FLOW_RUNS, unfinished)):
            door = self.intake.doors[resource]
            there = self.cluster.all(resource) if objects is None else objects
            uids = {obj["metadata"]["uid"] for obj in there}
            for held in list(door.held.values()):
                if held.uid not in uids:
                    door.gone(held.key, held.uid)
            for obj in there:
                door.seen(obj)

    def read_history(self) -> None:
        """The finished runs are listed."""
        for run in self.cluster.all(FLOW_RUNS):
            if _phase(run) in FINISHED:
                self.intake.finished_run_listed(run_from(run), run)
        self.intake.history_listed()

    async def end_a_run(self, which: int, *, is_heard: bool) -> None:
        """The operator writes how a run ended; the answer may be lost, so that only the stream tells that it left."""
        under_way = [run for run in self.cluster.all(FLOW_RUNS) if _phase(run) not in FINISHED]
        if not under_way:
            return
        run = under_way[which % len(under_way)]
        labels, name = run["metadata"]["labels"], run["metadata"]["name"]
        fate = (int(labels["headrace.dev/position"]), int(labels["headrace.dev/try"]))
        phase = "Failed" if fate in self.fails else "Succeeded"
        status = {"phase": phase, "reason": phase, "finishedAt": stamp(self.now)}
        stored = await self.cluster.patch(FLOW_RUNS, NAMESPACE, name, {"status": status}, subresource="status")
        if is_heard:
            self.intake.run_seen(stored)
        else:
            self.hear()

    def ask_about_those_that_left(self) -> None:
        """As the reconcile of FlowRuns does for a run that left the stream."""
        departures = self.intake.history.departures
        for run in self.cluster.all(FLOW_RUNS):
            if departures.uid(key(run["metadata"]["name"])) is not None:
                self.intake.run_seen(run)

    async def look(self, reconcile: Any) -> None:
        """One pass; a death begins a new process, another fault is met by a later pass."""
        try:
            await reconcile(self.context, key("bf"))
        except* Died:
            self.begin()
        except* ApiError:
            self.hear()  # as a Conflict has the object read anew

    async def act(self, what: str, number: int) -> None:
        """One step of the history."""
        self.faulty.fault = None
        if what in {"before", "after", "lost"}:
            self.faulty.fault = (number % 5, what)  # type: ignore[assignment]
            await self.look(backfill.reconcile if number % 2 else retention.reconcile_backfill)
        elif what == "look":
            await self.look(backfill.reconcile)
        elif what == "retire":
            await self.look(retention.reconcile_backfill)
        elif what in {"end", "end unheard"}:
            await self.end_a_run(number, is_heard=what == "end")
        elif what == "ask":
            self.ask_about_those_that_left()
        elif what == "hear":
            self.hear()
        elif what == "history":
            self.read_history()
        elif what == "die":
            self.begin()
        else:
            self.now += timedelta(seconds=number)

    async def come_to_an_end(self) -> BackfillStatus:
        """Nothing goes wrong any more."""
        for _ in range(200):
            for what in ("hear", "ask", "history", "look", "retire", "end", "look"):
                await self.act(what, 0)
            await self.act("wait", 5)
            status = self.status()
            if status.phase is not None and status.phase.finished:
                return status
        raise AssertionError(f"it does not come to an end: {self.status()!r}")

    def status(self) -> BackfillStatus:
        found = self.cluster.find(BACKFILLS, NAMESPACE, "bf")
        assert found is not None
        return BackfillStatus.model_validate(found.get("status") or {})


def _object(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": NAMESPACE, "creationTimestamp": _long_ago()}, "spec": spec}


def _long_ago() -> str:
    return stamp(datetime(2026, 1, 1, tzinfo=NOW.tzinfo))


def _phase(run: Mapping[str, Any]) -> str:
    return str((run.get("status") or {}).get("phase"))


STEPS = (
    "look",
    "look",
    "end",
    "end",
    "end unheard",
    "ask",
    "retire",
    "hear",
    "history",
    "die",
    "wait",
    "before",
    "after",
    "lost",
)
histories = st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 30)), max_size=60)
failures = st.sets(st.tuples(st.integers(0, PARTITIONS - 1), st.integers(1, 3)), max_size=10)


def check(history: list[tuple[str, int]], fails: set[tuple[int, int]], limit: int) -> None:
    """The end is that of an operator to which nothing happens."""
    created, status = asyncio.run(played(Story(fails, limit), history))
    expected_runs, expected_failed = Counter[str](), set()
    for position in range(PARTITIONS):
        tries = next((n for n in range(1, limit + 1) if (position, n) not in fails), limit + 1)
        numbers = range(1, tries + 1)
        expected_runs.update([f"bf-p{position}" + (f"--{number}" if number > 1 else "") for number in numbers])
        if (position, tries) in fails:
            expected_failed.add(position)
    assert created == expected_runs
    outcomes = decoded(status.outcomes)
    assert set(outcomes.failed) == expected_failed
    assert set(outcomes.succeeded) == set(range(PARTITIONS)) - expected_failed
    assert (status.failed, status.succeeded) == (len(expected_failed), PARTITIONS - len(expected_failed))


@settings(max_examples=50, deadline=None)
@given(history=histories, fails=failures, limit=st.integers(0, 2))
def test_each_run_is_created_once_and_each_partition_has_one_outcome(
    history: list[tuple[str, int]], fails: set[tuple[int, int]], limit: int
) -> None:
    """Whatever happens on the way."""
    check(history, fails, limit)


def retires_what_the_status_does_not_tell(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(BackfillRecord, "tells", lambda _record, _run: True)


def counts_an_end_as_often_as_it_is_seen(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Noted, "tells", lambda noted, position, _number: position in noted.over)


@pytest.mark.parametrize(
    "mistake",
    [retires_what_the_status_does_not_tell, counts_an_end_as_often_as_it_is_seen],
    ids=lambda mistake: mistake.__name__,
)
def test_an_operator_with_a_mistake_is_found_out(monkeypatch: pytest.MonkeyPatch, mistake: Any) -> None:
    """The histories reach what they are for."""
    mistake(monkeypatch)

    @settings(max_examples=300, deadline=None, phases=(hypothesis.Phase.generate,), derandomize=True, database=None)
    @given(history=histories, fails=failures, limit=st.integers(0, 2))
    def run(history: list[tuple[str, int]], fails: set[tuple[int, int]], limit: int) -> None:
        check(history, fails, limit)

    with pytest.raises((AssertionError, KeyError)):
        run()


async def played(story: Story, history: list[tuple[str, int]]) -> tuple[Counter[str], BackfillStatus]:
    """What was created, and the status in the end."""
    for what, number in history:
        await story.act(what, number)
    status = await story.come_to_an_end()
    return story.faulty.created, status

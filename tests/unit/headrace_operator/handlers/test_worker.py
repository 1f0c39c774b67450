"""Reconciles from end to end against a cluster in memory: whatever goes wrong with one key affects that one alone."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from headrace.kubeapi.client import failure
from headrace.kubeapi.errors import ApiError, Conflict, Forbidden, Invalid, TooManyRequests, Unreachable
from headrace_operator.apply.flow_run import RunApplier
from headrace_operator.apply.queries import Queries
from headrace_operator.apply.webhooks import Webhooks
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers import flow_run
from headrace_operator.handlers.context import Context
from headrace_operator.handlers.worker import RECONCILES, work
from headrace_operator.kube.resources import (
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    DEPLOYMENTS,
    EVENTS,
    FLOW_RUNS,
    FLOWS,
    PODS,
    Resource,
)
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.flow_run import RunObserver
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.revisions import Revisions
from headrace_operator.observe.workkeys import Kind, WorkKey
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.workqueue import WorkQueue
from tests.builders import NAMESPACE, NOW, ended, running
from tests.fake_cluster import FakeCluster, names

INLINE = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "x"}}}}


class Operator:
    """The operator without streams: what `apply` puts into the cluster it hears of at once."""

    def __init__(self) -> None:
        self.now = NOW
        self.cluster = FakeCluster()
        self.queue: WorkQueue[WorkKey] = WorkQueue()
        self.intake = Intake(
            Cache(), History(), self.queue, status_delay_s=0, autosize_delay_s=30, monotonic=self.monotonic
        )
        self.intake.history_listed()
        revisions = Revisions(self.cluster)
        self.context = Context(
            settings=Settings(),
            cluster=self.cluster,
            clock=self.clock,
            monotonic=self.monotonic,
            intake=self.intake,
            revisions=revisions,
            runs=RunObserver(self.cluster, self.intake, revisions, start_deadline_s=600),
            applier=RunApplier(
                self.cluster,
                self.intake,
                self.intake.gate,
                default_image="headrace/runtime:test",
                clock=self.clock,
            ),
            metrics=Metrics(CollectorRegistry()),
            webhooks=Webhooks(self.cluster, self.clock, frozenset(), self.intake.automations.wake),
            queries=Queries(
                self.cluster,
                self.clock,
                monotonic=self.monotonic,
                hosts=frozenset({"127.0.0.1"}),
                done=lambda key, _is_answered: self.intake.automations.wake(key),
            ),
        )

    def monotonic(self) -> float:
        return (self.now - NOW).total_seconds()

    def clock(self) -> datetime:
        return self.now

    def apply(self, resource: Resource, name: str, spec: dict[str, Any], **metadata: Any) -> None:
        """As `kubectl apply` does it, and the stream that brings it."""
        self.cluster.put(resource, {"metadata": {"name": name, "namespace": NAMESPACE, **metadata}, "spec": spec})
        self.hear_of(resource, name)

    def hear_of(self, resource: Resource, name: str) -> None:
        hear = {FLOWS: self.intake.flow_seen, DEPLOYMENTS: self.intake.deployment_seen, PODS: self.intake.pod_seen}
        obj = self.cluster.find(resource, NAMESPACE, name)
        assert obj is not None
        hear.get(resource, self.intake.run_seen)(obj)

    async def pod_is(self, name: str, status: dict[str, Any]) -> None:
        await self.cluster.patch(PODS, NAMESPACE, name, {"status": status, "spec": {"nodeName": "n1"}})
        self.hear_of(PODS, name)
        await self.rests()

    async def rests(self) -> None:
        """Two workers work until nothing is ready; delayed keys stay delayed."""
        tasks = [asyncio.create_task(work(self.queue, self.context)) for _ in range(2)]
        for _ in range(200):
            await asyncio.sleep(0)
        assert not len(self.queue), "it never comes to rest"
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def what_is_delayed(self) -> None:
        """As if its time had come."""
        for key in list(self.queue._timers):
            self.queue.add(key)
        await self.rests()

    def status(self, resource: Resource = FLOW_RUNS, name: str = "r1") -> dict[str, Any]:
        obj = self.cluster.find(resource, NAMESPACE, name)
        assert obj is not None
        found: dict[str, Any] = obj.get("status") or {}
        return found

    def pods(self) -> list[str]:
        return sorted(names(self.cluster.all(PODS)))


@pytest.fixture
async def operator() -> Any:
    """One that has stored a Flow's revision."""
    made = Operator()
    made.apply(FLOWS, "etl", INLINE)
    await made.rests()
    made.cluster.requests.clear()
    yield made
    made.queue.close()


async def test_a_plain_run_costs_four_writes(operator: Operator) -> None:
    """Pod, status while it runs, last status, finalizer; and no read."""
    operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "etl"}})
    await operator.rests()
    assert operator.pods() == ["r1-1"]
    for status in (running(), ended(0)):
        await operator.pod_is("r1-1", status)
    ours = [request for request in operator.cluster.requests if request[0] != "get"]
    by_kubelet = 2
    assert len(ours) - by_kubelet == 4
    assert operator.cluster.asked("get") == []
    assert operator.status()["phase"] == "Succeeded"
    assert operator.intake.cache.runs == {}


async def test_a_flow_has_its_revision_and_code_stored_then_its_status(operator: Operator) -> None:
    """The ConfigMap is owned by the ControllerRevision."""
    (revision,) = operator.cluster.all(CONTROLLER_REVISIONS)
    (code,) = operator.cluster.all(CONFIG_MAPS)
    assert code["metadata"]["ownerReferences"][0]["uid"] == revision["metadata"]["uid"]
    status = operator.status(FLOWS, "etl")
    assert revision["metadata"]["name"] == f"etl-{status['revision']}"
    assert [(c["type"], c["status"]) for c in status["conditions"]] == [("Ready", "True")]


async def test_a_flow_that_was_stored_by_an_operator_that_died_is_only_told(operator: Operator) -> None:
    """Both objects exist already: that is success."""
    second = Operator()
    for resource in (CONTROLLER_REVISIONS, CONFIG_MAPS):
        for obj in operator.cluster.all(resource):
            second.cluster.put(resource, obj)
    second.apply(FLOWS, "etl", INLINE)
    await second.rests()
    assert second.status(FLOWS, "etl") == operator.status(FLOWS, "etl")
    assert len(second.cluster.all(CONTROLLER_REVISIONS)) == 1


async def test_runs_that_waited_for_their_flow_start_when_it_comes(operator: Operator) -> None:
    """Without anybody's doing."""
    operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "late"}})
    await operator.rests()
    assert operator.status()["reason"] == "FlowNotFound"
    operator.apply(FLOWS, "late", INLINE)
    await operator.rests()
    assert operator.pods() == ["r1-1"]


async def test_two_runs_never_take_one_slot(operator: Operator) -> None:
    """The second one starts when the first has ended."""
    operator.apply(DEPLOYMENTS, "daily", {"flowRef": {"name": "etl"}, "concurrency": {"limit": 1}})
    for name in ("r1", "r2"):
        operator.apply(FLOW_RUNS, name, {"deploymentRef": {"name": "daily"}})
    operator.now += timedelta(seconds=2)  # a shorter wait is not told
    await operator.rests()
    assert operator.pods() == ["r1-1"]
    assert operator.status(name="r2")["reason"] == "WaitingForSlot"
    await operator.pod_is("r1-1", ended(0))
    assert operator.pods() == ["r1-1", "r2-1"]


async def test_a_more_urgent_run_does_not_take_the_slot_of_one_that_is_being_launched(operator: Operator) -> None:
    """It comes while the API server is still asked for the other's pod."""
    operator.apply(DEPLOYMENTS, "daily", {"flowRef": {"name": "etl"}, "concurrency": {"limit": 1}})
    operator.apply(FLOW_RUNS, "r1", {"deploymentRef": {"name": "daily"}})
    launch = asyncio.create_task(flow_run.reconcile(operator.context, ObjectKey(NAMESPACE, "r1")))
    await asyncio.sleep(0)
    operator.apply(FLOW_RUNS, "r2", {"deploymentRef": {"name": "daily"}, "priority": 9})
    await flow_run.reconcile(operator.context, ObjectKey(NAMESPACE, "r2"))
    await launch
    assert operator.pods() == ["r1-1"]


async def test_a_refused_pod_gives_its_slot_back(operator: Operator) -> None:
    """The run says why, and a run of higher priority goes first at the next try."""
    operator.apply(DEPLOYMENTS, "daily", {"flowRef": {"name": "etl"}, "concurrency": {"limit": 1}})
    # Its own status wakes it once more; after that it waits.
    operator.cluster.fail_next("create", PODS, *[Forbidden(403, "Forbidden", "exceeded quota")] * 2)
    operator.apply(FLOW_RUNS, "r1", {"deploymentRef": {"name": "daily"}})
    await operator.rests()
    assert operator.status()["reason"] == "PodCreationFailed"
    assert operator.intake.cache.ledger(ObjectKey(NAMESPACE, "daily")).active_count == 0
    operator.apply(FLOW_RUNS, "r2", {"deploymentRef": {"name": "daily"}, "priority": 9})
    await operator.rests()
    assert operator.pods() == ["r2-1"]


async def test_a_pod_that_is_refused_for_good_ends_its_run(operator: Operator) -> None:
    """Failed, with the API server's words; no second try."""
    operator.cluster.fail_next("create", PODS, Invalid(422, "Invalid", "spec.x: no"))
    operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "etl"}})
    await operator.rests()
    assert operator.status()["phase"] == "Failed"
    assert "spec.x: no" in operator.status()["message"]
    assert operator.pods() == []


class TestFaults:
    async def test_a_conflict_is_looked_at_anew(self, operator: Operator) -> None:
        """Somebody cancelled the run while its end was being written: nothing is lost, nothing overwritten."""
        operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "etl"}})
        await operator.rests()
        await operator.cluster.patch(FLOW_RUNS, NAMESPACE, "r1", {"spec": {"cancel": True}})
        await operator.pod_is("r1-1", ended(1))
        assert operator.status()["phase"] == "Cancelled"

    async def test_a_run_that_was_deleted_is_forgotten(self, operator: Operator) -> None:
        """Its status cannot be written any more; its pod is ended and let go."""
        operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "etl"}})
        await operator.rests()
        run = operator.cluster.find(FLOW_RUNS, NAMESPACE, "r1")
        assert run is not None
        await operator.cluster.delete(FLOW_RUNS, NAMESPACE, "r1", uid=run["metadata"]["uid"])
        await operator.pod_is("r1-1", running())
        assert operator.intake.cache.runs == {}
        assert operator.pods() == []

    async def test_a_run_of_which_nobody_has_heard_is_not_forgotten(self, operator: Operator) -> None:
        """FlowRuns are not served for a moment: the run is there, and its pod goes on."""
        operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "etl"}})
        await operator.rests()
        for verb in ("patch", "get"):
            operator.cluster.fail_next(verb, FLOW_RUNS, failure(verb, 404, b"404 page not found\n", {}))
        await operator.pod_is("r1-1", running())
        assert ObjectKey(NAMESPACE, "r1") in operator.intake.cache.runs
        assert operator.pods() == ["r1-1"]
        operator.cluster.fails_no_more()
        await operator.what_is_delayed()
        assert operator.status()["phase"] == "Running"

    @pytest.mark.parametrize(
        ("error", "at_least_s"),
        [
            (Unreachable(0, "Unreachable", "refused"), 0.05),
            (TooManyRequests(429, "TooManyRequests", "slow", retry_after_s=7), 7),
        ],
    )
    async def test_a_fault_of_the_api_is_tried_again_later(
        self, operator: Operator, error: Exception, at_least_s: float
    ) -> None:
        """After as long as the API server asks for; it is logged in one line."""
        operator.cluster.fail_next("create", PODS, error)
        operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "etl"}})
        with capture_logs() as logs:
            await operator.rests()
        (told,) = (entry for entry in logs if entry["log_level"] == "warning")
        assert (told["event"], told["retry_in_s"]) == ("api_call_failed", at_least_s)
        await operator.what_is_delayed()
        assert operator.pods() == ["r1-1"]

    async def test_a_fault_in_one_key_does_not_stop_the_others(self, operator: Operator) -> None:
        """It is logged with its trace, and tried again after a while."""
        operator.cluster.fail_next("create", PODS, RuntimeError("a bug"))  # type: ignore[arg-type]
        for name in ("r1", "r2"):
            operator.apply(FLOW_RUNS, name, {"flowRef": {"name": "etl"}})
        with capture_logs() as logs:
            await operator.rests()
        assert operator.pods() == ["r2-1"]
        (told,) = (entry for entry in logs if entry["event"] == "reconcile_failed")
        assert (told["error"], told["retry_in_s"], told["log_level"]) == ("RuntimeError", 1.0, "error")

    async def test_how_long_it_took_is_told_by_the_clock_that_was_handed_in(self, operator: Operator) -> None:
        """A simulation has its own."""

        async def slow(_context: Context, _key: ObjectKey) -> None:
            operator.now += timedelta(seconds=90)

        operator.queue.add(WorkKey(Kind.TRIGGERS, ObjectKey(NAMESPACE, "daily")))
        with patch.dict(RECONCILES, {Kind.TRIGGERS: slow}), capture_logs() as logs:
            await operator.rests()
        (told,) = (entry for entry in logs if entry["event"] == "reconciled")
        assert told["duration_s"] == 90


class TestSchedules:
    HOURLY = ({"name": "hourly", "cron": "0 * * * *"},)

    def spec(self, **changes: Any) -> dict[str, Any]:
        return {"flowRef": {"name": "etl"}, "schedules": list(self.HOURLY), **changes}

    def runs(self, operator: Operator) -> list[str]:
        return sorted(names(operator.cluster.all(FLOW_RUNS)))

    def missed(self, operator: Operator) -> tuple[int, str, str]:
        noted = operator.status(DEPLOYMENTS, "daily")["schedules"][0]
        assert noted["lastScheduledTime"] == "2026-03-04T12:00:00Z"
        return noted["missed"], noted["lastMissedTime"], noted["lastMissedReason"]

    async def test_a_time_that_is_due_gets_its_run_and_its_pod(self, operator: Operator) -> None:
        """And the status notes it after that."""
        operator.apply(DEPLOYMENTS, "daily", self.spec(), creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        assert self.runs(operator) == ["daily-hourly-20260304120000"]
        assert operator.pods() == ["daily-hourly-20260304120000-1"]
        assert operator.status(DEPLOYMENTS, "daily")["schedules"][0]["lastScheduledTime"] == "2026-03-04T12:00:00Z"

    async def test_dying_before_the_time_is_noted_makes_no_second_run(self, operator: Operator) -> None:
        """The next operator meets the run that this one made."""
        operator.cluster.fail_next("patch", DEPLOYMENTS, Unreachable(0, "Unreachable", "killed"))
        operator.apply(DEPLOYMENTS, "daily", self.spec(), creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        operator.now += timedelta(seconds=5)
        operator.intake.wake_everything()
        await operator.rests()
        assert self.runs(operator) == ["daily-hourly-20260304120000"]
        assert operator.status(DEPLOYMENTS, "daily")["schedules"][0]["lastScheduledTime"] == "2026-03-04T12:00:00Z"

    @pytest.mark.parametrize(
        "error",
        [
            pytest.param(Forbidden(403, "Forbidden", "exceeded quota"), id="a quota"),
            pytest.param(
                Invalid(400, "Unknown", 'admission webhook "x" denied the request: not at night'), id="a webhook"
            ),
            pytest.param(Invalid(422, "Invalid", 'flowruns "x" is forbidden: Policy denied request'), id="a policy"),
        ],
    )
    async def test_a_time_whose_run_is_forbidden_for_now_stays_due(self, operator: Operator, error: ApiError) -> None:
        """An Event tells it."""
        operator.cluster.fail_next("create", FLOW_RUNS, error)
        operator.apply(DEPLOYMENTS, "daily", self.spec(), creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        assert self.runs(operator) == []
        assert [event["reason"] for event in operator.cluster.all(EVENTS)] == ["RunsNotCreated"]
        await operator.what_is_delayed()
        assert self.runs(operator) == ["daily-hourly-20260304120000"]
        assert operator.status(DEPLOYMENTS, "daily")["schedules"][0]["lastScheduledTime"] == "2026-03-04T12:00:00Z"

    async def test_a_run_that_is_forbidden_keeps_no_other_schedule_back(self, operator: Operator) -> None:
        """Both times are noted when both have their run."""
        spec = self.spec(schedules=[*self.HOURLY, {"name": "noon", "cron": "0 12 * * *"}])
        operator.cluster.fail_next("create", FLOW_RUNS, Forbidden(403, "Forbidden", "not this one"))
        operator.apply(DEPLOYMENTS, "daily", spec, creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        assert "daily-noon-20260304120000" in self.runs(operator)
        await operator.what_is_delayed()
        noted = operator.status(DEPLOYMENTS, "daily")["schedules"]
        assert [each["lastScheduledTime"] for each in noted] == ["2026-03-04T12:00:00Z"] * 2

    async def test_a_time_whose_run_would_be_refused_for_ever_is_over(self, operator: Operator) -> None:
        """An Event has the answer."""
        operator.cluster.fail_next("create", FLOW_RUNS, Invalid(422, "Invalid", "spec.parameters: too long"))
        operator.apply(DEPLOYMENTS, "daily", self.spec(), creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        assert self.runs(operator) == []
        assert [event["reason"] for event in operator.cluster.all(EVENTS)] == ["RunRefused"]
        assert self.missed(operator) == (1, "2026-03-04T12:00:00Z", "RunRefused")

    @pytest.mark.parametrize("of", [{"flowRef": {"name": "etl"}}, {"deploymentRef": {"name": "weekly"}}])
    @pytest.mark.parametrize("is_known", [True, False])
    async def test_a_time_whose_name_is_taken_is_missed(
        self, operator: Operator, of: dict[str, Any], *, is_known: bool
    ) -> None:
        """By a run that somebody made, or another Deployment; whether the operator has heard of it or not yet."""
        name, spec = "daily-hourly-20260304120000", {**of, "cancel": True}
        if is_known:
            operator.apply(FLOW_RUNS, name, spec)
        else:
            operator.cluster.put(FLOW_RUNS, {"metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
        operator.apply(DEPLOYMENTS, "daily", self.spec(), creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        assert "RunNameTaken" in [event["reason"] for event in operator.cluster.all(EVENTS)]
        assert self.missed(operator) == (1, "2026-03-04T12:00:00Z", "RunNameTaken")
        operator.intake.wake_everything()
        await operator.rests()
        assert self.missed(operator)[0] == 1

    async def test_dying_before_a_miss_is_noted_loses_no_event_about_it(self, operator: Operator) -> None:
        """And makes no second one."""
        spec = self.spec(catchUp={"policy": "None"})
        operator.cluster.fail_next("patch", DEPLOYMENTS, Unreachable(0, "Unreachable", "killed"))
        operator.apply(DEPLOYMENTS, "daily", spec, creationTimestamp="2026-03-04T10:30:00Z")
        for _ in range(2):
            await operator.rests()
            operator.intake.wake_everything()
        (event,) = operator.cluster.all(EVENTS)
        assert event["reason"] == "MissedSchedule"

    async def test_a_deployment_that_was_suspended_just_now_starts_nothing(self, operator: Operator) -> None:
        """It is read afresh before a run is made; the event about it is still on its way."""
        operator.apply(DEPLOYMENTS, "daily", self.spec(), creationTimestamp="2026-03-04T11:30:00Z")
        changed = operator.cluster.find(DEPLOYMENTS, NAMESPACE, "daily")
        assert changed is not None
        changed["metadata"].update(generation=2, resourceVersion="999")
        operator.cluster.put(DEPLOYMENTS, {**changed, "spec": self.spec(suspend=True)})
        await operator.rests()
        assert self.runs(operator) == []

    async def test_finished_runs_beyond_the_count_are_deleted_once_their_time_is_noted(
        self, operator: Operator
    ) -> None:
        """And their pods with them, by owner reference."""
        spec = self.spec(history={"succeeded": 0, "failed": 0})
        operator.apply(DEPLOYMENTS, "daily", spec, creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        await operator.pod_is("daily-hourly-20260304120000-1", ended(0))
        assert self.runs(operator) == []
        assert operator.cluster.all(EVENTS) == []

    async def test_a_finished_run_whose_deletion_meets_a_conflict_is_deleted_later(self, operator: Operator) -> None:
        """Others may have been quicker each time that the API server tried: the run is there, and is not taken for gone."""
        spec = self.spec(history={"succeeded": 0, "failed": 0})
        operator.apply(DEPLOYMENTS, "daily", spec, creationTimestamp="2026-03-04T11:30:00Z")
        await operator.rests()
        operator.cluster.fail_next("delete", FLOW_RUNS, Conflict(409, "Conflict", "modified"))
        await operator.pod_is("daily-hourly-20260304120000-1", ended(0))
        (kept,) = operator.cluster.all(FLOW_RUNS)
        key = ObjectKey(NAMESPACE, kept["metadata"]["name"])
        assert operator.intake.history.has_finished(key, kept["metadata"]["uid"])
        await operator.what_is_delayed()
        assert self.runs(operator) == []
        assert not operator.intake.history.has_finished(key, kept["metadata"]["uid"])


async def test_a_conflict_over_a_status_is_told_at_debug_level_only(operator: Operator) -> None:
    """It is daily life, and no reason to wake anybody."""
    operator.cluster.fail_next("patch", FLOW_RUNS, Conflict(409, "Conflict", "modified"))
    operator.apply(FLOW_RUNS, "r1", {"flowRef": {"name": "etl"}})
    await operator.rests()
    with capture_logs() as logs:
        await operator.pod_is("r1-1", ended(0))
        await operator.what_is_delayed()
    assert {entry["log_level"] for entry in logs} <= {"debug", "info"}
    assert "looked_anew" in {entry["event"] for entry in logs}
    assert operator.status()["phase"] == "Succeeded"

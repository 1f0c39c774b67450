"""ConcurrencyLimits from end to end against a cluster in memory: Leases, holders that are over, status, metrics."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from headrace import slots
from headrace.kubeapi.errors import Unavailable, Unreachable
from headrace_operator.apply.flow_run import RunApplier
from headrace_operator.apply.queries import Queries
from headrace_operator.apply.slots import take_slots
from headrace_operator.apply.webhooks import Webhooks
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.handlers import concurrency_limit
from headrace_operator.handlers.concurrency_limit import POD_ENDS_S
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import CONCURRENCY_LIMITS, FLOW_RUNS, LEASES, PODS, Resource
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.flow_run import RunObserver
from headrace_operator.observe.hand_over import OFFER_LASTS_S
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.revisions import Revisions
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics
from headrace_operator.workqueue import WorkQueue
from tests.builders import NAMESPACE, NOW, a_pod_object, ended, running, stamp
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.leases import SYSTEM, pod, run

KEY = ObjectKey("", "db")


class Operator:
    """What reconciles limits, without streams: `heard` brings all that has changed."""

    def __init__(self, cluster: FakeCluster | None = None, namespace: str = "") -> None:
        self.now_s = 0.0
        self.cluster = cluster or FakeCluster()
        self.registry = CollectorRegistry()
        self.intake = Intake(
            Cache(), History(), WorkQueue(), status_delay_s=0, autosize_delay_s=0, monotonic=lambda: self.now_s
        )
        revisions = Revisions(self.cluster)
        self.context = Context(
            settings=Settings(namespace=namespace, operator_namespace=SYSTEM),
            cluster=self.cluster,
            clock=lambda: NOW + timedelta(seconds=self.now_s),
            monotonic=lambda: self.now_s,
            intake=self.intake,
            revisions=revisions,
            runs=RunObserver(self.cluster, self.intake, revisions, start_deadline_s=600),
            applier=RunApplier(
                self.cluster,
                self.intake,
                self.intake.gate,
                default_image="headrace/runtime:test",
                clock=lambda: NOW,
            ),
            metrics=Metrics(self.registry),
            webhooks=Webhooks(self.cluster, lambda: NOW, frozenset(), self.intake.automations.wake),
            queries=Queries(
                self.cluster, lambda: NOW, monotonic=lambda: self.now_s, hosts=frozenset(), done=lambda _key, _is: None
            ),
        )

    async def look(self) -> float | None:
        """As a worker does it, until nothing is left to write."""
        delay_s = await concurrency_limit.reconcile(self.context, KEY)
        for _ in range(4):
            before = len(self.cluster.requests)
            delay_s = await concurrency_limit.reconcile(self.context, KEY)
            if len(self.cluster.requests) == before:
                return delay_s
        message = f"it does not come to rest: {self.cluster.requests[-6:]}"
        raise AssertionError(message)

    def heard(self, *resources: Resource) -> None:
        """The streams have brought everything, what is gone too."""
        for resource in resources or (CONCURRENCY_LIMITS, LEASES, FLOW_RUNS, PODS):
            door = self.intake.doors[resource]
            there = {obj["metadata"]["uid"] for obj in self.cluster.all(resource)}
            for record in list(door.held.values()):
                if record.uid not in there:
                    door.gone(record.key, record.uid)
            for obj in self.cluster.all(resource):
                door.seen(obj)

    def limit(self, **spec: Any) -> None:
        """Applied, or changed."""
        old = self.cluster.find(CONCURRENCY_LIMITS, "", "db")
        generation = old["metadata"]["generation"] + 1 if old else 1
        kept = {"uid": old["metadata"]["uid"]} if old else {}
        body = {"apiVersion": "headrace.dev/v1alpha1", "kind": "ConcurrencyLimit", "spec": spec}
        self.cluster.put(
            CONCURRENCY_LIMITS,
            {
                **body,
                "metadata": {"name": "db", "generation": generation, **kept},
                "status": (old or {}).get("status") or {},
            },
        )
        self.heard(CONCURRENCY_LIMITS)

    def a_run(self, name: str = "etl-1", uid: str = "u1", **status: Any) -> None:
        """In the API; not heard of yet."""
        metadata = {"name": name, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": stamp(NOW)}
        self.cluster.put(FLOW_RUNS, {"metadata": metadata, "spec": {"flowRef": {"name": "etl"}}, "status": status})

    async def takes(self, holder: str, count: int = 1) -> None:
        """A run, through this operator."""
        assert await take_slots(self.cluster, self.context.slots, [("db", count)], (), holder=holder, clock=lambda: NOW)

    async def a_task_takes(self, index: int = 0, holder: str | None = None) -> None:
        """By itself."""
        name = slots.slot_name("db", index)
        obj = self.cluster.find(LEASES, SYSTEM, name)
        assert obj is not None
        await self.cluster.patch(LEASES, SYSTEM, name, slots.taking(obj, holder or pod(), NOW, duration_s=60))
        self.heard(LEASES)

    async def delete(self, resource: Resource, namespace: str, name: str) -> None:
        obj = self.cluster.find(resource, namespace, name)
        assert obj is not None
        await self.cluster.delete(resource, namespace, name, uid=obj["metadata"]["uid"])
        self.heard(resource)

    def leases(self) -> dict[str, str]:
        """Holders by Lease, by the API server's word."""
        found = sorted(self.cluster.all(LEASES), key=lambda obj: obj["metadata"]["name"])
        return {obj["metadata"]["name"]: slots.holder_of(obj) for obj in found}

    def status(self) -> dict[str, Any]:
        obj = self.cluster.find(CONCURRENCY_LIMITS, "", "db")
        assert obj is not None
        told: dict[str, Any] = obj["status"]
        return told

    def metric(self, name: str) -> float | None:
        return self.registry.get_sample_value(name, {"limit": "db"})


@pytest.fixture
def operator() -> Operator:
    return Operator()


async def test_a_new_limit_has_its_leases_and_says_so(operator: Operator) -> None:
    """Slots, a rate, status, metrics; looked at once more, nothing is asked for or written."""
    operator.limit(slots=2, rate={"count": 5, "perSeconds": 60})

    assert await operator.look() is None
    assert operator.leases() == {"db.rate": "", "db.slot-0": "", "db.slot-1": ""}
    assert (operator.status()["active"], operator.status()["conditions"][0]["status"]) == (0, "True")
    figures = ("headrace_limit_slots", "headrace_limit_slots_held", "headrace_limit_waiting_runs")
    assert [operator.metric(name) for name in figures] == [2, 0, 0]
    operator.cluster.requests.clear()
    await operator.look()
    assert operator.cluster.requests == []


async def test_the_status_tells_who_holds(operator: Operator) -> None:
    """And since when."""
    operator.a_run()
    operator.limit(slots=2)
    operator.heard()
    await operator.look()
    await operator.takes(run())
    await operator.look()

    since = "2026-03-04T12:00:00Z"
    assert operator.status()["holders"] == [{"slot": "db.slot-0", "holder": "run/team-a/etl-1", "since": since}]
    assert operator.metric("headrace_limit_slots_held") == 1


FINISHED = {"phase": "Succeeded", "finishedAt": stamp(NOW)}


class TestRunsThatAreOver:
    @pytest.fixture
    async def operator(self) -> Operator:
        """Of two slots, one is held by the run u1."""
        operator = Operator()
        operator.limit(slots=2)
        await operator.look()
        await operator.takes(run())
        operator.cluster.requests.clear()
        return operator

    async def test_a_slot_that_is_offered_and_not_taken_is_taken_back(self, operator: Operator) -> None:
        """Looked at until then, with no request; whoever it was offered to may be short of something else."""
        operator.a_run(**FINISHED)
        operator.heard()
        operator.context.slots.offer(*operator.context.slots.held_by(run()), operator.now_s)
        assert await operator.look() == OFFER_LASTS_S
        assert operator.leases() == {"db.slot-0": run(), "db.slot-1": ""}

        operator.now_s += OFFER_LASTS_S
        await operator.look()
        assert operator.leases() == {"db.slot-0": "", "db.slot-1": ""}

    @pytest.mark.parametrize(
        ("exists", "uid", "status", "freed"),
        [
            pytest.param(False, "", {}, True, id="deleted"),
            pytest.param(True, "u2", {}, True, id="deleted and made anew"),
            pytest.param(True, "u1", FINISHED, True, id="finished"),
            pytest.param(True, "u1", {"phase": "Running"}, False, id="at work, and not heard of yet"),
            pytest.param(True, "u1", {}, False, id="not launched yet: the operator died before its pod was made"),
        ],
    )
    async def test_what_the_cache_lacks_is_asked_for(
        self, operator: Operator, exists: bool, uid: str, status: dict[str, Any], freed: bool
    ) -> None:
        """Once: the answer is kept."""
        if exists:
            operator.a_run(uid=uid, **status)
        await operator.look()

        assert operator.leases()["db.slot-0"] == ("" if freed else run())
        assert operator.cluster.asked("get") == ["etl-1"]

    async def test_a_run_that_is_known_is_not_asked_for(self, operator: Operator) -> None:
        """An idle object costs nothing."""
        operator.a_run()
        operator.heard(FLOW_RUNS)
        await operator.look()

        assert operator.leases()["db.slot-0"] == run()
        assert operator.cluster.asked("get") == []

    async def test_a_run_that_has_left_the_stream_with_its_end_is_not_asked_for(self, operator: Operator) -> None:
        """Its end was heard of, or written by us."""
        operator.a_run(**FINISHED)
        operator.heard(FLOW_RUNS)
        operator.intake.run_gone(ObjectKey(NAMESPACE, "etl-1"), "u1")
        await operator.look()

        assert operator.leases()["db.slot-0"] == ""
        assert operator.cluster.asked("get") == []

    async def test_a_deleted_runs_pod_keeps_the_slot_until_it_has_ended(self, operator: Operator) -> None:
        """Its process may still write to the database."""
        operator.cluster.put(PODS, a_pod_object(running(), run_uid="u1"))
        operator.heard(PODS)

        assert await operator.look() == POD_ENDS_S
        assert operator.leases()["db.slot-0"] == run()
        operator.cluster.put(PODS, a_pod_object(ended(), run_uid="u1", metadata={"resourceVersion": "900"}))
        operator.heard(PODS)
        await operator.look()
        assert operator.leases()["db.slot-0"] == ""

    async def test_runs_of_other_namespaces_are_for_the_operator_that_serves_them(self, operator: Operator) -> None:
        """It may not even read them."""
        other = Operator(operator.cluster, namespace="team-b")
        other.heard()
        await other.look()

        assert operator.leases()["db.slot-0"] == run()
        assert operator.cluster.asked("get") == []

    async def test_an_outage_frees_nothing(self, operator: Operator) -> None:
        """Who cannot be asked for counts as at work."""
        operator.cluster.fail_next("get", FLOW_RUNS, Unavailable(503, "ServiceUnavailable", "etcd"))
        with pytest.raises(Unavailable):
            await operator.look()

        assert operator.leases()["db.slot-0"] == run()


class TestTasks:
    @pytest.fixture
    async def operator(self) -> Operator:
        """The only slot is held by a task of the pod p1."""
        operator = Operator()
        operator.limit(slots=1)
        await operator.look()
        await operator.a_task_takes()
        return operator

    async def test_one_that_is_silent_loses_its_slot_after_its_duration(self, operator: Operator) -> None:
        """By this process's own clock, whatever the Lease says of the time."""
        operator.now_s = 20.0
        assert await operator.look() == 40.0

        operator.now_s = 60.0
        await operator.look()
        assert operator.leases() == {"db.slot-0": ""}

    async def test_one_that_renews_keeps_it(self, operator: Operator) -> None:
        """The time begins anew with each renewal that is heard of."""
        operator.now_s = 50.0
        later = NOW - timedelta(hours=1)  # its clock is wrong, and that does not matter
        await operator.cluster.patch(LEASES, SYSTEM, "db.slot-0", slots.renewing(pod(), 1, later))
        operator.heard(LEASES)
        operator.now_s = 109.0

        assert await operator.look() == 1.0
        assert operator.leases() == {"db.slot-0": pod()}

    async def test_a_renewal_that_was_not_heard_of_counts(self, operator: Operator) -> None:
        """The stream was broken, and the task is not to blame."""
        later = NOW + timedelta(seconds=20)
        await operator.cluster.patch(LEASES, SYSTEM, "db.slot-0", slots.renewing(pod(), 1, later))
        operator.now_s = 61.0
        await operator.look()

        assert operator.leases() == {"db.slot-0": pod()}

    @pytest.mark.parametrize(
        ("status", "uid", "freed"),
        [
            pytest.param(ended(), "p1", True, id="ended: freed at once"),
            pytest.param(running(), "p1", False, id="runs: kept"),
            pytest.param(ended(), "p2", False, id="another pod of that name has ended: kept until it expires"),
        ],
    )
    async def test_the_pod(self, operator: Operator, status: dict[str, Any], uid: str, freed: bool) -> None:
        """What it is known to be counts, not what is missing: a pod on a lost node may be gone and run."""
        operator.cluster.put(PODS, a_pod_object(status, metadata={"uid": uid}))
        operator.heard(PODS)
        await operator.look()

        assert operator.leases()["db.slot-0"] == ("" if freed else pod())

    async def test_its_pod_is_not_asked_for(self, operator: Operator) -> None:
        """Its silence is enough."""
        operator.cluster.requests.clear()
        await operator.look()
        assert operator.cluster.asked("get") == []


class TestResizing:
    @pytest.fixture
    async def operator(self) -> Operator:
        """Three slots, held by three runs at work."""
        operator = Operator()
        operator.limit(slots=3)
        for number in range(3):
            operator.a_run(f"etl-{number}", f"u{number}")
        operator.heard()
        await operator.look()
        for number in range(3):
            await operator.takes(run(f"etl-{number}", f"u{number}"))
        return operator

    async def test_down_while_held(self, operator: Operator) -> None:
        """Nobody loses one, none is taken again, and the status says why until as many are left as there are to be."""
        operator.limit(slots=1)
        await operator.look()
        assert len(operator.leases()) == 3
        assert operator.status()["conditions"][0]["reason"] == "Resizing"
        assert operator.context.slots.pick("db") is None

        for number in range(2):
            await operator.delete(FLOW_RUNS, NAMESPACE, f"etl-{number}")
        await operator.look()
        assert operator.leases() == {"db.slot-2": run("etl-2", "u2")}
        assert operator.status()["conditions"][0]["reason"] == "Ready"

        await operator.delete(FLOW_RUNS, NAMESPACE, "etl-2")
        await operator.look()
        await operator.takes(run())
        assert operator.leases() == {"db.slot-2": run()}

    async def test_up_again_while_held(self, operator: Operator) -> None:
        """All are open again."""
        operator.limit(slots=1)
        await operator.look()
        operator.limit(slots=4)
        await operator.look()

        assert [slot.closed for slot in operator.context.slots.of("db")] == [False] * 4

    async def test_deleted_and_made_anew_while_held(self, operator: Operator) -> None:
        """The old holders count; the rest goes and comes."""
        await operator.delete(FLOW_RUNS, NAMESPACE, "etl-1")
        await operator.delete(CONCURRENCY_LIMITS, "", "db")
        await operator.look()
        assert list(operator.leases()) == ["db.slot-0", "db.slot-2"]
        assert operator.metric("headrace_limit_slots") is None

        operator.limit(slots=2)
        await operator.look()
        assert (operator.status()["active"], len(operator.leases())) == (2, 2)
        assert operator.context.slots.pick("db") is None

    async def test_deleted_for_good(self, operator: Operator) -> None:
        """With the last holder goes the last Lease."""
        await operator.delete(CONCURRENCY_LIMITS, "", "db")
        await operator.look()
        for number in range(3):
            await operator.delete(FLOW_RUNS, NAMESPACE, f"etl-{number}")
        await operator.look()

        assert operator.leases() == {}
        assert operator.metric("headrace_limit_slots_held") is None

    async def test_a_new_leader_goes_on(self, operator: Operator) -> None:
        """From what the API says, in the middle of it."""
        operator.limit(slots=1)
        operator.cluster.fail_next("patch", LEASES, Unreachable(0, "Unreachable", "reset"))
        with pytest.raises(Unreachable):
            await operator.look()
        successor = Operator(operator.cluster)
        successor.heard()
        await successor.look()

        assert all(slot.closed for slot in successor.context.slots.of("db"))
        assert len(successor.leases()) == 3


async def test_made_half_way(operator: Operator) -> None:
    """The next look makes the rest."""
    operator.limit(slots=4)
    operator.cluster.fail_next("create", LEASES, Unavailable(503, "ServiceUnavailable", "etcd"))
    with pytest.raises(Unavailable):
        await operator.look()
    await operator.look()

    assert len(operator.leases()) == 4


async def test_who_holds_by_hand_is_let_be(operator: Operator) -> None:
    """A person reserved a slot; it is told as it stands there."""
    operator.limit(slots=1)
    await operator.look()
    await operator.a_task_takes(holder="maintenance")
    operator.now_s = 1e6
    await operator.look()

    assert operator.leases() == {"db.slot-0": "maintenance"}
    assert operator.status()["holders"][0]["holder"] == "maintenance"

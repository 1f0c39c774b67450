"""A run's snapshot: what is read before absence is believed, and which revision is meant."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from headrace.api.conditions import Reason
from headrace.kubeapi.errors import Unreachable
from headrace_operator.decide.snapshot import Place, ResolvedFlow, Snapshot, Unresolved
from headrace_operator.kube.resources import CONTROLLER_REVISIONS, FLOW_RUNS, PODS
from headrace_operator.observe.flow_run import Orphans, RunObserver
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.revisions import HELD, Revisions
from tests.builders import NAMESPACE, a_flow, a_pod_object, ended, running
from tests.fake_cluster import FakeCluster
from tests.unit.headrace_operator.observe.objects import (
    PAUSE,
    Wakes,
    an_intake,
    deployment,
    finished,
    flow,
    gave_back,
    key,
    run,
    under_way,
)

RUN = key("r1")
READY = {"revision": "latest", "observedGeneration": 1}


def refused(message: str, **status: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": "InvalidSpec", "message": message}
    return {"observedGeneration": 1, "conditions": [condition], **status}


class World:
    """What the API holds, and what the operator has heard of it."""

    def __init__(self) -> None:
        self.cluster = FakeCluster()
        self.intake: Intake
        self.wakes: Wakes
        self.intake, self.wakes = an_intake()
        self.revisions = Revisions(self.cluster)
        self.observer = RunObserver(self.cluster, self.intake, self.revisions, start_deadline_s=60)

    def has_revision(self, revision: str, **spec: Any) -> None:
        obj = {
            "metadata": {"name": f"etl-{revision}", "namespace": NAMESPACE},
            "data": {"spec": {"entrypoint": f"{revision}:main", **spec}},
        }
        self.cluster.put(CONTROLLER_REVISIONS, obj)

    def has_heard_of(self, *, pod: Any = None, run: Any = None, flow: Any = None, deployment: Any = None) -> None:
        if flow:
            self.intake.flow_seen(flow)
        if deployment:
            self.intake.deployment_seen(deployment)
        if run:
            self.intake.run_seen(run)
        if pod:
            self.intake.pod_seen(pod)

    async def snapshot(self) -> Snapshot:
        seen = await self.observer.observe(RUN)
        assert isinstance(seen, Snapshot)
        return seen

    async def resolved(self) -> str | Unresolved:
        flow = (await self.snapshot()).flow
        return flow.revision if isinstance(flow, ResolvedFlow) else flow


@pytest.fixture
def world() -> World:
    """A Flow whose latest revision is stored, two older ones, and a Deployment."""
    made = World()
    for revision in ("latest", "old", "pod"):
        made.has_revision(revision)
    made.has_heard_of(flow=flow(status=READY), deployment=deployment(concurrency={"limit": 2}))
    return made


def pod(**changes: Any) -> dict[str, Any]:
    """The pod of r1's first attempt."""
    return a_pod_object(changes.pop("status", running()), run="r1", run_uid=changes.pop("run_uid", "r1-uid"), **changes)


class TestWhole:
    async def test_a_snapshot_is_of_one_instant(self, world: World) -> None:
        """Run, Flow, Deployment, pods, place."""
        world.has_heard_of(run=run(name="r0"))
        world.has_heard_of(run=run(name="r1", status=under_way()), pod=pod())
        seen = await world.snapshot()
        assert seen.run is world.intake.cache.runs[RUN]
        assert seen.deployment is not None
        assert (seen.deployment.key, seen.deployment.uid) == (key("daily"), "daily-uid")
        assert [p.key.name for p in seen.pods] == ["r1-1"]
        assert (seen.admitted, seen.lost, seen.start_deadline_s) == (True, False, 60)
        assert seen.place == Place(active=0, ahead=1, newer=0)

    @pytest.mark.parametrize("status", [gave_back(pause=PAUSE), gave_back()])
    async def test_a_run_that_paused_has_its_idempotency_key_though_it_holds_nothing(
        self, world: World, status: Any
    ) -> None:
        """It has begun: one that was there before it, and has not, does not take its key after a restart."""
        waits = run(name="r1", idempotencyKey="k")
        began = run(name="r2", idempotencyKey="k", status=status)
        began["metadata"]["creationTimestamp"] = "2026-03-05T00:00:00Z"
        for each in (waits, began):
            world.cluster.put(FLOW_RUNS, each)
            world.has_heard_of(run=each)
        world.intake.history_listed()
        assert (await world.snapshot()).first == key("r2")
        again = await world.observer.observe(key("r2"))
        assert isinstance(again, Snapshot)
        assert (again.first, again.admitted) == (None, False)

    async def test_a_run_that_goes_while_it_is_looked_at_is_left_alone(self, world: World) -> None:
        """Its end is an event of its own."""
        world.has_heard_of(run=run(flowRef={"name": "etl", "revision": "old"}))

        class Disturbed(FakeCluster):
            async def get(self, *where: Any) -> dict[str, Any]:
                world.intake.run_gone(RUN, "r1-uid")
                return await world.cluster.get(*where)

        observer = RunObserver(Disturbed(), world.intake, Revisions(Disturbed()), start_deadline_s=60)
        assert await observer.observe(RUN) is None


class TestWithoutARun:
    async def test_without_pods_there_is_nothing_to_do_and_nothing_to_read(self, world: World) -> None:
        """A run that was deleted before anything began."""
        assert await world.observer.observe(RUN) is None
        assert world.cluster.requests == []

    async def test_the_pods_of_a_deleted_run_are_orphans(self, world: World) -> None:
        """Once the API says that it is gone."""
        world.has_heard_of(pod=pod())
        assert await world.observer.observe(RUN) == Orphans(RUN, world.intake.cache.pods_of(RUN))

    async def test_the_pods_of_a_finished_run_are_orphans(self, world: World) -> None:
        """Another's pod of the name that nobody holds is none of ours."""
        world.cluster.put(FLOW_RUNS, run(status=finished()))
        world.has_heard_of(pod=pod(status=ended(0)))
        world.has_heard_of(pod=pod(attempt=2, run_uid="other", metadata={"finalizers": []}))
        seen = await world.observer.observe(RUN)
        assert isinstance(seen, Orphans)
        assert [p.attempt for p in seen.pods] == [1]

    async def test_a_run_that_was_not_heard_of_yet_is_taken_in(self, world: World) -> None:
        """The pods' stream was ahead of the runs': it wakes itself."""
        world.cluster.put(FLOW_RUNS, run(status=under_way()))
        world.has_heard_of(pod=pod())
        world.wakes.told()
        assert await world.observer.observe(RUN) is None
        assert "FlowRun r1" in world.wakes.told()
        assert isinstance(await world.observer.observe(RUN), Snapshot)

    async def test_an_api_that_does_not_answer_proves_nothing(self, world: World) -> None:
        """It is asked again later."""
        world.has_heard_of(pod=pod())
        world.cluster.fail_next("get", FLOW_RUNS, Unreachable(0, "Unreachable", "refused"))
        with pytest.raises(Unreachable):
            await world.observer.observe(RUN)


class TestLost:
    async def test_a_pod_is_lost_when_the_api_says_so(self, world: World) -> None:
        """The cache alone is not believed."""
        world.has_revision("rev1")
        world.has_heard_of(run=run(status=under_way()))
        assert (await world.snapshot()).lost is True

    async def test_a_pod_that_was_not_heard_of_yet_is_not_lost(self, world: World) -> None:
        """It is read, and taken in."""
        world.has_revision("rev1")
        world.cluster.put(PODS, pod())
        world.has_heard_of(run=run(status=under_way()))
        seen = await world.snapshot()
        assert seen.lost is False
        assert [p.key.name for p in seen.pods] == ["r1-1"]

    async def test_a_pod_of_another_owner_under_the_name_means_that_ours_is_gone(self, world: World) -> None:
        """Names are unique."""
        world.has_revision("rev1")
        world.has_heard_of(run=run(status=under_way()), pod=pod(run_uid="other"))
        assert (await world.snapshot()).lost is True
        assert world.cluster.asked("get") == ["etl-rev1"]

    async def test_a_pod_that_lost_its_labels_is_not_lost(self, world: World) -> None:
        """It may run: it is only not seen."""
        world.has_revision("rev1")
        world.cluster.put(PODS, pod(metadata={"labels": {}}))
        world.has_heard_of(run=run(status=under_way()))
        seen = await world.snapshot()
        assert (seen.lost, seen.pods) == (False, ())

    @pytest.mark.parametrize(
        "status",
        [
            pytest.param({}, id="no attempt yet"),
            pytest.param(
                {"attempts": [{"number": 1, "pod": "r1-1", "finishedAt": "2026-03-04T12:00:00Z"}]},
                id="its end is written",
            ),
        ],
    )
    async def test_no_pod_is_missed_where_none_is_expected(self, world: World, status: dict[str, Any]) -> None:
        """And none is read."""
        world.has_heard_of(run=run(status=status))
        assert (await world.snapshot()).lost is False
        assert "r1-1" not in world.cluster.asked("get")


class TestRevision:
    @pytest.mark.parametrize(
        ("status", "heard_pod", "ref", "expected"),
        [
            pytest.param({}, None, {}, "latest", id="the latest"),
            pytest.param({}, None, {"revision": "old"}, "old", id="the one that the run names"),
            pytest.param({}, pod(), {"revision": "old"}, "rev1", id="the one that its pod was made from"),
            pytest.param(
                {"flowRevision": "pod"}, pod(), {"revision": "old"}, "pod", id="the one that its status pinned first"
            ),
            pytest.param({}, pod(run_uid="other"), {}, "latest", id="another's pod says nothing"),
        ],
    )
    async def test_what_was_pinned_wins(
        self, world: World, status: dict[str, Any], heard_pod: Any, ref: dict[str, Any], expected: str
    ) -> None:
        """Status, pod, reference, latest."""
        world.has_revision("rev1")
        world.has_heard_of(run=run(status=status, flowRef={"name": "etl", **ref}), pod=heard_pod)
        assert await world.resolved() == expected

    async def test_a_deployment_may_pin_it(self, world: World) -> None:
        """For all its runs."""
        pinning = deployment(2, generation=2, flowRef={"name": "etl", "revision": "old"})
        world.has_heard_of(run=run(), deployment=pinning)
        assert await world.resolved() == "old"

    async def test_a_flow_whose_revision_is_not_stored_yet_is_waited_for(self, world: World) -> None:
        """Its own reconcile wakes the runs; nothing is decided on an old revision meanwhile."""
        world.has_heard_of(run=run(), flow=flow(2, status=READY, generation=2))
        assert await world.observer.observe(RUN) is None
        world.has_heard_of(flow=flow(3, status={**READY, "observedGeneration": 2}, generation=2))
        assert await world.resolved() == "latest"


class TestUnresolved:
    @pytest.mark.parametrize(
        ("ref", "reason", "told"),
        [
            pytest.param(
                {"flowRef": {"name": "gone"}},
                Reason.FLOW_NOT_FOUND,
                'there is no Flow "gone" in namespace team-a; apply it, and this run goes on by itself',
                id="no Flow",
            ),
            pytest.param(
                {"deploymentRef": {"name": "gone"}},
                Reason.DEPLOYMENT_NOT_FOUND,
                'there is no Deployment "gone" (deployments.headrace.dev) in namespace team-a; '
                "apply it, and this run goes on by itself",
                id="no Deployment",
            ),
            pytest.param(
                {"flowRef": {"name": "etl", "revision": "pruned"}},
                Reason.REVISION_NOT_FOUND,
                'Flow etl has no revision "pruned"; kubectl get controllerrevisions -n team-a '
                "-l headrace.dev/flow=etl lists those that are kept",
                id="no such revision",
            ),
        ],
    )
    async def test_what_is_missing_is_named(self, world: World, ref: dict[str, Any], reason: Reason, told: str) -> None:
        """With what to do about it."""
        world.has_heard_of(run=run(**ref))
        assert await world.resolved() == Unresolved(reason, told)

    @pytest.mark.parametrize("revision", [{}, {"revision": "latest"}], ids=["a new Flow", "one that was fine before"])
    async def test_a_flow_that_is_refused_is_named_with_its_complaint(
        self, world: World, revision: dict[str, Any]
    ) -> None:
        """Not run at an older revision, and not waited for without a word."""
        broken = flow(2, status=refused("spec.parameters.schema: no", **revision))
        world.has_heard_of(run=run(), flow=broken)
        assert await world.resolved() == Unresolved(Reason.INVALID_SPEC, "Flow etl: spec.parameters.schema: no")

    async def test_a_deployment_that_cannot_be_used_is_named(self, world: World) -> None:
        """With its model's complaint."""
        world.has_heard_of(run=run(), deployment=deployment(2, generation=2, priority="high"))
        told = await world.resolved()
        assert isinstance(told, Unresolved)
        assert told.reason is Reason.INVALID_SPEC
        assert told.message.startswith("Deployment daily: spec.priority: ")

    async def test_a_revision_that_cannot_be_read_is_as_good_as_none(self, world: World) -> None:
        """An older operator stored what this one does not understand."""
        world.has_revision("odd", retries={"limit": -1})
        world.has_heard_of(run=run(flowRef={"name": "etl", "revision": "odd"}))
        told = await world.resolved()
        assert isinstance(told, Unresolved)
        assert told.reason is Reason.REVISION_NOT_FOUND


class TestWithheld:
    """A revision keeps the rights of its Flow; a Deployment may not change pods that have more than the Flow has now."""

    OWN_CODE: ClassVar = {"podTemplate": {"spec": {"containers": [{"name": "flow", "command": ["sh"]}]}}}
    TOLD = Unresolved(
        Reason.INVALID_SPEC,
        "Deployment daily changes pods (spec.env, spec.podTemplate) of revision rich, which names Secret postgres, ServiceAccount etl; "
        "Flow etl does not any more: run its present revision, or leave out the changes",
    )

    @pytest.fixture
    def world(self, world: World) -> World:
        world.has_revision("rich", serviceAccountName="etl", secrets=["postgres"])
        return world

    @pytest.mark.parametrize("status", [{}, {"flowRevision": "rich"}], ids=["that is pinned", "that is in flight"])
    async def test_changes_of_a_revision_that_had_more_are(self, world: World, status: dict[str, Any]) -> None:
        """Else its ServiceAccount would run anybody's code."""
        pins = {"flowRef": {"name": "etl", **({} if status else {"revision": "rich"})}}
        world.has_heard_of(run=run(status=status), deployment=deployment(2, generation=2, **pins, **self.OWN_CODE))
        assert (await world.snapshot()).withheld == self.TOLD

    async def test_changes_of_a_revision_without_a_flow_are(self, world: World) -> None:
        """It was deleted, and its revisions left behind."""
        pins = {"flowRef": {"name": "etl", "revision": "rich"}, "env": [{"name": "PYTHONSTARTUP", "value": "/x"}]}
        world.has_heard_of(run=run(), deployment=deployment(2, generation=2, **pins))
        world.intake.flow_gone(key("etl"), "etl-uid")
        assert (await world.snapshot()).withheld == self.TOLD

    @pytest.mark.parametrize(
        ("pinned", "changes", "now"),
        [
            pytest.param("rich", {}, {}, id="nothing is changed"),
            pytest.param("rich", {"timeoutSeconds": 9}, {}, id="only how long it may take is changed"),
            pytest.param("old", OWN_CODE, {}, id="the revision names nothing"),
            pytest.param("rich", OWN_CODE, {"serviceAccountName": "etl", "secrets": ["postgres", "b"]}, id="as now"),
        ],
    )
    async def test_what_gains_nothing_is_not(
        self, world: World, pinned: str, changes: dict[str, Any], now: dict[str, Any]
    ) -> None:
        """Rolling back is ordinary."""
        pins = {"flowRef": {"name": "etl", "revision": pinned}}
        world.has_heard_of(
            run=run(),
            deployment=deployment(2, generation=2, **pins, **changes),
            flow=flow(2, generation=2, spec={"entrypoint": "etl:main", **now}, status=READY),
        )
        seen = await world.snapshot()
        assert isinstance(seen.flow, ResolvedFlow)
        assert (seen.flow.revision, seen.withheld) == (pinned, None)


class TestRevisions:
    """Revisions by content: what was read once is true for ever."""

    async def test_each_is_read_once(self, world: World) -> None:
        """One that is not there is asked for each time."""
        for _ in range(3):
            found = await world.revisions.get(key("etl"), "old")
            assert found is not None
            assert found.spec.entrypoint == "old:main"
            assert await world.revisions.get(key("etl"), "gone") is None
        assert world.cluster.asked("get") == ["etl-old", "etl-gone", "etl-gone", "etl-gone"]

    async def test_the_latest_used_are_held(self, world: World) -> None:
        """Memory is bounded."""
        spec = a_flow().spec
        world.revisions.put(key("etl"), "old", spec)
        for number in range(HELD - 1):
            world.revisions.put(key("etl"), str(number), spec)
        await world.revisions.get(key("etl"), "old")
        world.revisions.put(key("etl"), "one more", spec)
        await world.revisions.get(key("etl"), "old")
        assert world.cluster.requests == []
        assert await world.revisions.get(key("etl"), "0") is None
        assert world.cluster.asked("get") == ["etl-0"]

"""Pods are created once, asked to end, and let go."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.kubeapi.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, Unavailable
from headrace_operator.apply.pods import FINALIZER_TRIES, create_pod, delete_pod, release_pod
from headrace_operator.decide.actions import DeletePod, ReleasePod
from headrace_operator.errors import PodNameTakenError, PodRefusedError
from headrace_operator.kube.resources import PODS
from headrace_operator.manifests.pod import pod_manifest
from tests.builders import NAMESPACE, a_flow, a_pod_object, a_run, a_snapshot, running
from tests.fake_cluster import FakeCluster

OURS = "headrace.dev/outcome"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


def a_manifest(uid: str = "run-uid") -> dict[str, Any]:
    return pod_manifest(a_snapshot(a_run(uid=uid)), a_flow(), 1, default_image="x")


def stored(cluster: FakeCluster) -> dict[str, Any] | None:
    return cluster.find(PODS, NAMESPACE, "etl-1-1")


def finalizers(cluster: FakeCluster) -> list[str] | None:
    pod = stored(cluster)
    return None if pod is None else pod["metadata"].get("finalizers")


class TestCreate:
    async def test_a_new_pod_is_returned_as_stored(self, cluster: FakeCluster) -> None:
        """With the uid and version that the API gave it."""
        pod = await create_pod(cluster, a_manifest())
        assert pod == stored(cluster)
        assert pod["metadata"]["uid"]

    async def test_that_it_exists_already_is_success(self, cluster: FakeCluster) -> None:
        """An operator died after creating it: the same owner, the same pod."""
        first = await create_pod(cluster, a_manifest())
        assert await create_pod(cluster, a_manifest()) == first

    @pytest.mark.parametrize("owners", [[{"kind": "FlowRun", "uid": "older run"}], [], None])
    async def test_a_pod_of_another_owner_is_told(self, cluster: FakeCluster, owners: Any) -> None:
        """It is not touched."""
        cluster.put(PODS, a_pod_object(running(), metadata={"ownerReferences": owners}))
        with pytest.raises(PodNameTakenError) as taken:
            await create_pod(cluster, a_manifest())
        assert (taken.value.namespace, taken.value.name) == (NAMESPACE, "etl-1-1")
        assert taken.value.pod == stored(cluster)

    async def test_one_that_goes_while_we_look_is_told_as_gone(self, cluster: FakeCluster) -> None:
        """It is created at the next look."""
        cluster.fail_next("create", PODS, AlreadyExists(409, "AlreadyExists", "exists"))
        with pytest.raises(NotFound):
            await create_pod(cluster, a_manifest())

    @pytest.mark.parametrize(
        ("error", "final"),
        [
            pytest.param(Forbidden(403, "Forbidden", "exceeded quota"), False, id="quota or policy: it may change"),
            pytest.param(Invalid(422, "Invalid", "spec.x"), True, id="invalid: the same for ever"),
            pytest.param(Invalid(400, "BadRequest", "no pod"), True, id="no pod at all"),
            pytest.param(Invalid(400, "Unknown", 'admission webhook "x" denied the request'), False, id="a webhook"),
        ],
    )
    async def test_a_refusal_is_told_with_the_api_servers_words(
        self, cluster: FakeCluster, error: Any, final: bool
    ) -> None:
        """And whether waiting may help."""
        cluster.fail_next("create", PODS, error)
        with pytest.raises(PodRefusedError) as refused:
            await create_pod(cluster, a_manifest())
        assert (refused.value.message, refused.value.final) == (error.message, final)

    async def test_a_fault_of_the_api_is_no_refusal(self, cluster: FakeCluster) -> None:
        """It is tried again."""
        cluster.fail_next("create", PODS, Unavailable(503, "ServiceUnavailable", "etcd"))
        with pytest.raises(Unavailable):
            await create_pod(cluster, a_manifest())


class TestDelete:
    async def test_a_pod_is_asked_to_end_and_held_until_it_is_let_go(self, cluster: FakeCluster) -> None:
        """Its outcome is not lost."""
        cluster.put(PODS, a_pod_object(running()))
        await delete_pod(cluster, NAMESPACE, DeletePod("etl-1-1", "pod-uid-1"))
        pod = stored(cluster)
        assert pod is not None
        assert pod["metadata"]["deletionTimestamp"]

    async def test_one_that_is_gone_is_success(self, cluster: FakeCluster) -> None:
        """Nothing is left to do."""
        await delete_pod(cluster, NAMESPACE, DeletePod("etl-1-1", "pod-uid-1"))

    async def test_another_pod_of_the_name_stays(self, cluster: FakeCluster) -> None:
        """Ours is gone: that is success too."""
        cluster.put(PODS, a_pod_object(running(), metadata={"uid": "another"}))
        await delete_pod(cluster, NAMESPACE, DeletePod("etl-1-1", "pod-uid-1"))
        pod = stored(cluster)
        assert pod is not None
        assert "deletionTimestamp" not in pod["metadata"]

    @pytest.mark.parametrize("version", [None, 10])
    async def test_a_conflict_over_a_pod_as_it_was_named_is_none_of_ours(
        self, cluster: FakeCluster, version: int | None
    ) -> None:
        """Others were quicker each time that the API server tried: it is asked again."""
        cluster.put(PODS, a_pod_object(running()))
        cluster.fail_next("delete", PODS, Conflict(409, "Conflict", "modified"))
        with pytest.raises(Conflict):
            await delete_pod(cluster, NAMESPACE, DeletePod("etl-1-1", "pod-uid-1", version))

    @pytest.mark.parametrize(("version", "ends"), [(10, True), (9, False)])
    async def test_a_pod_that_has_changed_stays_where_a_version_is_named(
        self, cluster: FakeCluster, version: int, ends: bool
    ) -> None:
        """It may have found a node since."""
        cluster.put(PODS, a_pod_object(running()))
        await delete_pod(cluster, NAMESPACE, DeletePod("etl-1-1", "pod-uid-1", version))
        pod = stored(cluster)
        assert pod is not None
        assert ("deletionTimestamp" in pod["metadata"]) is ends


class TestRelease:
    RELEASE = ReleasePod("etl-1-1", "pod-uid-1")

    @pytest.mark.parametrize(
        ("before", "after", "requests"),
        [
            pytest.param([OURS], None, 1, id="ours alone, in one request"),
            pytest.param([OURS, "a/b"], ["a/b"], 3, id="ours in front of another"),
            pytest.param(["a/b", OURS], ["a/b"], 3, id="ours behind another"),
            pytest.param(["a/b", OURS, "c/d"], ["a/b", "c/d"], 3, id="ours between others"),
        ],
    )
    async def test_our_finalizer_goes_and_those_of_others_stay(
        self, cluster: FakeCluster, before: list[str], after: list[str] | None, requests: int
    ) -> None:
        """The pod after that is returned."""
        cluster.put(PODS, a_pod_object(running(), metadata={"finalizers": before}))
        released = await release_pod(cluster, NAMESPACE, self.RELEASE)
        assert released == stored(cluster)
        assert finalizers(cluster) == after
        assert len(cluster.requests) == requests

    @pytest.mark.parametrize(
        ("finalizers", "kept"),
        [
            pytest.param([OURS], [{}], id="nobody: emptied, by the value that does so"),
            pytest.param([OURS, "a/b"], [{"manager": "a"}], id="who has a finalizer there: kept for that one"),
        ],
    )
    async def test_who_wrote_which_field_is_kept_for(
        self, cluster: FakeCluster, finalizers: list[str], kept: list[dict[str, str]]
    ) -> None:
        """A finalizer that was applied is taken off by applying without it, which those notes make possible."""
        notes = {"managedFields": [{"manager": "a"}], "finalizers": finalizers}
        cluster.put(PODS, a_pod_object(running(), metadata=notes))
        released = await release_pod(cluster, NAMESPACE, self.RELEASE)
        assert released is not None
        assert released["metadata"]["managedFields"] == kept

    async def test_a_pod_that_was_deleted_goes_with_it(self, cluster: FakeCluster) -> None:
        """It waited for us alone."""
        cluster.put(PODS, a_pod_object(running(), metadata={"deletionTimestamp": "2026-03-04T12:00:00Z"}))
        assert await release_pod(cluster, NAMESPACE, self.RELEASE) is not None
        assert stored(cluster) is None

    @pytest.mark.parametrize(
        "metadata",
        [
            pytest.param({"finalizers": ["a/b"]}, id="ours is off already"),
            pytest.param({"finalizers": None}, id="there is none"),
            pytest.param({"uid": "another"}, id="another pod has the name"),
        ],
    )
    async def test_what_is_not_ours_to_let_go_is_left_alone(
        self, cluster: FakeCluster, metadata: dict[str, Any]
    ) -> None:
        """None, and nothing is changed."""
        before = cluster.put(PODS, a_pod_object(running(), metadata=metadata))
        assert await release_pod(cluster, NAMESPACE, self.RELEASE) is None
        assert stored(cluster) == before

    async def test_one_that_is_gone_is_success(self, cluster: FakeCluster) -> None:
        """Before the first try, or while we look again."""
        assert await release_pod(cluster, NAMESPACE, self.RELEASE) is None
        cluster.fail_next("patch", PODS, Invalid(422, "Invalid", "test failed"))
        assert await release_pod(cluster, NAMESPACE, self.RELEASE) is None

    async def test_finalizers_that_keep_moving_are_left_to_the_next_look(self, cluster: FakeCluster) -> None:
        """The change that stood in the way wakes the run again."""
        cluster.put(PODS, a_pod_object(running()))
        cluster.fail_next("patch", PODS, *[Invalid(422, "Invalid", "test failed")] * FINALIZER_TRIES)
        assert await release_pod(cluster, NAMESPACE, self.RELEASE) is None
        assert finalizers(cluster) == [OURS]

    async def test_a_fault_of_the_api_is_raised(self, cluster: FakeCluster) -> None:
        """It is tried again."""
        cluster.put(PODS, a_pod_object(running()))
        cluster.fail_next("patch", PODS, Conflict(409, "Conflict", "modified"))
        with pytest.raises(Conflict):
            await release_pod(cluster, NAMESPACE, self.RELEASE)

"""
What the operator relies on of an API server: each function is a test, of a client and an empty namespace.

The simulated API and a real API server pass the same ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
import pytest

from headrace.api.keys import API_VERSION
from headrace.kubeapi.client import JSON_PATCH, KubeClient
from headrace.kubeapi.errors import AlreadyExists, Conflict, Invalid, NotFound, NotServed

Behaviour = Callable[[KubeClient, str], Awaitable[None]]
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"
FINALIZER = "headrace.dev/outcome"
PATIENCE_S = 100.0
"""The garbage collector looks for new kinds every half minute."""
LOOK_S = 0.1


def runs(namespace: str, name: str = "", subresource: str = "") -> str:
    """The path of a FlowRun, or of all."""
    parts = (f"/apis/{API_VERSION}/namespaces/{namespace}/flowruns", name, subresource)
    return "/".join(part for part in parts if part)


def pods(namespace: str, name: str = "", subresource: str = "") -> str:
    """The path of a pod, or of all."""
    return "/".join(part for part in (f"/api/v1/namespaces/{namespace}/pods", name, subresource) if part)


def leases(namespace: str, name: str = "") -> str:
    """The path of a Lease, or of all."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases" + (f"/{name}" if name else "")


async def a_run(client: KubeClient, namespace: str, name: str = "r", **metadata: Any) -> dict[str, Any]:
    """A FlowRun as it is stored."""
    spec = {"flowRef": {"name": "etl"}}
    body = {"apiVersion": API_VERSION, "kind": "FlowRun", "metadata": {"name": name, **metadata}, "spec": spec}
    return await client.create(runs(namespace), body)


async def a_pod(client: KubeClient, namespace: str, name: str = "p", **metadata: Any) -> dict[str, Any]:
    """A pod as it is stored; its gate keeps every scheduler away."""
    spec = {"containers": [{"name": "flow", "image": "i"}], "schedulingGates": [{"name": "headrace.dev/test"}]}
    return await client.create(pods(namespace), {"metadata": {"name": name, **metadata}, "spec": spec})


async def told(client: KubeClient, path: str, count: int, **params: str) -> list[dict[str, Any]]:
    """So many events of a watch, bookmarks left out."""
    found: list[dict[str, Any]] = []
    lines = client.raw_lines(path, {"watch": "true", **params})
    async with asyncio.timeout(PATIENCE_S):
        async for line in lines:
            event = orjson.loads(line)
            if event["type"] != "BOOKMARK":
                found.append(event)
            if len(found) == count:
                break
    await lines.aclose()  # type: ignore[attr-defined]
    return found


async def gone(client: KubeClient, path: str) -> None:
    """Returns once there is no such object."""
    async with asyncio.timeout(PATIENCE_S):
        with suppress(NotFound):
            while await client.get(path):  # noqa: ASYNC110 - an API server has no event for us to wait for
                await asyncio.sleep(LOOK_S)


def kinds_of(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """What happened to whom."""
    return [(event["type"], event["object"]["metadata"]["name"]) for event in events]


async def creating_gives_an_identity(client: KubeClient, namespace: str) -> None:
    """Uid, version, generation and time of creation; the status is not the creator's to write."""
    body = {"metadata": {"name": "r"}, "spec": {"flowRef": {"name": "etl"}}, "status": {"phase": "Running"}}
    made = await client.create(runs(namespace), {"apiVersion": API_VERSION, "kind": "FlowRun", **body})
    assert made["metadata"]["generation"] == 1
    assert len(made["metadata"]["uid"]) == 36
    assert int(made["metadata"]["resourceVersion"]) > 0
    assert made["metadata"]["creationTimestamp"].endswith("Z")
    assert "status" not in made
    assert await client.get(runs(namespace, "r")) == made


async def a_name_is_taken_once(client: KubeClient, namespace: str) -> None:
    """A second creation is refused, as is one in a namespace that does not exist."""
    await a_run(client, namespace)
    with pytest.raises(AlreadyExists):
        await a_run(client, namespace)
    with pytest.raises(NotFound):
        await a_run(client, "no-such-namespace")
    with pytest.raises(NotFound):
        await client.get(runs(namespace, "absent"))


async def what_is_not_served_is_not_said_to_be_gone(client: KubeClient, namespace: str) -> None:
    """In a group that is not served, and in one that is: an object that is there may be asked for so while its definition is away."""
    for api, plural in (("apis/headrace.dev/v9", "flowruns"), (f"apis/{API_VERSION}", "gizmos"), ("api/v1", "gizmos")):
        path = f"/{api}/namespaces/{namespace}/{plural}/etl"
        with pytest.raises(NotServed):
            await client.get(path)
        with pytest.raises(NotServed):
            await client.delete(path)
    await client.delete(runs(namespace, "absent"))


async def defaults_are_filled_in(client: KubeClient, namespace: str) -> None:
    """Where the definition tells a default, below what is given too."""
    spec = {"flowRef": {"name": "etl"}, "schedules": [{"name": "daily", "cron": "0 7 * * *"}]}
    body = {"apiVersion": API_VERSION, "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    made = await client.create(f"/apis/{API_VERSION}/namespaces/{namespace}/deployments", body)
    assert made["spec"]["suspend"] is False
    assert made["spec"]["schedules"][0]["timeZone"] == "Etc/UTC"


async def a_status_is_written_apart(client: KubeClient, namespace: str) -> None:
    """Through its subresource, without a new generation; through the object itself it is not written at all."""
    made = await a_run(client, namespace)
    version = made["metadata"]["resourceVersion"]
    operations = [
        {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        {"op": "add", "path": "/status", "value": {"phase": "Running", "message": "a"}},
    ]
    written = await client.patch(runs(namespace, "r", "status"), operations, content_type=JSON_PATCH)
    assert (written["status"]["phase"], written["metadata"]["generation"]) == ("Running", 1)
    assert int(written["metadata"]["resourceVersion"]) > int(version)
    other = await client.patch(runs(namespace, "r"), {"spec": {"cancel": True}, "status": {"phase": "Failed"}})
    assert (other["status"]["phase"], other["metadata"]["generation"]) == ("Running", 2)
    with pytest.raises(Conflict):
        await client.patch(runs(namespace, "r", "status"), operations, content_type=JSON_PATCH)


async def what_changes_nothing_is_no_change(client: KubeClient, namespace: str) -> None:
    """The version stays."""
    made = await a_run(client, namespace)
    same = await client.patch(runs(namespace, "r"), {"spec": {"flowRef": {"name": "etl"}}})
    assert same["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def a_test_that_fails_is_invalid(client: KubeClient, namespace: str) -> None:
    """As is the removal or replacement of what is not there; nothing of the patch takes effect."""
    lease = await client.create(leases(namespace), {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    for bad in (
        {"op": "test", "path": "/spec/holderIdentity", "value": "b"},
        {"op": "test", "path": "/spec/leaseTransitions", "value": 1},
        {"op": "replace", "path": "/metadata/labels/a", "value": "b"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ):
        operations = [{"op": "replace", "path": "/spec/holderIdentity", "value": "c"}, bad]
        with pytest.raises(Invalid):
            await client.patch(leases(namespace, "l"), operations, content_type=JSON_PATCH)
    assert (await client.get(leases(namespace, "l")))["metadata"]["resourceVersion"] == lease["metadata"][
        "resourceVersion"
    ]


async def a_merge_patch_may_rest_on_a_version(client: KubeClient, namespace: str) -> None:
    """It is refused if the object has changed since; a null removes."""
    lease = await client.create(leases(namespace), {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    old = lease["metadata"]["resourceVersion"]
    taken = {"metadata": {"resourceVersion": old}, "spec": {"holderIdentity": None, "leaseTransitions": 1}}
    after = await client.patch(leases(namespace, "l"), taken)
    assert after["spec"] == {"leaseTransitions": 1}
    with pytest.raises(Conflict):
        await client.patch(leases(namespace, "l"), {**taken, "spec": {"leaseTransitions": 2}})


async def a_replacement_rests_on_a_version(client: KubeClient, namespace: str) -> None:
    """Of a Lease that was read before it changed."""
    lease = await client.create(leases(namespace), {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}})
    replaced = await client.replace(leases(namespace, "l"), {**lease, "spec": {"holderIdentity": "b"}})
    assert replaced["spec"]["holderIdentity"] == "b"
    with pytest.raises(Conflict):
        await client.replace(leases(namespace, "l"), {**lease, "spec": {"holderIdentity": "c"}})


async def a_deletion_may_name_what_it_means(client: KubeClient, namespace: str) -> None:
    """Another uid or version is left alone; what is gone is no error."""
    made = await a_run(client, namespace)
    with pytest.raises(Conflict):
        await client.delete(runs(namespace, "r"), uid="00000000-0000-4000-8000-000000000000")
    with pytest.raises(Conflict):
        await client.delete(runs(namespace, "r"), uid=made["metadata"]["uid"], version=1)
    await client.delete(runs(namespace, "r"), uid=made["metadata"]["uid"])
    with pytest.raises(NotFound):
        await client.get(runs(namespace, "r"))
    await client.delete(runs(namespace, "r"), uid=made["metadata"]["uid"])


async def notes_of_who_wrote_what_go_when_they_are_emptied(client: KubeClient, namespace: str) -> None:
    """And none are made by writes after that."""
    await a_pod(client, namespace, finalizers=[FINALIZER])
    emptied = [
        {"op": "test", "path": "/metadata/finalizers", "value": [FINALIZER]},
        {"op": "remove", "path": "/metadata/finalizers"},
        {"op": "add", "path": "/metadata/managedFields", "value": [{}]},
    ]
    after = await client.patch(pods(namespace, "p"), emptied, content_type=JSON_PATCH)
    later = await client.patch(pods(namespace, "p", "status"), {"status": {"phase": "Succeeded"}})
    assert not any("managedFields" in each["metadata"] for each in (after, later))


async def a_finalizer_keeps_what_is_deleted(client: KubeClient, namespace: str) -> None:
    """Until it is taken off; then the object goes, and its last event still shows it."""
    made = await a_pod(client, namespace, finalizers=[FINALIZER])
    await client.delete(pods(namespace, "p"), uid=made["metadata"]["uid"])
    kept = await client.get(pods(namespace, "p"))
    assert (kept["metadata"]["finalizers"], kept["metadata"]["deletionGracePeriodSeconds"]) == ([FINALIZER], 0)
    assert "deletionTimestamp" in kept["metadata"]
    removal = [
        {"op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"]},
        {"op": "test", "path": "/metadata/finalizers/0", "value": FINALIZER},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]
    freed = await client.patch(pods(namespace, "p"), removal, content_type=JSON_PATCH)
    assert not freed["metadata"].get("finalizers")
    assert "deletionTimestamp" in freed["metadata"]
    with pytest.raises(NotFound):
        await client.get(pods(namespace, "p"))
    since = kept["metadata"]["resourceVersion"]
    (event,) = await told(client, pods(namespace), 1, resourceVersion=since)
    assert (event["type"], event["object"]["metadata"]["uid"]) == ("DELETED", made["metadata"]["uid"])
    assert int(event["object"]["metadata"]["resourceVersion"]) > int(since)


async def what_an_owner_leaves_goes(client: KubeClient, namespace: str) -> None:
    """Soon after the owner; what another one owns too stays."""
    owner, other = await a_run(client, namespace, "owner"), await a_run(client, namespace, "other")

    def by(*owners: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"apiVersion": API_VERSION, "kind": "FlowRun", "name": o["metadata"]["name"], "uid": o["metadata"]["uid"]}
            for o in owners
        ]

    await a_pod(client, namespace, "one", ownerReferences=by(owner))
    await a_pod(client, namespace, "two", ownerReferences=by(owner, other))
    await client.delete(runs(namespace, "owner"))
    await gone(client, pods(namespace, "one"))
    assert await client.get(pods(namespace, "two"))


async def lists_are_picked_and_paged(client: KubeClient, namespace: str) -> None:
    """By labels and fields, in the order of names; pages are of one instant."""
    for name in ("a", "b", "c", "d", "e"):
        await a_run(client, namespace, name, labels={"team": name if name < "d" else "late", "x": "1"})
    done = [{"op": "add", "path": "/status", "value": {"phase": "Succeeded"}}]
    await client.patch(runs(namespace, "b", "status"), done, content_type=JSON_PATCH)

    async def named(**params: str) -> str:
        return "".join(item["metadata"]["name"] for item in await client.list(runs(namespace), params))

    assert await named() == "abcde"
    assert await named(labelSelector="team=late") == "de"
    assert await named(labelSelector="team!=late,x") == "abc"
    assert await named(labelSelector="team in (a,b)") == "ab"
    assert await named(labelSelector="team notin (a,b),!y") == "cde"
    assert await named(fieldSelector=UNFINISHED) == "acde"
    assert await named(fieldSelector="status.phase=Succeeded") == "b"
    assert await named(fieldSelector="metadata.name=c") == "c"
    pages = client.pages(runs(namespace), {"fieldSelector": UNFINISHED}, page_size=2)
    first = await anext(pages)
    assert first["kind"] == "FlowRunList"
    await client.delete(runs(namespace, "d"))
    second = await anext(pages)
    assert [item["metadata"]["name"] for item in second["items"]] == ["d", "e"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    with pytest.raises(Invalid):
        await named(fieldSelector="spec.priority=1")


async def a_watch_tells_each_change(client: KubeClient, namespace: str) -> None:
    """From the version on that it names, in their order, with the version of each."""
    await a_run(client, namespace, "before")
    since = (await client.get(runs(namespace)))["metadata"]["resourceVersion"]
    await a_run(client, namespace)
    await client.patch(runs(namespace, "r"), {"spec": {"cancel": True}})
    await client.delete(runs(namespace, "r"))
    events = await told(client, runs(namespace), 3, resourceVersion=since)
    assert kinds_of(events) == [("ADDED", "r"), ("MODIFIED", "r"), ("DELETED", "r")]
    versions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
    assert int(since) < versions[0] < versions[1] < versions[2]
    assert events[0]["object"]["kind"] == "FlowRun"


async def leaving_the_selector_is_a_deletion(client: KubeClient, namespace: str) -> None:
    """To the watch; the object is shown as it was when it was still picked. Coming back is an addition."""
    await a_run(client, namespace)
    since = (await client.get(runs(namespace)))["metadata"]["resourceVersion"]
    for phase in ("Running", "Succeeded", "Retrying"):
        operations = [{"op": "add", "path": "/status", "value": {"phase": phase}}]
        await client.patch(runs(namespace, "r", "status"), operations, content_type=JSON_PATCH)
    events = await told(client, runs(namespace), 3, resourceVersion=since, fieldSelector=UNFINISHED)
    assert kinds_of(events) == [("MODIFIED", "r"), ("DELETED", "r"), ("ADDED", "r")]
    assert events[1]["object"]["status"]["phase"] == "Running"
    assert int(events[1]["object"]["metadata"]["resourceVersion"]) > int(
        events[0]["object"]["metadata"]["resourceVersion"]
    )


BEHAVIOURS: tuple[Behaviour, ...] = (
    creating_gives_an_identity,
    a_name_is_taken_once,
    what_is_not_served_is_not_said_to_be_gone,
    defaults_are_filled_in,
    a_status_is_written_apart,
    what_changes_nothing_is_no_change,
    a_test_that_fails_is_invalid,
    a_merge_patch_may_rest_on_a_version,
    a_replacement_rests_on_a_version,
    a_deletion_may_name_what_it_means,
    notes_of_who_wrote_what_go_when_they_are_emptied,
    a_finalizer_keeps_what_is_deleted,
    what_an_owner_leaves_goes,
    lists_are_picked_and_paged,
    a_watch_tells_each_change,
    leaving_the_selector_is_a_deletion,
)

"""Slots that code in pods takes by itself: what the API server lets a pod do, and what its processes live through."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from headrace import slots
from headrace.devcluster.plane import Plane
from headrace.devcluster.policies import install_policies, policy_paths, slot_policies
from headrace.errors import LimitUnusable, TimedOut
from headrace.instants import microseconds
from headrace.kubeapi.client import JSON_PATCH, KubeClient
from headrace.limits.cluster import ClusterLimits, Place
from headrace.limits.demand import Demand
from headrace.limits.ways import ON_LOOP
from headrace.podapi import PodApi, PodApiError
from tests.cluster.support.audit import whole_lines
from tests.cluster.support.waiting import eventually

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class FlowPod:
    """A pod that exists in the API only, and what a process in it would find."""

    name: str
    uid: str
    api: PodApi
    environment: dict[str, str]

    def holder(self, token: str = "t") -> str:
        return f"pod/{self.environment['HEADRACE_NAMESPACE']}/{self.name}/{self.uid}/{token}"

    def limits(self) -> ClusterLimits:
        env = self.environment
        return ClusterLimits(
            self.api, Place(env["HEADRACE_SLOTS_NAMESPACE"], env["HEADRACE_NAMESPACE"], self.name, self.uid)
        )

    def start(self, code: str) -> subprocess.Popen[str]:
        """A process of the pod that runs this code; its output is a pipe."""
        return subprocess.Popen(
            [sys.executable, "-u", "-c", textwrap.dedent(code)], env=self.environment, stdout=subprocess.PIPE, text=True
        )


class World:
    """One namespace for slots and pods, with the policies in force."""

    def __init__(self, client: KubeClient, plane: Plane, namespace: str, directory: Path) -> None:
        self.client, self.plane, self.namespace, self.directory = client, plane, namespace, directory
        self.leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self.pods = f"/api/v1/namespaces/{namespace}/pods"

    async def limit(self, name: str, count: int, duration_s: int = 60) -> None:
        """What the operator makes of a ConcurrencyLimit."""
        for index in range(count):
            await self.lease(slots.slot_name(name, index), name, {slots.DURATION_ANNOTATION: str(duration_s)})

    async def rate(self, name: str, rate: slots.Rate, starts: str = "") -> None:
        """The same for its rate."""
        notes = {slots.RATE_ANNOTATION: str(rate)} | ({slots.STARTS_ANNOTATION: starts} if starts else {})
        await self.lease(slots.rate_name(name), name, notes)

    async def lease(self, name: str, limit: str = "", annotations: dict[str, str] | None = None) -> None:
        labels = {slots.LIMIT_LABEL: limit} if limit else {}
        metadata = {"name": name, "labels": labels, "annotations": annotations or {}}
        await self.client.create(self.leases, {"metadata": metadata, "spec": {}})

    async def get(self, name: str) -> dict[str, Any]:
        return await self.client.get(f"{self.leases}/{name}")

    async def holder(self, name: str) -> str:
        return slots.holder_of(await self.get(name))

    async def free(self, name: str) -> None:
        """What the operator does with a slot whose time is over."""
        lease = await self.get(name)
        patch = slots.giving_back(slots.holder_of(lease), slots.transitions_of(lease))
        await self.client.patch(f"{self.leases}/{name}", patch, content_type=JSON_PATCH)

    async def pod(self, name: str) -> FlowPod:
        """A new pod that no node takes, with a token that is bound to it."""
        spec = {"nodeSelector": {"nowhere": "yes"}, "containers": [{"name": "flow", "image": "none"}]}
        made = await self.client.create(self.pods, {"metadata": {"name": name}, "spec": spec})
        uid = made["metadata"]["uid"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}
        token = await self.client.create(
            f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default/token",
            {"spec": {"boundObjectRef": bound, "expirationSeconds": 3600}},
        )
        folder = self.directory / name
        folder.mkdir()
        (folder / "token").write_text(token["status"]["token"])
        (folder / "ca.crt").write_bytes((self.plane.directory / "pki" / "ca.crt").read_bytes())
        url = urlsplit(self.plane.server)
        environment = {
            "PATH": os.environ["PATH"],
            "KUBERNETES_SERVICE_HOST": url.hostname or "",
            "KUBERNETES_SERVICE_PORT": str(url.port),
            "HEADRACE_API_DIR": str(folder),
            "HEADRACE_SLOTS_NAMESPACE": self.namespace,
            "HEADRACE_NAMESPACE": self.namespace,
            "HEADRACE_POD_NAME": name,
            "HEADRACE_POD_UID": uid,
        }
        return FlowPod(name, uid, PodApi.from_environment(environment), environment)


@pytest.fixture
async def world(client: KubeClient, control_plane: Plane, namespace: str, tmp_path: Path) -> AsyncIterator[World]:
    made = World(client, control_plane, namespace, tmp_path)
    await install_policies(client, namespace)
    await made.lease("probe")
    pod = await made.pod("probe")
    await eventually(lambda: denial(pod.api, f"{made.leases}/probe", {"spec": {"holderIdentity": "x"}}))
    await client.delete(f"{made.leases}/probe")
    yield made
    for path in policy_paths(namespace):
        await client.delete(path)


def denial(api: PodApi, path: str, patch: Any) -> str:
    """What the API server says against it; "" if nothing."""
    try:
        api.patch(path, patch)
    except PodApiError as error:
        return error.message
    return ""


def test_the_chart_has_the_policies_of_the_local_cluster():
    """The same rules, in the namespace of the release and for whom its values say; its conditions are on lines of their own."""
    chart = Path(__file__).parents[2] / "charts" / "headrace"
    lines = (chart / "templates" / "slots.yaml").read_text().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("{{-"))
    subjects = yaml.safe_load((chart / "values.yaml").read_text())["slots"]["subjects"]
    shown = text.replace("{{ .Release.Namespace }}", "somewhere")
    shown = re.sub(r"  labels:\n    {{- include .+}}\n", "", shown)
    shown = shown.replace("{{- toYaml .Values.slots.subjects | nindent 2 }}", json.dumps(subjects))
    assert list(yaml.safe_load_all(shown)) == slot_policies("somewhere")


Attempt = Callable[[FlowPod, FlowPod, dict[str, Any]], Any]


def taking(holder: str, lease: dict[str, Any], **spec: Any) -> dict[str, Any]:
    patch = slots.taking(lease, holder, NOW, duration_s=60)
    return {**patch, "spec": {**patch["spec"], **spec}}


FREE: dict[str, tuple[Attempt, str]] = {
    "in another pod's name": (lambda me, other, lease: taking(other.holder(), lease), "a pod takes slots for itself"),
    "in a run's name": (lambda me, other, lease: taking("run/a/b/c", lease), "a pod takes slots for itself"),
    "in a name that begins like its own": (
        lambda me, other, lease: taking(me.holder().removesuffix("/t") + "0/t", lease),
        "a pod takes slots for itself",
    ),
    "without raising the transitions": (
        lambda me, other, lease: taking(me.holder(), lease, leaseTransitions=0),
        "must rise by 1",
    ),
    "with transitions that jump": (
        lambda me, other, lease: taking(me.holder(), lease, leaseTransitions=7),
        "must rise by 1",
    ),
    "for ever": (lambda me, other, lease: taking(me.holder(), lease, leaseDurationSeconds=None), "must be 60"),
    "for longer than the limit says": (
        lambda me, other, lease: taking(me.holder(), lease, leaseDurationSeconds=3600),
        "must be 60",
    ),
    "and changes its labels": (
        lambda me, other, lease: {**taking(me.holder(), lease), "metadata": {"labels": {"a": "b"}}},
        "metadata: pods may not change labels",
    ),
    "and leaves its limit": (
        lambda me, other, lease: {"metadata": {"labels": {slots.LIMIT_LABEL: None}}},
        "metadata: pods may not change labels",
    ),
    "and keeps it from deletion": (
        lambda me, other, lease: {**taking(me.holder(), lease), "metadata": {"finalizers": ["a.example/b"]}},
        "metadata: pods may not change labels",
    ),
    "and changes how long it lasts": (
        lambda me, other, lease: {
            **taking(me.holder(), lease),
            "metadata": {"annotations": {slots.DURATION_ANNOTATION: "9"}},
        },
        "metadata.annotations: pods may change nothing",
    ),
    "only to change its transitions": (lambda me, other, lease: {"spec": {"leaseTransitions": 9}}, "takes slots"),
}


async def test_a_pod_takes_a_free_slot_for_itself_alone_and_as_the_limit_says(world):
    """Each other way is refused, with the reason."""
    await world.limit("db", 1)
    me, other = await world.pod("one"), await world.pod("two")
    path = f"{world.leases}/db.slot-0"
    lease = await world.get("db.slot-0")
    wrong = {
        name: said
        for name, (attempt, expected) in FREE.items()
        if expected not in (said := denial(me.api, path, attempt(me, other, lease)))
    }
    assert wrong == {}
    assert denial(me.api, path, taking(me.holder(), lease)) == ""
    assert await world.holder("db.slot-0") == me.holder()


HELD: dict[str, tuple[Attempt, str]] = {
    "take over": (lambda me, other, lease: taking(other.holder(), lease), "is held by"),
    "renew": (lambda me, other, lease: slots.renewing(me.holder(), 1, NOW), "is held by"),
    "free": (lambda me, other, lease: slots.giving_back(me.holder(), 1), "is held by"),
    "touch": (lambda me, other, lease: {"spec": {"renewTime": microseconds(NOW)}}, "is held by"),
    "label": (lambda me, other, lease: {"metadata": {"labels": {"a": "b"}}}, "pods may not change labels"),
}


async def test_a_pod_does_nothing_to_a_slot_that_another_holds(world):
    """It can neither be taken, renewed nor freed."""
    await world.limit("db", 1)
    me, other = await world.pod("one"), await world.pod("two")
    path = f"{world.leases}/db.slot-0"
    me.api.patch(path, taking(me.holder(), await world.get("db.slot-0")))
    lease = await world.get("db.slot-0")
    wrong = {
        name: said
        for name, (attempt, expected) in HELD.items()
        if expected not in (said := denial(other.api, path, attempt(me, other, lease)))
    }
    assert wrong == {}
    assert (await world.get("db.slot-0"))["metadata"]["resourceVersion"] == lease["metadata"]["resourceVersion"]


async def test_a_slot_that_is_closed_is_kept_but_not_taken(world):
    """Its limit is being made smaller: its holder renews it and gives it back, and nobody takes it again."""
    await world.limit("db", 1)
    me = await world.pod("one")
    path = f"{world.leases}/db.slot-0"
    me.api.patch(path, taking(me.holder(), await world.get("db.slot-0")))
    await world.client.patch(path, {"metadata": {"annotations": {slots.CLOSED_ANNOTATION: "true"}}})

    assert denial(me.api, path, slots.renewing(me.holder(), 1, NOW)) == ""
    assert denial(me.api, path, slots.giving_back(me.holder(), 1)) == ""
    assert "is closed" in denial(me.api, path, taking(me.holder(), await world.get("db.slot-0")))
    assert await world.holder("db.slot-0") == ""


async def test_a_pod_does_not_rewrite_what_it_holds(world):
    """Another token, other transitions and another time of taking are refused; renewing and giving back are not."""
    await world.limit("db", 1)
    me = await world.pod("one")
    path = f"{world.leases}/db.slot-0"
    me.api.patch(path, taking(me.holder(), await world.get("db.slot-0")))
    assert "give the slot back" in denial(me.api, path, {"spec": {"holderIdentity": me.holder("u")}})
    assert "must rise by 1" in denial(me.api, path, {"spec": {"leaseTransitions": 2}})
    assert "stays as it is" in denial(me.api, path, {"spec": {"acquireTime": microseconds(datetime.now(UTC))}})
    assert "must be 60" in denial(me.api, path, {"spec": {"leaseDurationSeconds": 61}})
    assert "must rise by 1" in denial(
        me.api, path, [*slots.giving_back(me.holder(), 1)[:-1], {"op": "remove", "path": "/spec"}]
    )
    assert denial(me.api, path, slots.renewing(me.holder(), 1, NOW)) == ""
    assert denial(me.api, path, slots.giving_back(me.holder(), 1)) == ""
    assert await world.holder("db.slot-0") == ""


async def test_a_pod_neither_makes_nor_removes_leases_nor_writes_others(world):
    """The operator's own Lease is in the same namespace."""
    await world.limit("db", 1)
    await world.lease("headrace-operator")
    me = await world.pod("one")
    for method, path, body in (
        ("POST", world.leases, {"metadata": {"name": "mine"}, "spec": {}}),
        ("DELETE", f"{world.leases}/db.slot-0", None),
        ("PUT", f"{world.leases}/db.slot-0", await world.get("db.slot-0")),
    ):
        with pytest.raises(PodApiError) as refused:
            me.api.request(method, path, body=body)
        assert refused.value.status == 403
    wanted = {"spec": {"holderIdentity": me.holder()}}
    assert "is no slot" in denial(me.api, f"{world.leases}/headrace-operator", wanted)
    adopted = {"metadata": {"labels": {slots.LIMIT_LABEL: "headrace-operator"}}}
    assert "is no slot" in denial(me.api, f"{world.leases}/headrace-operator", adopted)


async def test_a_token_that_is_bound_to_no_pod_takes_nothing(world):
    """Nobody can say who would hold it."""
    await world.limit("db", 1)
    me = await world.pod("one")
    token = await world.client.create(
        f"/api/v1/namespaces/{world.namespace}/serviceaccounts/default/token", {"spec": {"expirationSeconds": 3600}}
    )
    (me.api.directory / "token").write_text(token["status"]["token"])
    lease = await world.get("db.slot-0")
    assert "only pods may write here" in denial(me.api, f"{world.leases}/db.slot-0", taking(me.holder(), lease))


async def test_a_pod_adds_starts_to_a_rate_and_forgets_only_old_ones(world):
    """It can neither make room by dropping starts, nor start more often than the rate says."""
    await world.rate("api", slots.Rate(3, 10), "1000,2000,9000")
    me = await world.pod("one")
    path = f"{world.leases}/api.rate"

    def said(starts: str | None, **more: Any) -> str:
        return denial(me.api, path, {"metadata": {"annotations": {slots.STARTS_ANNOTATION: starts}}, **more})

    assert "more starts" in said("1000,2000,9000,10000")
    assert "keep the starts" in said("2000,9000,10000")
    assert "keep the starts" in said("9000,11000")
    assert "keep the starts" in said("2000,9000,8000")
    assert "keep the starts" in said("1000,2000,9000")
    assert "must be milliseconds" in said("2000,9000,soon")
    assert "must be milliseconds" in said(None)
    assert "has no holder" in said("2000,9000,11500", spec={"holderIdentity": me.holder()})
    notes = {slots.STARTS_ANNOTATION: "2000,9000,11500", slots.RATE_ANNOTATION: "9/1"}
    assert "metadata.annotations" in denial(me.api, path, {"metadata": {"annotations": notes}})
    assert said("2000,9000,11500") == ""
    assert said("60000,60000") == ""


async def test_a_rate_may_note_as_many_starts_as_a_limit_takes(world):
    """The rules stay within what the API server spends on them."""
    starts = [str(1_767_225_600_000 + number) for number in range(999)]
    await world.rate("api", slots.Rate(1000, 86400), ",".join(starts))
    me = await world.pod("one")
    added = {"metadata": {"annotations": {slots.STARTS_ANNOTATION: ",".join([*starts, "1767225700000"])}}}
    assert denial(me.api, f"{world.leases}/api.rate", added) == ""


async def test_slots_are_taken_together_and_given_back(world):
    """A block over two limits waits for both, by watching, and holds neither meanwhile."""
    await world.limit("a", 1)
    await world.limit("b", 2)
    one, two = (await world.pod("one")).limits(), (await world.pod("two")).limits()
    first = await one.acquire(Demand((("b", 1),)), None, ON_LOOP)
    with pytest.raises(TimedOut):
        await two.acquire(Demand((("a", 1), ("b", 2))), 0.5, ON_LOOP)
    assert await world.holder("a.slot-0") == ""
    waiting = asyncio.create_task(two.acquire(Demand((("a", 1), ("b", 2))), 20, ON_LOOP))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await one.release(first, ON_LOOP)
    second = await waiting
    assert sorted(second.tokens) == ["a.slot-0", "b.slot-0", "b.slot-1"]
    assert sum(second.tokens.values()) == 4
    await two.release(second, ON_LOOP)
    assert [await world.holder(name) for name in ("a.slot-0", "b.slot-0", "b.slot-1")] == ["", "", ""]


async def test_a_limit_that_cannot_be_used_says_why(world):
    """It is not there, it is too small, it has a rate only; a limit of 0 slots is waited for."""
    pod = await world.pod("one")
    limits = pod.limits()
    with pytest.raises(LimitUnusable, match="there is no such ConcurrencyLimit; kubectl apply"):
        await limits.acquire(Demand((("nope", 1),)), 5, ON_LOOP)
    with pytest.raises(LimitUnusable, match="there is no such ConcurrencyLimit"):
        await limits.start("nope", 1, 5, ON_LOOP)
    suffix = world.namespace
    specs = {"small": {"slots": 1}, "paused": {"slots": 0}, "rated": {"rate": {"count": 1, "perSeconds": 60}}}
    names = {name: f"{name}-{suffix}" for name in specs}
    collection = "/apis/headrace.dev/v1alpha1/concurrencylimits"
    for name, spec in specs.items():
        body = {"apiVersion": "headrace.dev/v1alpha1", "kind": "ConcurrencyLimit"}
        await world.client.create(collection, {**body, "metadata": {"name": names[name]}, "spec": spec})
    try:
        await world.limit(names["small"], 1)
        with pytest.raises(LimitUnusable, match="2 slots are asked for and there are 1"):
            await limits.acquire(Demand(((names["small"], 2),)), 5, ON_LOOP)
        with pytest.raises(LimitUnusable, match="has a rate and no slots"):
            await limits.acquire(Demand(((names["rated"], 1),)), 5, ON_LOOP)
        with pytest.raises(LimitUnusable, match="has slots and no rate"):
            await limits.start(names["small"], 1, 5, ON_LOOP)
        with pytest.raises(TimedOut):
            await limits.acquire(Demand(((names["paused"], 1),)), 0.2, ON_LOOP)
    finally:
        for name in names.values():
            await world.client.delete(f"{collection}/{name}")


async def test_a_rate_is_kept_by_two_pods(world):
    """Five starts of two pods at two in a second: the noted times keep to it."""
    await world.rate("api", slots.Rate(2, 1))
    pods = [(await world.pod(name)).limits() for name in ("one", "two")]
    times: list[int] = []
    for number in range(5):
        await pods[number % 2].start("api", 1, 20, ON_LOOP)
        times.append(slots.starts_of(await world.get("api.rate"))[-1])
    assert all(later - earlier >= 1000 for earlier, later in zip(times, times[2:], strict=False))


HOLD = """
    import time
    from headrace import concurrency
    with concurrency("db") as held:
        print("held", held.token)
        time.sleep(60)
"""


async def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout
    return (await asyncio.wait_for(asyncio.to_thread(process.stdout.readline), 30)).strip()


@pytest.fixture
async def processes() -> AsyncIterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def test_a_killed_process_keeps_its_slot_until_somebody_frees_it(world, processes):
    """Nobody else takes it; the one who waits gets it once the operator's part is done."""
    await world.limit("db", 1)
    one, two = await world.pod("one"), await world.pod("two")
    processes.append(one.start(HOLD))
    assert await read_line(processes[0]) == "held 1"
    processes[0].kill()
    processes[0].wait()
    processes.append(two.start(HOLD))
    line = asyncio.create_task(read_line(processes[1]))
    await asyncio.sleep(1)
    assert not line.done()
    assert (await world.holder("db.slot-0")).startswith(one.holder("").rstrip("/"))
    await world.free("db.slot-0")
    assert await line == "held 2"


async def test_a_holder_renews_and_gives_back_at_the_end_of_its_block(world, processes):
    """Also when the block raises, and for longer than its lease lasts."""
    await world.limit("db", 1, duration_s=1)
    one = await world.pod("one")
    code = """
        import time
        from headrace import concurrency
        try:
            with concurrency("db") as held:
                time.sleep(2.5)
                held.check()
                print("still held")
                raise KeyError
        except KeyError:
            print("raised")
    """
    processes.append(one.start(code))
    assert [await read_line(processes[0]), await read_line(processes[0])] == ["still held", "raised"]
    lease = await world.get("db.slot-0")
    assert (slots.holder_of(lease), slots.transitions_of(lease)) == ("", 1)


LOSERS = {
    "in the main thread": """
        import time
        from headrace import concurrency, ConcurrencyLost
        try:
            with concurrency("db") as held:
                print("held")
                time.sleep(60)
                print("went on")
        except ConcurrencyLost as error:
            print("lost", error)
    """,
    "in a thread": """
        import threading, time
        from headrace import concurrency, ConcurrencyLost
        def work():
            try:
                with concurrency("db") as held:
                    print("held")
                    for _ in range(600):
                        time.sleep(0.1)
                    print("went on")
            except ConcurrencyLost as error:
                print("lost", error)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """,
    "on an event loop": """
        import asyncio
        from headrace import concurrency, ConcurrencyLost
        async def work():
            try:
                async with concurrency("db") as held:
                    print("held")
                    await asyncio.sleep(60)
                    print("went on")
            except ConcurrencyLost as error:
                print("lost", error)
        asyncio.run(work())
    """,
}


@pytest.mark.parametrize("code", LOSERS.values(), ids=LOSERS)
async def test_a_process_that_was_stopped_past_its_lease_learns_that_it_lost_its_slot(world, processes, code):
    """It is broken off where it stands, and the next holder keeps the slot."""
    await world.limit("db", 1, duration_s=2)
    one, two = await world.pod("one"), await world.pod("two")
    processes.append(one.start(code))
    assert await read_line(processes[0]) == "held"
    processes[0].send_signal(signal.SIGSTOP)
    await asyncio.sleep(2.2)
    await world.free("db.slot-0")
    next_one = await two.limits().acquire(Demand((("db", 1),)), 10, ON_LOOP)
    processes[0].send_signal(signal.SIGCONT)
    line = await read_line(processes[0])
    assert line.startswith('lost limit "db": slot db.slot-0 is lost, as it was not renewed for 2 s')
    assert processes[0].wait() == 0
    assert slots.transitions_of(await world.get("db.slot-0")) == next_one.token == 2
    assert await world.holder("db.slot-0") == next_one.taken[0].holder


async def test_a_slot_that_was_taken_away_is_noticed_at_the_next_renewal(world, processes):
    """Long before its lease would be over."""
    await world.limit("db", 1, duration_s=6)
    one = await world.pod("one")
    processes.append(one.start(LOSERS["in the main thread"]))
    assert await read_line(processes[0]) == "held"
    await world.free("db.slot-0")
    assert "names another holder" in await read_line(processes[0])


LOOP = """
    from headrace import concurrency
    for number in range({loops}):
        with concurrency("db", slots={slots}):
            pass
    print("done")
"""


async def test_many_processes_never_hold_more_than_there_is(world, processes, audit_log):
    """Six processes, four blocks each, over three slots: replayed from the API server's own log."""
    await world.limit("db", 3)
    for number in range(6):
        pod = await world.pod(f"p{number}")
        processes.append(pod.start(LOOP.format(loops=4, slots=1 + number % 2)))
    assert await asyncio.gather(*map(read_line, processes)) == ["done"] * 6
    holders = {slots.slot_name("db", index): "" for index in range(3)}
    takings = dict.fromkeys(holders, 0)
    for event in writes(audit_log, world.namespace, holders):
        name, holder = event["objectRef"]["name"], slots.holder_of(event["responseObject"])
        before = holders[name]
        assert before == "" or holder in {"", before}, f"{name} went from {before} to {holder}"
        takings[name] += bool(holder and not before)
        assert slots.transitions_of(event["responseObject"]) == takings[name]
        holders[name] = holder
    assert set(holders.values()) == {""}
    assert sum(takings.values()) >= 3 * 4 + 3 * 4 * 2


def writes(audit_log: Path, namespace: str, names: Container[str]) -> list[dict[str, Any]]:
    """Patches of these Leases that took effect, in the order of their versions."""
    found = []
    for line in whole_lines(audit_log):
        event = json.loads(line)
        ref = event.get("objectRef") or {}
        if ref.get("resource") != "leases" or ref.get("namespace") != namespace or ref.get("name") not in names:
            continue
        if event["verb"] == "patch" and event["stage"] == "ResponseComplete" and event["responseStatus"]["code"] == 200:
            found.append(event)
    return sorted(found, key=lambda event: int(event["responseObject"]["metadata"]["resourceVersion"]))


async def test_code_in_a_real_pod_takes_a_slot_with_its_mounted_token(world, pods):
    """With what the kubelet mounts and the variables that the operator sets."""
    await world.limit("db", 1)
    fields = {
        "HEADRACE_POD_NAME": "metadata.name",
        "HEADRACE_POD_UID": "metadata.uid",
        "HEADRACE_NAMESPACE": "metadata.namespace",
    }
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]
    env.append({"name": "HEADRACE_SLOTS_NAMESPACE", "value": world.namespace})
    code = 'from headrace import concurrency\nwith concurrency("db") as held: print("held", held.tokens)'
    await pods.run("real", "python", "-c", code, container={"env": env})
    assert "held {'db.slot-0': 1}" in await pods.says("real")
    assert await world.holder("db.slot-0") == ""

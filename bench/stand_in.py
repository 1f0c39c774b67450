"""
A stand-in for an API server, a scheduler and a node, in a process of its own: `python -m bench.stand_in`.

It speaks HTTP as far as the operator asks, so that the operator's process can be measured with its real client and with objects of
the size that an API server sends (managedFields, defaulted specs), while nothing on the other side is slow. Pods are bound, run and
end one after the other. What it does not do: validation, selectors other than the operator's, history that ends. It proves nothing about behaviour.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter, defaultdict
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import orjson

from headrace.api.conditions import Phase

Object = dict[str, Any]
FINISHED: Final = frozenset(str(phase) for phase in Phase if phase.finished)
STEP_S: Final = 0.05
"""Between two changes of a pod."""
REPORT: Final = json.dumps(
    {
        "version": 1,
        "state": "Succeeded",
        "reason": "Completed",
        "message": "",
        "result": {"rows": 1200},
        "tasks": {"total": 3, "succeeded": 3, "failed": 0, "cached": 0, "retried": 0},
        "usage": {"cpuSeconds": 1.25, "maxMemoryBytes": 73400320},
    }
)
MANAGED: Final = [
    {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "v1",
        "time": "2026-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": {f"f:{part}": {f"f:{field}": {} for field in fields} for part in ("metadata", "spec", "status")},
    }
    for manager, fields in (
        ("headrace-operator", [f"field{number}" for number in range(16)]),
        ("kubelet", [f"state{number}" for number in range(12)]),
    )
]
"""About as much as a real pod carries."""
DEFAULTS: Final = {
    "dnsPolicy": "ClusterFirst",
    "schedulerName": "default-scheduler",
    "securityContext": {},
    "serviceAccount": "default",
    "serviceAccountName": "default",
    "terminationGracePeriodSeconds": 30,
    "priority": 0,
    "preemptionPolicy": "PreemptLowerPriority",
    "tolerations": [
        {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        for taint in ("not-ready", "unreachable")
    ],
}


def now() -> str:
    """The present second, as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Store:
    """Objects by collection, and who watches them."""

    def __init__(self) -> None:
        self.objects: defaultdict[str, dict[tuple[str, str], Object]] = defaultdict(dict)
        self.log: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self.watchers: defaultdict[str, list[asyncio.Transport]] = defaultdict(list)
        self.requests: Counter[str] = Counter()
        self._numbers = itertools.count(1000)
        self.version = 1000
        self.finished = 0
        self.born: dict[tuple[str, str], float] = {}
        """When each pod was created, on the loop's clock."""

    def put(self, plural: str, obj: Object, event: str) -> Object:
        """Store it under a new resource version, and tell who watches."""
        metadata = obj["metadata"]
        self.version = next(self._numbers)
        metadata["resourceVersion"] = str(self.version)
        key = (metadata.get("namespace") or "", metadata["name"])
        if event == "DELETED":
            self.objects[plural].pop(key, None)
        else:
            self.objects[plural][key] = obj
        if plural == "flowruns" and (obj.get("status") or {}).get("phase") in FINISHED:
            self.finished += 1
            event = "DELETED"  # the operator's watch selects unfinished ones
        self._tell(plural, event, obj)
        return obj

    def _tell(self, plural: str, event: str, obj: Object) -> None:
        line = orjson.dumps({"type": event, "object": obj}) + b"\n"
        self.log[plural].append((self.version, line))
        for watcher in self.watchers[plural]:
            watcher.write(_chunk(line))

    def create(self, plural: str, namespace: str, body: Object) -> Object | None:
        """The object as stored; None where the name is taken."""
        metadata = body.setdefault("metadata", {})
        if namespace:
            metadata["namespace"] = namespace
        if (namespace, metadata["name"]) in self.objects[plural]:
            return None
        metadata |= {"uid": f"uid-{plural}-{next(self._numbers)}", "creationTimestamp": now(), "generation": 1}
        metadata["managedFields"] = MANAGED
        if plural == "pods":
            body["spec"] = {**DEFAULTS, **body["spec"]}
            body["status"] = {"phase": "Pending", "qosClass": "Burstable"}
            self.born[namespace, metadata["name"]] = asyncio.get_running_loop().time()
            self._play((namespace, metadata["name"]))
        return self.put(plural, body, "ADDED")

    def _play(self, key: tuple[str, str]) -> None:
        loop = asyncio.get_running_loop()
        for number, step in enumerate((self._bind, self._run, self._end), start=1):
            loop.call_later(STEP_S * number, step, key)

    def _bind(self, key: tuple[str, str]) -> None:
        conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": now()}]
        self._change(key, {"conditions": conditions}, node="node-1")

    def _run(self, key: tuple[str, str]) -> None:
        ready = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
        conditions = [{"type": name, "status": "True", "lastTransitionTime": now()} for name in ready]
        state = {"running": {"startedAt": now()}}
        self._change(key, {"phase": "Running", "conditions": conditions, "containerStatuses": [_container(state)]})

    def _end(self, key: tuple[str, str]) -> None:
        ended = {"exitCode": 0, "reason": "Completed", "startedAt": now(), "finishedAt": now(), "message": REPORT}
        self._change(key, {"phase": "Succeeded", "containerStatuses": [_container({"terminated": ended})]})

    def _change(self, key: tuple[str, str], status: Object, node: str | None = None) -> None:
        pod = self.objects["pods"].get(key)
        if pod is not None:
            spec = {**pod["spec"], "nodeName": node} if node else pod["spec"]
            changed = {
                **pod,
                "spec": spec,
                "status": {**pod["status"], "startTime": now(), "podIP": "10.0.0.7", **status},
            }
            self.put("pods", {**changed, "metadata": dict(pod["metadata"])}, "MODIFIED")


def _container(state: Object) -> Object:
    return {
        "name": "flow",
        "image": "registry.example/etl:1",
        "imageID": "registry.example/etl@sha256:0123456789abcdef",
        "containerID": "containerd://0123456789abcdef",
        "ready": "running" in state,
        "started": "running" in state,
        "restartCount": 0,
        "lastState": {},
        "state": state,
    }


def patched(obj: Object, body: Any) -> Object | None:
    """A copy with the patch in it; None where a test of it fails, or its resource version is old."""
    new: Object = orjson.loads(orjson.dumps(obj))
    if isinstance(body, dict):
        return _merged(new, body)
    for operation in body:
        *parents, last = operation["path"].strip("/").split("/")
        at: Any = new
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        place: Any = int(last) if isinstance(at, list) else last
        is_version = operation["path"] == "/metadata/resourceVersion"
        if (operation["op"] == "test" or is_version) and _at(at, place) != operation["value"]:
            return None
        if operation["op"] == "remove":
            del at[place]
        elif operation["op"] in {"add", "replace"}:
            at[place] = operation["value"]
    return new


def _at(parent: Any, place: Any) -> Any:
    return parent.get(place) if isinstance(parent, dict) else parent[place] if place < len(parent) else None


def _merged(old: Object, change: Object) -> Object:
    for name, value in change.items():
        if value is None:
            old.pop(name, None)
        else:
            old[name] = _merged(old.get(name) or {}, value) if isinstance(value, dict) else value
    return old


class Api(asyncio.Protocol):
    """One connection."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rest = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _error: Exception | None) -> None:
        for watchers in self._store.watchers.values():
            if self._transport in watchers:
                watchers.remove(self._transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head = self._rest[:end].decode()
            size = next(
                (int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-length")), 0
            )
            if len(self._rest) < end + 4 + size:
                return
            body = self._rest[end + 4 : end + 4 + size]
            self._rest = self._rest[end + 4 + size :]
            method, target, _ = head.split("\r\n", 1)[0].split(" ")
            self._answer(method, target, orjson.loads(body) if body else None)

    def _answer(self, method: str, target: str, body: Any) -> None:
        url = urlsplit(target)
        query = parse_qs(url.query)
        plural, namespace, name, sub = _parts(url.path)
        if plural == "bench":
            self._send(200, steer(self._store, name, query))
        elif method == "GET" and "watch" in query:
            self._watch(plural, int(query["resourceVersion"][0]))
        elif method == "GET" and not name:
            self._list(plural, query)
        else:
            self._store.requests[f"{method.lower()} {plural}{' ' + sub if sub else ''}"] += 1
            self._send(*self._on_one(method, plural, (namespace, name), body))

    def _on_one(self, method: str, plural: str, key: tuple[str, str], body: Any) -> tuple[int, Object]:
        store = self._store
        if method == "POST":
            made = store.create(plural, key[0], body)
            return (409, _failure(409, "AlreadyExists")) if made is None else (201, made)
        found = store.objects[plural].get(key)
        if found is None:
            return 404, {**_failure(404, "NotFound"), "details": {"name": key[1]}}
        if method == "GET":
            return 200, found
        if method == "DELETE":
            return 200, store.put(plural, found, "DELETED")
        new = patched(found, body)
        if new is None:
            return 409, _failure(409, "Conflict")
        return 200, store.put(plural, new, "MODIFIED")

    def _list(self, plural: str, query: dict[str, list[str]]) -> None:
        wants_finished = "status.phase!=Running" in query.get("fieldSelector", [""])[0]
        items = [
            obj
            for obj in self._store.objects[plural].values()
            if plural != "flowruns" or ((obj.get("status") or {}).get("phase") in FINISHED) is wants_finished
        ]
        version = {"resourceVersion": str(self._store.version)}
        self._send(200, {"kind": "List", "apiVersion": "v1", "metadata": version, "items": items})

    def _watch(self, plural: str, version: int) -> None:
        self._transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for at, line in self._store.log[plural]:
            if at > version:
                self._transport.write(_chunk(line))
        self._store.watchers[plural].append(self._transport)

    def _send(self, status: int, answer: Object) -> None:
        body = orjson.dumps(answer)
        head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)


def _chunk(line: bytes) -> bytes:
    return f"{len(line):x}\r\n".encode() + line + b"\r\n"


def _failure(status: int, reason: str) -> Object:
    return {"kind": "Status", "reason": reason, "code": status, "message": reason}


def _parts(path: str) -> tuple[str, str, str, str]:
    """Plural, namespace, name and subresource of a path of the API; of `/bench/<what>`: ("bench", "", what, "")."""
    parts = path.strip("/").split("/")
    if parts[0] == "bench":
        return "bench", "", parts[1], ""
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    return (parts[0], namespace, *(*parts[1:3], "", "")[:2])  # type: ignore[return-value]


def steer(store: Store, what: str, query: dict[str, list[str]]) -> Object:
    """`runs?count=&prefix=&namespace=&deployment=` creates FlowRuns; `state` tells how far they are."""
    if what == "runs":
        given = {name: values[0] for name, values in query.items()}
        deployment = given.get("deployment")
        spec = {"deploymentRef": {"name": deployment}} if deployment else {"flowRef": {"name": "etl"}}
        for number in range(int(given["count"])):
            run = {
                "apiVersion": "headrace.dev/v1alpha1",
                "kind": "FlowRun",
                "metadata": {"name": f"{given['prefix']}-{number}"},
                "spec": {**spec, "parameters": {"day": "2026-01-01", "shard": number}},
            }
            store.create("flowruns", given["namespace"], run)
    return {
        "finished": store.finished,
        "held": sum(bool(pod["metadata"].get("finalizers")) for pod in store.objects["pods"].values()),
        "requests": store.requests,
    }


async def serve() -> None:
    """Answers until it is killed; its port is the first line of its output."""
    store = Store()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Api(store), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    print(port, flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())

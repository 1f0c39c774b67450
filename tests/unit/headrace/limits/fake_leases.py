"""The Leases of an API server, at the seam of PodApi: compare and swap, JSON patches, watches, and failures on demand."""

from __future__ import annotations

import copy
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jsonpatch

from headrace import slots
from headrace.podapi import PodApiError


def merged(target: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


class FakeLeases:
    """`before` and `after` see each patch: what they raise is the answer; `after` when it has taken effect."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.leases: dict[str, dict[str, Any]] = {}
        self.limits: dict[str, dict[str, Any]] = {}
        self.version = 0
        self.watches: list[queue.SimpleQueue[dict[str, Any] | None]] = []
        self.watched = threading.Event()
        self.requests: list[str] = []
        self.before: Callable[[str, Any], None] = lambda name, patch: None
        self.after: Callable[[str, Any], None] = lambda name, patch: None

    def limit(self, name: str, count: int, duration_s: int = 60) -> None:
        self.limits[name] = {"slots": count}
        for index in range(count):
            self.put(slots.slot_name(name, index), name, {slots.DURATION_ANNOTATION: str(duration_s)})

    def rate(self, name: str, rate: slots.Rate) -> None:
        self.limits[name] = {"rate": {"count": rate.count, "perSeconds": rate.per_s}}
        self.put(slots.rate_name(name), name, {slots.RATE_ANNOTATION: str(rate)})

    def put(self, name: str, limit: str, annotations: Mapping[str, str]) -> None:
        meta = {"name": name, "labels": {slots.LIMIT_LABEL: limit}, "annotations": dict(annotations)}
        self._store(name, {"metadata": meta, "spec": {}}, "ADDED")

    def take_away(self, name: str, holder: str = "") -> None:
        """As the operator does, and somebody else after it."""
        with self.lock:
            lease = copy.deepcopy(self.leases[name])
            lease["spec"] = {"leaseTransitions": slots.transitions_of(lease) + bool(holder), "holderIdentity": holder}
            self._store(name, lease, "MODIFIED")

    def delete(self, name: str) -> None:
        with self.lock:
            self._tell("DELETED", self._versioned(self.leases.pop(name)))

    def holders(self) -> dict[str, str]:
        return {name: slots.holder_of(lease) for name, lease in self.leases.items()}

    def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        self.requests.append(f"GET {path}")
        with self.lock:
            if path.endswith("/leases"):
                limit = (params or {})["labelSelector"].split("=")[1]
                found = [
                    each for each in self.leases.values() if each["metadata"]["labels"][slots.LIMIT_LABEL] == limit
                ]
                return {"metadata": {"resourceVersion": str(self.version)}, "items": copy.deepcopy(found)}
            name = path.rsplit("/", 1)[1]
            if "/concurrencylimits/" in path and name in self.limits:
                return {"spec": self.limits[name]}
            if "/leases/" in path and name in self.leases:
                return copy.deepcopy(self.leases[name])
        raise PodApiError(f"GET {path}", 404, "not found")

    def patch(self, path: str, body: Any, *, timeout_s: float = 0) -> dict[str, Any]:
        name = path.rsplit("/", 1)[1]
        self.requests.append(f"PATCH {name}")
        self.before(name, body)
        with self.lock:
            if name not in self.leases:
                raise PodApiError(f"PATCH {path}", 404, "not found")
            lease = self._patched(path, copy.deepcopy(self.leases[name]), body)
            answer = copy.deepcopy(self._store(name, lease, "MODIFIED"))
        self.after(name, body)
        return answer

    def watch(self, path: str, params: Mapping[str, str], *, timeout_s: int) -> Iterator[dict[str, Any]]:
        self.requests.append(f"WATCH {path}")
        events: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        with self.lock:
            for lease in self.leases.values():
                if int(lease["metadata"]["resourceVersion"]) > int(params["resourceVersion"]):
                    events.put({"type": "MODIFIED", "object": copy.deepcopy(lease)})
            self.watches.append(events)
        self.watched.set()
        while (event := events.get()) is not None:
            yield event

    def end_watches(self) -> None:
        with self.lock:
            for events in self.watches:
                events.put(None)
            self.watches.clear()

    def _patched(self, path: str, lease: dict[str, Any], body: Any) -> Any:
        if isinstance(body, list):
            try:
                return jsonpatch.apply_patch(lease, body)
            except (jsonpatch.JsonPatchTestFailed, jsonpatch.JsonPatchConflict) as error:
                raise PodApiError(f"PATCH {path}", 422, "the server rejected our request") from error
        expected = body["metadata"].get("resourceVersion")
        if expected not in {None, lease["metadata"]["resourceVersion"]}:
            raise PodApiError(f"PATCH {path}", 409, "the object has been modified")
        return merged(lease, body)

    def _store(self, name: str, lease: dict[str, Any], kind: str) -> dict[str, Any]:
        with self.lock:
            self.leases[name] = self._versioned(lease)
            self._tell(kind, self.leases[name])
            return self.leases[name]

    def _versioned(self, lease: dict[str, Any]) -> dict[str, Any]:
        self.version += 1
        lease["metadata"]["resourceVersion"] = str(self.version)
        return lease

    def _tell(self, kind: str, lease: dict[str, Any]) -> None:
        for events in self.watches:
            events.put({"type": kind, "object": copy.deepcopy(lease)})

"""
A Cluster in memory: stores what it is given and refuses what an API server refuses, with the same errors.

It knows names, uids, resource versions, finalizers and patches. It knows no schemas, no defaults and no controllers.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping
from typing import Any

import jsonpatch

from headrace.kubeapi.errors import AlreadyExists, ApiError, Conflict, Invalid, NotFound, Unreachable
from headrace_operator.kube.resources import Resource
from tests.builders import NOW, stamp

Key = tuple[str, str, str]
SERVED = ("status",)


class FakeCluster:
    """`requests` tells what was asked for: verb, plural, name. `fail_next` has a request refused."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str]] = []
        self._objects: dict[Key, dict[str, Any]] = {}
        self._version = 100
        self._failures: dict[tuple[str, str], list[ApiError]] = {}
        self._lost: list[str] = []

    def put(self, resource: Resource, obj: Mapping[str, Any]) -> dict[str, Any]:
        """Have an object exist as it is, with a uid and a version if it has none; what is stored."""
        stored = copy.deepcopy(dict(obj))
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"{resource.plural}-{metadata['name']}-{self._next_version()}")
        metadata.setdefault("generation", 1)
        metadata.setdefault("creationTimestamp", stamp(NOW))
        metadata.setdefault("resourceVersion", str(self._next_version()))
        self._objects[resource.plural, metadata.get("namespace") or "", metadata["name"]] = stored
        return copy.deepcopy(stored)

    def find(self, resource: Resource, namespace: str, name: str) -> dict[str, Any] | None:
        """The object, None if there is none; not counted as a request."""
        return copy.deepcopy(self._objects.get((resource.plural, namespace, name)))

    def all(self, resource: Resource) -> list[dict[str, Any]]:
        """Every object of a kind; not counted as a request."""
        return [copy.deepcopy(obj) for key, obj in self._objects.items() if key[0] == resource.plural]

    def fail_next(self, verb: str, resource: Resource, *errors: ApiError) -> None:
        """Have the next requests of this kind refused."""
        self._failures.setdefault((verb, resource.plural), []).extend(errors)

    def fails_no_more(self) -> None:
        """What is still to be refused is not."""
        self._failures.clear()

    def lose_next(self, resource: Resource) -> None:
        """Have the next creation of this kind take effect, and its answer lost."""
        self._lost.append(resource.plural)

    def asked(self, verb: str) -> list[str]:
        """Names that were asked for so, in order."""
        return [name for asked, _, name in self.requests if asked == verb]

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        await self._ask("get", resource, name)
        return copy.deepcopy(self._existing((resource.plural, namespace, name)))

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        await self._ask("list", resource, labels)
        wanted = dict(pair.split("=") for pair in labels.split(",") if pair)
        return [obj for obj in self.all(resource) if _is_picked(obj, namespace, wanted)]

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        await self._ask("create", resource, name)
        if (resource.plural, namespace, name) in self._objects:
            raise AlreadyExists(409, "AlreadyExists", f'{resource.plural} "{name}" already exists')
        stored = self.put(resource, {**body, "metadata": {**body["metadata"], "namespace": namespace}})
        if resource.plural in self._lost:
            self._lost.remove(resource.plural)
            raise Unreachable(0, "Unreachable", "connection reset")
        return stored

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        await self._ask("patch", resource, name)
        key = (resource.plural, namespace, name)
        old = self._existing(key)
        new = _patched(old, body)
        if new["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            raise Conflict(
                409, "Conflict", "the object has been modified; please apply your changes to the latest version"
            )
        if subresource in SERVED:
            new = {**old, subresource: new.get(subresource)}
        return self._store(key, old, new)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        await self._ask("delete", resource, name)
        key = (resource.plural, namespace, name)
        old = self._objects.get(key)
        if old is None:
            return
        if old["metadata"]["uid"] != uid:
            raise Conflict(409, "Conflict", f"the UID in the precondition ({uid}) does not match")
        if version is not None and old["metadata"]["resourceVersion"] != str(version):
            raise Conflict(409, "Conflict", f"the ResourceVersion in the precondition ({version}) does not match")
        asked = {**old["metadata"], "deletionTimestamp": old["metadata"].get("deletionTimestamp") or stamp(NOW)}
        self._store(key, old, {**old, "metadata": asked})

    def _store(self, key: Key, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
        """Stored under a new version if it differs; an object that is deleted goes with its last finalizer."""
        if new == old:
            return copy.deepcopy(old)
        generation = old["metadata"].get("generation", 1) + (new.get("spec") != old.get("spec"))
        new["metadata"] = {**new["metadata"], "generation": generation, "resourceVersion": str(self._next_version())}
        if new["metadata"].get("deletionTimestamp") and not new["metadata"].get("finalizers"):
            del self._objects[key]
        else:
            self._objects[key] = new
        return copy.deepcopy(new)

    async def _ask(self, verb: str, resource: Resource, name: str) -> None:
        await asyncio.sleep(0)  # others get their turn, as while a real request is under way
        self.requests.append((verb, resource.plural, name))
        failures = self._failures.get((verb, resource.plural))
        if failures:
            raise failures.pop(0)

    def _existing(self, key: Key) -> dict[str, Any]:
        if key not in self._objects:
            raise NotFound(404, "NotFound", f'{key[0]} "{key[2]}" not found')
        return self._objects[key]

    def _next_version(self) -> int:
        self._version += 1
        return self._version


def _is_picked(obj: Mapping[str, Any], namespace: str, labels: Mapping[str, str]) -> bool:
    metadata = obj["metadata"]
    return metadata.get("namespace") == namespace and labels.items() <= (metadata.get("labels") or {}).items()


def _patched(obj: Mapping[str, Any], body: Any) -> dict[str, Any]:
    if isinstance(body, Mapping):
        merged: dict[str, Any] = _merged(obj, body)
        return merged
    try:
        patched: dict[str, Any] = jsonpatch.apply_patch(dict(obj), body)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise Invalid(
            422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
        ) from None
    return patched


def _merged(old: Any, change: Any) -> Any:
    """RFC 7396."""
    if not isinstance(change, Mapping):
        return change
    base = dict(old) if isinstance(old, Mapping) else {}
    for name, value in change.items():
        if value is None:
            base.pop(name, None)
        else:
            base[name] = _merged(base.get(name), value)
    return base


def names(objects: list[dict[str, Any]]) -> Iterator[str]:
    """Their names."""
    return (obj["metadata"]["name"] for obj in objects)

"""
Objects as an API server stores them: uids, versions, finalizers, generations, watches, and what owners leave behind.

Everything that is stored is bytes and a dict that nobody else holds; each change makes a new one, so that what a watch
or a list has taken out stays what it was.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import orjson

from headrace.kubeapi.errors import AlreadyExists, Conflict, Gone, Invalid, NotFound
from tests.simulated.kinds import Kind, defaulted
from tests.simulated.selectors import Picks
from tests.simulated.watching import Watch

Key = tuple[str, str]
"""Namespace, "" for none, and name."""
COLLECTED_AFTER_S = 0.02
GRACE_S = 30
GARBAGE_COLLECTOR = "garbage-collector"
FINAL = frozenset({"Succeeded", "Failed"})


class Stored(NamedTuple):
    """One object at one version."""

    obj: dict[str, Any]
    data: bytes
    version: int

    @property
    def uid(self) -> str:
        """Its uid."""
        return str(self.obj["metadata"]["uid"])


class Change(NamedTuple):
    """One write that took effect. A creation has no `before`, a removal no `after`."""

    version: int
    kind: Kind
    key: Key
    before: Stored | None
    after: Stored | None
    agent: str


@dataclass
class History:
    """The latest changes of one kind, for watches that begin in the past."""

    changes: deque[Change] = field(default_factory=deque)
    forgotten: int = 0
    """The version of the last change that is not known any more."""

    def note(self, change: Change, length: int) -> None:
        """Keeps it, and at most so many."""
        self.changes.append(change)
        while len(self.changes) > length:
            self.forgotten = self.changes.popleft().version

    def since(self, version: int) -> Iterator[Change]:
        """Those after this version. Raises: Gone."""
        if version < self.forgotten:
            raise Gone(410, "Expired", f"too old resource version: {version} ({self.forgotten})")
        return (change for change in self.changes if change.version > version)


class Store:
    """
    One cluster.

    Args:
        clock: The API server's time of day.
        window: How many changes of a kind a watch may be behind.
    """

    def __init__(self, clock: Callable[[], datetime], *, window: int = 20_000) -> None:
        self.clock = clock
        self.window = window
        self.version = 1
        self.observers: list[Callable[[Change], None]] = []
        self._objects: dict[Kind, dict[Key, Stored]] = defaultdict(dict)
        self._watches: dict[Kind, list[Watch]] = defaultdict(list)
        self._history: dict[Kind, History] = defaultdict(History)
        self._uids: set[str] = set()
        self._owned: dict[str, set[tuple[Kind, Key]]] = defaultdict(set)

    # What is there

    def find(self, kind: Kind, key: Key) -> Stored | None:
        """The object, None if there is none."""
        return self._objects[kind].get(key)

    def get(self, kind: Kind, key: Key) -> Stored:
        """The object. Raises: NotFound."""
        found = self._objects[kind].get(key)
        if found is None:
            raise NotFound(404, "NotFound", f'{kind.plural} "{key[1]}" not found')
        return found

    def all(self, kind: Kind) -> Mapping[Key, Stored]:
        """Every object of a kind."""
        return self._objects[kind]

    def pick(self, kind: Kind, namespace: str, picks: Picks | None) -> list[Stored]:
        """Those of one namespace (all for ""), in the order of their names."""
        held = self._objects[kind]
        keys = sorted(held if not namespace else (key for key in held if key[0] == namespace))
        return [held[key] for key in keys if picks is None or picks(held[key].obj)]

    def watch(self, kind: Kind, namespace: str, picks: Picks | None, since: int | None) -> Watch:
        """What changes from a version on; None: all that is there, then what changes. Raises: Gone."""
        watch = Watch(kind, namespace, picks)
        if since is None:
            for stored in self.pick(kind, namespace, picks):
                watch.tell("ADDED", stored.data)
        else:
            for change in self._history[kind].since(since):
                watch.take(change)
        self._watches[kind].append(watch)
        return watch

    def unwatch(self, watch: Watch) -> None:
        """Ends a watch; one that has ended is left alone."""
        watches = self._watches[watch.kind]
        if watch in watches:
            watches.remove(watch)
        watch.close()

    def watches(self) -> list[Watch]:
        """All that are open."""
        return [watch for watches in self._watches.values() for watch in watches]

    def forget_history(self) -> None:
        """No watch can begin in the past any more."""
        for history in self._history.values():
            if history.changes:
                history.forgotten = history.changes[-1].version
                history.changes.clear()

    # What changes

    def create(self, kind: Kind, namespace: str, body: dict[str, Any], *, agent: str) -> Stored:
        """The object as stored; `body` is the store's from now on. Raises: AlreadyExists, Invalid."""
        given = body.get("metadata") or {}
        name = given.get("name") or f"{given.get('generateName', '')}{self.version:05x}"
        key = (namespace, name)
        if key in self._objects[kind]:
            raise AlreadyExists(409, "AlreadyExists", f'{kind.plural} "{name}" already exists')
        if "resourceVersion" in given:
            raise Invalid(400, "BadRequest", "resourceVersion should not be set on objects to be created")
        self.version += 1
        metadata = {**given, "name": name, "uid": f"{self.version:08x}-0000-4000-8000-{self.version:012x}"}
        if namespace:
            metadata["namespace"] = namespace
        metadata["creationTimestamp"] = f"{self.clock():%Y-%m-%dT%H:%M:%SZ}"
        if kind.counts_generations:
            metadata["generation"] = 1
        obj = {**body, "apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        if kind.has_status:
            obj.pop("status", None)
        if kind.kind == "Pod":
            obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        stored = self._put(kind, key, None, defaulted(obj, kind.defaults), agent)
        self._uids.add(stored.uid)
        self._own(kind, key, stored)
        return stored

    def update(self, kind: Kind, before: Stored, new: dict[str, Any], *, subresource: str = "", agent: str) -> Stored:
        """
        The object as stored, after a write to it or to its status. One that is deleted goes with its last finalizer.

        Raises: Conflict: `new` rests on another version.
        """
        old = before.obj
        given = new["metadata"]
        if given.get("resourceVersion", str(before.version)) != str(before.version):
            message = "the object has been modified; please apply your changes to the latest version and try again"
            raise Conflict(
                409, "Conflict", f'Operation cannot be fulfilled on {kind.plural} "{given["name"]}": {message}'
            )
        if subresource:
            obj = (
                {**old, "status": new.get("status")}
                if "status" in new
                else {n: v for n, v in old.items() if n != "status"}
            )
        elif kind.has_status:
            obj = {name: value for name, value in new.items() if name != "status"}
            if "status" in old:
                obj["status"] = old["status"]
        else:
            obj = new
        obj["metadata"] = old["metadata"] if subresource else _kept(old["metadata"], given)
        obj = defaulted(obj, kind.defaults)
        if obj == old:
            return before
        if kind.counts_generations and not subresource and _spec(obj) != _spec(old):
            obj["metadata"] = {**obj["metadata"], "generation": old["metadata"]["generation"] + 1}
        return self._settle(kind, before, obj, agent)

    def delete(
        self,
        kind: Kind,
        key: Key,
        *,
        preconditions: Mapping[str, Any] | None = None,
        grace_s: int | None = None,
        agent: str,
    ) -> Stored | None:
        """The object if it stays for a while, None if it is gone. Raises: NotFound, Conflict."""
        stored = self.get(kind, key)
        self._check(kind, stored, preconditions or {})
        metadata = stored.obj["metadata"]
        grace = _grace_s(stored.obj, grace_s) if kind.kind == "Pod" else 0
        if not grace and not metadata.get("finalizers"):
            self._remove(kind, stored, agent)
            return None
        if "deletionTimestamp" in metadata and grace >= metadata.get("deletionGracePeriodSeconds", 0):
            return stored
        marked = {
            **metadata,
            "deletionTimestamp": f"{self.clock() + timedelta(seconds=grace):%Y-%m-%dT%H:%M:%SZ}",
            "deletionGracePeriodSeconds": grace,
        }
        if "generation" in metadata:
            marked["generation"] = metadata["generation"] + 1
        return self._put(kind, key, stored, {**stored.obj, "metadata": marked}, agent)

    def write(self, kind: Kind, key: Key, change: Callable[[dict[str, Any]], dict[str, Any]], *, agent: str) -> Stored:
        """What is written past every rule, as a kubelet or a scheduler may. Raises: NotFound."""
        before = self.get(kind, key)
        return self._settle(kind, before, change(before.obj), agent)

    def remove(self, kind: Kind, key: Key, *, agent: str) -> None:
        """Gone at once, whatever its finalizers say."""
        stored = self.find(kind, key)
        if stored is not None:
            self._remove(kind, stored, agent)

    def _check(self, kind: Kind, stored: Stored, preconditions: Mapping[str, Any]) -> None:
        for name, held in (("uid", stored.uid), ("resourceVersion", str(stored.version))):
            if preconditions.get(name, held) != held:
                text = (
                    f"the {name} in the precondition ({preconditions[name]}) does not match that of the object ({held})"
                )
                raise Conflict(409, "Conflict", f"Operation cannot be fulfilled on {kind.plural}: {text}")

    def _settle(self, kind: Kind, before: Stored, obj: dict[str, Any], agent: str) -> Stored:
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        is_over = not metadata.get("finalizers") and not metadata.get("deletionGracePeriodSeconds")
        if is_over and "deletionTimestamp" in metadata:
            version = self._remove(kind, before, agent)
            return _stored(obj, version)
        return self._put(kind, key, before, obj, agent)

    def _put(self, kind: Kind, key: Key, before: Stored | None, obj: dict[str, Any], agent: str) -> Stored:
        self.version += 1
        stored = _stored(obj, self.version)
        self._objects[kind][key] = stored
        self._tell(Change(self.version, kind, key, before, stored, agent))
        return stored

    def _remove(self, kind: Kind, stored: Stored, agent: str) -> int:
        metadata = stored.obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        self.version += 1
        del self._objects[kind][key]
        self._uids.discard(stored.uid)
        for owner in metadata.get("ownerReferences") or ():
            if owner["uid"] in self._owned:
                self._owned[owner["uid"]].discard((kind, key))
        self._tell(Change(self.version, kind, key, stored, None, agent))
        for owned in self._owned.pop(stored.uid, ()):
            self._collect_soon(*owned)
        return self.version

    def _tell(self, change: Change) -> None:
        self._history[change.kind].note(change, self.window)
        watches = self._watches[change.kind]
        for watch in watches:
            watch.take(change)
        if any(watch.is_closed for watch in watches):  # by who is dead, and reads no more
            watches[:] = [watch for watch in watches if not watch.is_closed]
        for observe in self.observers:
            observe(change)

    # What owners leave behind

    def _own(self, kind: Kind, key: Key, stored: Stored) -> None:
        owners = stored.obj["metadata"].get("ownerReferences") or ()
        for owner in owners:
            self._owned[owner["uid"]].add((kind, key))
        if owners and not any(owner["uid"] in self._uids for owner in owners):
            self._collect_soon(kind, key)

    def _collect_soon(self, kind: Kind, key: Key) -> None:
        asyncio.get_running_loop().call_later(COLLECTED_AFTER_S, self._collect, kind, key)

    def _collect(self, kind: Kind, key: Key) -> None:
        stored = self.find(kind, key)
        owners = stored.obj["metadata"].get("ownerReferences") if stored else None
        if owners and not any(owner["uid"] in self._uids for owner in owners):
            self.delete(kind, key, agent=GARBAGE_COLLECTOR)


def _stored(obj: dict[str, Any], version: int) -> Stored:
    obj["metadata"] = {**obj["metadata"], "resourceVersion": str(version)}
    return Stored(obj, orjson.dumps(obj), version)


def _kept(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with what nobody may change as it was."""
    kept = dict(new)
    for name in (
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ):
        if name in old:
            kept[name] = old[name]
        else:
            kept.pop(name, None)
    kept["resourceVersion"] = old["resourceVersion"]
    if kept.get("managedFields") == [{}]:  # notes of who wrote what: none are kept here
        del kept["managedFields"]
    return kept


def _spec(obj: Mapping[str, Any]) -> dict[str, Any]:
    """All that a generation counts."""
    return {name: value for name, value in obj.items() if name not in {"metadata", "status"}}


def _grace_s(pod: Mapping[str, Any], asked: int | None) -> int:
    """Seconds that a pod has to end: none where nothing of it runs."""
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in FINAL:
        return 0
    own = pod["spec"].get("terminationGracePeriodSeconds")
    return int(next(seconds for seconds in (asked, own, GRACE_S) if seconds is not None))

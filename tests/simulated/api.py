"""The API server's surface: methods, paths, parameters and bytes to the store, and bytes back."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from time import thread_time
from typing import Any

import orjson

from headrace.kubeapi.client import JSON, JSON_PATCH, MERGE_PATCH
from headrace.kubeapi.errors import ApiError, Conflict, Gone, Invalid, NotFound, NotServed
from tests.simulated.kinds import Kind, kinds
from tests.simulated.patching import merged, patched
from tests.simulated.selectors import Picks, field_selector, label_selector
from tests.simulated.store import Key, Store, Stored
from tests.simulated.watching import Watch

OPEN_LISTS = 64
"""Lists whose next page can still be asked for."""
SUCCESS = orjson.dumps({"kind": "Status", "apiVersion": "v1", "status": "Success"})

Params = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names; `name` is "" for a collection."""

    kind: Kind
    namespace: str
    name: str
    subresource: str

    @property
    def key(self) -> Key:
        """In the store."""
        return self.namespace, self.name


class Api:
    """
    The API of one store.

    Attributes:
        cpu_s: What answering took, watches' lines included.
        requests: How many were answered.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.cpu_s = 0.0
        self.requests = 0
        self._kinds = kinds()
        self._lists: OrderedDict[str, tuple[list[Stored], int]] = OrderedDict()

    def answer(
        self, method: str, path: str, params: Params, body: bytes | None, *, content_type: str = JSON, agent: str
    ) -> bytes:
        """The body of a successful answer. Raises: ApiError."""
        began_s = thread_time()
        self.requests += 1
        try:
            return self._answer(method, self.target(path), params, body, _Sender(content_type, agent))
        except ApiError as error:
            error.request = f"{method} {path}"
            raise
        finally:
            self.cpu_s += thread_time() - began_s

    def watch(self, path: str, params: Params) -> Watch:
        """An open watch of a collection. Raises: Gone, ApiError."""
        target = self.target(path)
        since = params.get("resourceVersion")
        return self.store.watch(
            target.kind, target.namespace, self._picks(target.kind, params), int(since) if since else None
        )

    def target(self, path: str) -> Target:
        """Raises: NotServed: no such collection is."""
        parts = path.split("/")[1:]
        version, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        namespace = ""
        if rest[0] == "namespaces" and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        kind = self._kinds.get((version, rest[0]))
        if kind is None:
            raise NotServed(404, "Unknown", "404 page not found")
        return Target(kind, namespace, rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else "")

    def _answer(self, method: str, target: Target, params: Params, body: bytes | None, sender: _Sender) -> bytes:
        if method == "GET":
            return self.store.get(target.kind, target.key).data if target.name else self._list(target, params)
        if method == "DELETE":
            return self._delete(target, orjson.loads(body or b"{}"), sender)
        change = orjson.loads(body or b"{}")
        if method == "POST":
            self._check_namespace(target)
            return self.store.create(target.kind, target.namespace, change, agent=sender.agent).data
        before = self.store.get(target.kind, target.key)
        if method == "PUT":
            self._check_replacement(target, before, change)
            new = change
        elif method == "PATCH":
            new = _after(before, change, sender.content_type)
        else:
            raise Invalid(405, "MethodNotAllowed", f"the server does not allow {method}")
        return self.store.update(target.kind, before, new, subresource=target.subresource, agent=sender.agent).data

    def _check_namespace(self, target: Target) -> None:
        if target.namespace and ("", target.namespace) not in self.store.all(self._kinds["v1", "namespaces"]):
            raise NotFound(404, "NotFound", f'namespaces "{target.namespace}" not found')

    def _check_replacement(self, target: Target, before: Stored, new: Mapping[str, Any]) -> None:
        metadata = new.get("metadata") or {}
        if metadata.get("uid", before.uid) != before.uid:
            raise Conflict(409, "Conflict", "Precondition failed: UID in precondition does not match")
        if target.kind.must_name_version and "resourceVersion" not in metadata:
            raise Invalid(422, "Invalid", "metadata.resourceVersion: Invalid value: 0: must be specified for an update")

    def _delete(self, target: Target, options: Mapping[str, Any], sender: _Sender) -> bytes:
        left = self.store.delete(
            target.kind,
            target.key,
            preconditions=options.get("preconditions"),
            grace_s=options.get("gracePeriodSeconds"),
            agent=sender.agent,
        )
        return SUCCESS if left is None else left.data

    def _list(self, target: Target, params: Params) -> bytes:
        token = params.get("continue")
        if token is None:
            found, version = (
                self.store.pick(target.kind, target.namespace, self._picks(target.kind, params)),
                self.store.version,
            )
        elif token in self._lists:
            found, version = self._lists.pop(token)
        else:
            raise Gone(
                410, "Expired", "The provided continue parameter is too old to display a consistent list result."
            )
        size = int(params.get("limit", "0")) or len(found)
        rest = found[size:]
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if rest:
            metadata |= {"continue": f"{version}-{self.requests}", "remainingItemCount": len(rest)}
            self._keep(metadata["continue"], rest, version)
        items = b",".join(stored.data for stored in found[:size])
        kind = target.kind
        head = orjson.dumps({"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": metadata})
        return head[:-1] + b',"items":[' + items + b"]}"

    def _keep(self, token: str, rest: list[Stored], version: int) -> None:
        self._lists[token] = (rest, version)
        if len(self._lists) > OPEN_LISTS:
            self._lists.popitem(last=False)

    def _picks(self, kind: Kind, params: Params) -> Picks | None:
        labels, fields = params.get("labelSelector"), params.get("fieldSelector")
        by_label = label_selector(labels) if labels else None
        by_field = field_selector(fields, kind.fields) if fields else None
        if by_label is not None and by_field is not None:
            first, second = by_label, by_field
            return lambda obj: first(obj) and second(obj)
        return by_label or by_field


@dataclass(frozen=True, slots=True)
class _Sender:
    content_type: str
    agent: str


def _after(before: Stored, change: Any, content_type: str) -> dict[str, Any]:
    if content_type == JSON_PATCH:
        new: dict[str, Any] = patched(before.obj, change)
        return new
    if content_type == MERGE_PATCH:
        result: dict[str, Any] = merged(before.obj, change)
        return result
    raise ApiError(415, "UnsupportedMediaType", f"{content_type} is not served here")

"""The part of the Kubernetes API that commands use, in memory: pages, selectors, merge patches, refusals."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Mapping
from typing import Any

from headrace.kubeapi.errors import AlreadyExists, ApiError, NotFound

ROOT = "/apis/headrace.dev/v1alpha1"
PAGE = 2


class MemoryApi:
    """`asked` has each request; `refuse` holds errors for the next requests of a method."""

    def __init__(self, *objects: Mapping[str, Any]) -> None:
        self.objects = {path(obj): copy.deepcopy(dict(obj)) for obj in objects}
        self.asked: list[str] = []
        self.refuse: dict[str, list[ApiError]] = {}

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> dict[str, Any]:
        self._note("GET", path)
        if path not in self.objects:
            raise NotFound(404, "NotFound", f"{path} not found")
        return copy.deepcopy(self.objects[path])

    async def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        self._note("POST", path)
        at = f"{path}/{body['metadata']['name']}"
        if at in self.objects:
            raise AlreadyExists(409, "AlreadyExists", f"{at} already exists")
        stamped = {"uid": f"{at}-uid", "creationTimestamp": "2026-03-05T00:00:00Z", **body["metadata"]}
        self.objects[at] = {**body, "metadata": {"namespace": path.split("/")[5], **stamped}}
        return self.objects[at]

    async def patch(self, path: str, body: Any) -> dict[str, Any]:
        self._note("PATCH", path)
        if path not in self.objects:
            raise NotFound(404, "NotFound", f"{path} not found")
        found = self.objects[path]
        annotations = found["metadata"].setdefault("annotations", {})
        annotations.update(body.get("metadata", {}).get("annotations", {}))
        found["metadata"]["annotations"] = {name: text for name, text in annotations.items() if text is not None}
        found["spec"].update(body.get("spec", {}))
        return found

    async def pages(self, path: str, params: Mapping[str, str] | None = None) -> AsyncIterator[dict[str, Any]]:
        plural = path.rpartition("/")[2]
        scope = path.split("/namespaces/")[1].split("/", maxsplit=1)[0] if "/namespaces/" in path else ""
        found = [
            obj
            for at, obj in self.objects.items()
            if f"/{plural}/" in at and scope in {"", obj["metadata"]["namespace"]} and is_selected(obj, params or {})
        ]
        for start in range(0, len(found) + 1, PAGE):
            self._note("LIST", path)
            yield {"items": found[start : start + PAGE]}

    def _note(self, method: str, path: str) -> None:
        self.asked.append(f"{method} {path.removeprefix(ROOT)}")
        if self.refuse.get(method):
            raise self.refuse[method].pop(0)


def path(obj: Mapping[str, Any]) -> str:
    """Where an object is."""
    plural = f"{obj['kind'].lower()}s"
    return f"{ROOT}/namespaces/{obj['metadata']['namespace']}/{plural}/{obj['metadata']['name']}"


def is_selected(obj: Mapping[str, Any], params: Mapping[str, str]) -> bool:
    """As the API server selects: a chain of status.phase!=X, and a label that is there."""
    phase = (obj.get("status") or {}).get("phase", "")
    unwanted = [term.partition("!=")[2] for term in params.get("fieldSelector", "").split(",") if term]
    label = params.get("labelSelector")
    return phase not in unwanted and (label is None or label in (obj["metadata"].get("labels") or {}))


def a_run(name: str, phase: str | None = "Failed", *, day: int = 4, **changes: Any) -> dict[str, Any]:
    """A FlowRun of Deployment daily that ended at noon of a day of March 2026."""
    metadata = changes.pop("metadata", {})
    status = changes.pop("status", {})
    ended = {"phase": phase, "reason": "FlowFailed", "message": "no", "finishedAt": f"2026-03-{day:02}T12:00:00Z"}
    return {
        "kind": "FlowRun",
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": f"{name}-uid",
            "creationTimestamp": f"2026-03-{day:02}T11:00:00Z",
            **metadata,
        },
        "spec": changes or {"deploymentRef": {"name": "daily"}, "parameters": {"day": "old", "n": 1}},
        "status": {**ended, "flowRevision": "rev1", "attempts": [{"number": 1}], **status} if phase else {},
    }


def a_deployment(name: str = "daily", flow: str = "etl", **changes: Any) -> dict[str, Any]:
    """A Deployment of Flow etl."""
    status = changes.pop("status", {})
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "team-a"},
        "spec": {"flowRef": {"name": flow}, **changes},
        "status": status,
    }

"""Objects as the API returns them, and a waker that writes down what it is told."""

from __future__ import annotations

from typing import Any

from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.workkeys import WorkKey
from tests.builders import NAMESPACE, NOW, stamp

STATUS_DELAY_S = 1.0


def metadata(name: str, version: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": NAMESPACE,
        "uid": f"{name}-uid",
        "resourceVersion": str(version),
        "generation": 1,
        "creationTimestamp": stamp(NOW),
        **changes,
    }


def flow(
    version: int = 1, *, name: str = "etl", status: dict[str, Any] | None = None, **changes: Any
) -> dict[str, Any]:
    """A Flow; `spec` in full takes the place of a plain one, the rest goes to the metadata."""
    spec = changes.pop("spec", {"entrypoint": "etl:main"})
    return {"metadata": metadata(name, version, **changes), "spec": spec, "status": status or {}}


def deployment(
    version: int = 1, *, name: str = "daily", status: dict[str, Any] | None = None, generation: int = 1, **spec: Any
) -> dict[str, Any]:
    return {
        "metadata": metadata(name, version, generation=generation),
        "spec": {"flowRef": {"name": "etl"}, **spec},
        "status": status or {},
    }


def run(version: int = 1, *, name: str = "r1", uid: str = "", status: dict[str, Any] | None = None, **spec: Any) -> Any:
    """A FlowRun of the Deployment, unless the spec names a Flow."""
    of = {} if "flowRef" in spec else {"deploymentRef": {"name": "daily"}}
    return {
        "metadata": metadata(name, version, **({"uid": uid} if uid else {})),
        "spec": {**of, **spec},
        "status": status or {},
    }


def finished(phase: str = "Succeeded") -> dict[str, Any]:
    return {"phase": phase, "reason": phase, "finishedAt": stamp(NOW)}


def under_way(pod: str = "r1-1") -> dict[str, Any]:
    return {"phase": "Running", "flowRevision": "rev1", "attempts": [{"number": 1, "pod": pod}]}


def gave_back(**status: Any) -> dict[str, Any]:
    """The status of a run whose first attempt has paused; `status` tells whether the pause is over."""
    lacks = {"type": "Admitted", "status": "False", "reason": "Paused", "lastTransitionTime": stamp(NOW)}
    ended = {"number": 1, "pod": "r1-1", "reason": "Paused", "finishedAt": stamp(NOW)}
    return {"phase": "Paused", "flowRevision": "rev1", "attempts": [ended], "conditions": [lacks], **status}


PAUSE = {"kind": "Approval", "name": "deploy", "since": stamp(NOW)}


class Wakes:
    """Whom the intake has woken since it was last asked, and after how many seconds."""

    def __init__(self) -> None:
        self._told: list[tuple[str, float]] = []

    def add(self, key: WorkKey, after_s: float = 0.0) -> None:
        self._told.append((f"{key.kind} {key.key.name}", after_s))

    def add_behind(self, key: WorkKey, *, gives_way: bool = False) -> None:
        self.add(key)

    def told(self) -> set[str]:
        """Kinds and names, those that are woken later with their delay."""
        told = {name if not after_s else f"{name} in {after_s:g} s" for name, after_s in self._told}
        self._told.clear()
        return told

    def in_order(self) -> list[str]:
        """Kinds and names, the first one first."""
        return [name for name, _ in self._told]


def an_intake(cache: Cache | None = None) -> tuple[Intake, Wakes]:
    wakes = Wakes()
    cache = cache or Cache()
    return Intake(
        cache, History(), wakes, status_delay_s=STATUS_DELAY_S, autosize_delay_s=30, monotonic=lambda: 0.0
    ), wakes


def key(name: str) -> ObjectKey:
    return ObjectKey(NAMESPACE, name)

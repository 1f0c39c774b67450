"""
FlowRuns of one namespace, through the API, for code that blocks: created once, and waited for by watch.

An API server that does not answer is waited for: a control plane may be away for minutes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from headrace.api.keys import API_VERSION, FLOWRUNS
from headrace.errors import UsageError
from headrace.podapi import PodApiError

FINISHED: Final = frozenset({"Succeeded", "Failed", "Crashed", "Cancelled", "Skipped"})
ATTEMPT_ANNOTATION: Final = "headrace.dev/parent-attempt"
"""On a FlowRun that another one's process has created: the attempt of that one."""
WATCH_S: Final = 240
FIRST_PAUSE_S: Final = 0.5
LAST_PAUSE_S: Final = 15.0

T = TypeVar("T")

FlowRun = Mapping[str, Any]
"""A FlowRun as the API returns it."""
Tell = Callable[[str, str], None]
"""Takes an event and a sentence for the log."""


class Api(Protocol):
    """What is asked of the Kubernetes API. Raises: PodApiError."""

    def get(self, path: str) -> dict[str, Any]: ...

    def create(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]: ...

    def patch(self, path: str, body: Any) -> dict[str, Any]: ...

    def watch(self, path: str, params: Mapping[str, str], *, timeout_s: int) -> Iterator[dict[str, Any]]: ...


class Clock(Protocol):
    """Measures and waits, as the engine's does."""

    def now_s(self) -> float: ...

    def sleep(self, seconds: float) -> None: ...


class OutOfTime(Exception):
    """The API server has not answered in the time that there was."""


@dataclass(frozen=True, slots=True)
class FlowRunsOf:
    """
    The FlowRuns of a namespace.

    Args:
        tell: Is told `api_unreachable`.
        forbidden: What to say where a right is missing.
    """

    api: Api
    namespace: str
    tell: Tell
    forbidden: Callable[[PodApiError], str]
    clock: Clock

    def created(self, body: Mapping[str, Any], event: str) -> FlowRun | None:
        """
        The FlowRun of that name: a new one, which is told as `event`, or the one that is there; None: it has just gone.

        Raises: UsageError: not allowed. PodApiError: refused for good.
        """
        return self.patiently(partial(self._created_or_there, body, event))

    def read(self, name: str, until_s: float | None = None) -> FlowRun | None:
        """The FlowRun; None: there is none. Raises: as created(); OutOfTime: no answer `until_s` then."""
        return self.patiently(partial(self._read, name), until_s)

    def cancel(self, name: str) -> None:
        """Asks for its end; that it is gone is success. Raises: as created()."""
        self.patiently(partial(self._cancelled, name))

    def ended(
        self, run: FlowRun, *, until_s: float | None = None, seen: Callable[[FlowRun], None] = lambda _: None
    ) -> FlowRun | None:
        """
        The FlowRun in its last phase, which may take hours; as it is `until_s` then, on the clock; None: it was deleted.

        Args:
            seen: Is shown what is heard of it meanwhile.
        Raises: as created().
        """
        name, uid = run["metadata"]["name"], run["metadata"]["uid"]
        current: FlowRun | None = run
        try:
            while True:
                current = self.read(name, until_s)
                if current is None or current["metadata"]["uid"] != uid:
                    return None
                seen(current)
                if phase(current) in FINISHED or self._is_late(until_s):
                    return current
                last = self.patiently(partial(self._watched, current, until_s, seen), until_s)
                if last is not None:
                    return last
        except OutOfTime:
            return current

    def path(self, name: str = "") -> str:
        """Of the collection, or of one FlowRun."""
        return path_of(self.namespace, name)

    def patiently(self, ask: Callable[[], T], until_s: float | None = None) -> T:
        """The answer, however long the API server does not give one. Raises: as created(); OutOfTime."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                return ask()
            except PodApiError as error:
                if error.status == 403:
                    raise UsageError(self.forbidden(error)) from error
                if not error.passes:
                    raise
                if self._is_late(until_s):
                    raise OutOfTime from error
                self.tell("api_unreachable", f"{error}; the next try is in {pause_s:g} s")
            self.clock.sleep(pause_s)
            pause_s = min(pause_s * 2, LAST_PAUSE_S)

    def _created_or_there(self, body: Mapping[str, Any], event: str) -> FlowRun | None:
        try:
            created = self.api.create(self.path(), body)
        except PodApiError as error:
            if error.status != 409:
                raise
            return self._read(body["metadata"]["name"])
        self.tell(event, f"FlowRun {created['metadata']['name']} was created; waiting for it")
        return created

    def _cancelled(self, name: str) -> None:
        try:
            self.api.patch(self.path(name), {"spec": {"cancel": True}})
        except PodApiError as error:
            if error.status != 404:
                raise

    def _read(self, name: str) -> FlowRun | None:
        try:
            return self.api.get(self.path(name))
        except PodApiError as error:
            if error.status != 404:
                raise
            return None

    def _watched(self, run: FlowRun, until_s: float | None, seen: Callable[[FlowRun], None]) -> FlowRun | None:
        """The run as soon as it has ended; None if the watch ended first, or the run was deleted."""
        metadata = run["metadata"]
        params = {"fieldSelector": f"metadata.name={metadata['name']}", "resourceVersion": metadata["resourceVersion"]}
        left_s = WATCH_S if until_s is None else min(WATCH_S, max(1, math.ceil(until_s - self.clock.now_s())))
        try:
            for event in self.api.watch(self.path(), params, timeout_s=left_s):
                if event["type"] == "DELETED":
                    return None
                if event["type"] == "BOOKMARK":
                    continue
                if phase(event["object"]) in FINISHED:
                    return dict(event["object"])
                seen(event["object"])
        except PodApiError as error:
            if error.status != 410:
                raise
        return None

    def _is_late(self, until_s: float | None) -> bool:
        return until_s is not None and self.clock.now_s() >= until_s


def path_of(namespace: str, name: str = "") -> str:
    """Of the FlowRuns of a namespace, or of one of them."""
    collection = f"/apis/{API_VERSION}/namespaces/{namespace}/{FLOWRUNS.plural}"
    return f"{collection}/{name}" if name else collection


def is_of(found: FlowRun, attempt: int) -> bool:
    """Whether this attempt has created it: just now, or in a request whose answer was lost."""
    annotations = found["metadata"].get("annotations") or {}
    return bool(annotations.get(ATTEMPT_ANNOTATION) == str(attempt))


def is_taken_up(found: FlowRun, *, attempt: int, has_result: Callable[[FlowRun], bool] = lambda _: True) -> bool:
    """
    Whether an attempt goes on with this FlowRun: its own in any case, that of an earlier one if it succeeded or goes on.

    Args:
        has_result: Whether the result of one that has succeeded is still there.
    """
    if is_of(found, attempt):
        return True
    now = phase(found)
    if found["metadata"].get("deletionTimestamp") or (now not in FINISHED and found["spec"].get("cancel")):
        return False
    return has_result(found) if now == "Succeeded" else now not in FINISHED


def told_taken_up(found: FlowRun) -> str:
    """That it is taken up, for the log."""
    return f"FlowRun {found['metadata']['name']} of an earlier attempt is {phase(found) or 'new'}; taken up"


def phase(run: FlowRun) -> str:
    """Empty as long as the operator has said nothing."""
    return str((run.get("status") or {}).get("phase") or "")

"""The logs of a run's pods, over its attempts; a stream that breaks goes on where it was."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from headrace.api import keys
from headrace.cli.loglines import Line, line_from, stamped
from headrace.kubeapi.errors import ApiError

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

TRIES: Final = 5
"""In a row without a line between."""
BETWEEN_TRIES_S: Final = 1.0
ZONE: Final = re.compile(r"(Z|[+-]\d\d:\d\d)$")


@dataclass(frozen=True, slots=True)
class Section:
    """Which lines of a pod; None leaves a bound open."""

    tail: int | None = None
    since_s: int | None = None
    follow: bool = False

    @property
    def params(self) -> dict[str, str]:
        """As the API takes them; stamps tell where to go on."""
        given = {"tailLines": self.tail, "sinceSeconds": self.since_s}
        bounds = {name: str(value) for name, value in given.items() if value is not None}
        follow = {"follow": "true"} if self.follow else {}
        return {"container": keys.FLOW_CONTAINER, "timestamps": "true", **bounds, **follow}


async def pod_lines(client: KubeClient, namespace: str, pod: str, section: Section) -> AsyncIterator[Line]:
    """
    The lines of the flow's container.

    Raises: NotFound: the pod is gone. Invalid: its container has not started. ApiError.
    """
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
    place = _Place()
    params, failures = section.params, 0
    while True:
        try:
            async for text in client.lines(path, params):
                stamp, line = stamped(text)
                if place.is_new(stamp):
                    failures = 0
                    yield line_from(line)
        except ApiError as error:
            failures += 1
            if not error.retryable or failures > TRIES:
                raise
            params = place.resumed(params)
            await asyncio.sleep(BETWEEN_TRIES_S)
        else:
            return


class _Place:
    """How far a log was read: `sinceTime` is exact to a second, so those of the last second come again, and are counted."""

    def __init__(self) -> None:
        self._second = ""
        self._read = 0
        self._skip = 0

    def is_new(self, stamp: str) -> bool:
        """Whether the line was not read before; it is from now on."""
        second = _second(stamp)
        if self._skip and second == self._second:
            self._skip -= 1
            return False
        self._read = self._read + 1 if second == self._second else 1
        self._second, self._skip = second, 0
        return True

    def resumed(self, params: Mapping[str, str]) -> dict[str, str]:
        """What to ask for after the stream broke."""
        if not self._second:
            return dict(params)
        self._skip = self._read
        kept = {name: value for name, value in params.items() if name not in {"tailLines", "sinceSeconds"}}
        return {**kept, "sinceTime": self._second}


def _second(stamp: str) -> str:
    """The stamp without its fraction; a node stamps lines in its own time zone."""
    zone = ZONE.search(stamp)
    return stamp[:19] + (zone[0] if zone else "Z")


def attempts_of(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Its attempts, oldest first."""
    return list((run.get("status") or {}).get("attempts") or ())

"""A FlowRun, watched to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from headrace.api import keys
from headrace.cli.cluster import ClusterRefusal, path_of
from headrace.kubeapi.errors import ApiError
from headrace.terminal_text import harmless

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

EXIT_CODES: Mapping[str, int] = {"Succeeded": 0, "Cancelled": 130}
"""By phase; 1 for every other end."""


class Follower:
    """
    The sink of a stream of one FlowRun.

    Args:
        tell: Called with a sentence whenever phase or reason change.
    """

    def __init__(self, name: str, tell: Callable[[str], None]) -> None:
        from headrace.api.conditions import FINISHED  # noqa: PLC0415 - the API's models; other commands go without

        self._finished = FINISHED
        self.end: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._name = name
        self._tell = tell
        self._told = ""

    def seen(self, obj: dict[str, Any]) -> None:
        """Its phase may have changed, and it may have ended."""
        status = obj.get("status") or {}
        if not status.get("phase") or self.end.done():
            return
        text = last_line(obj)
        if text != self._told:
            self._told = text
            self._tell(text)
        if status["phase"] in self._finished:
            self.end.set_result(obj)

    def gone(self, _obj: dict[str, Any]) -> None:
        """The run was deleted: whoever follows it gets an error."""
        self._fail(ClusterRefusal(f"follow run {self._name}", "it was deleted before it ended"))

    def synced(self, uids: set[str], _version: int) -> None:
        """It is in the list, or was deleted."""
        if not uids:
            self.gone({})

    def failed(self, error: ApiError, retry_in_s: float) -> None:
        """The stream goes on by itself, unless it never can."""
        if not error.retryable:
            self._fail(ClusterRefusal(f"follow run {self._name}", f"{error}; it goes on, kubectl get fr shows it"))
        else:
            self._tell(f"{error}; trying again in {retry_in_s:.0f} s")

    def _fail(self, error: Exception) -> None:
        if not self.end.done():
            self.end.set_exception(error)


async def followed(client: KubeClient, namespace: str, name: str, tell: Callable[[str], None]) -> dict[str, Any]:
    """The run as it ended. Raises: ClusterRefusal: it was deleted, or may not be watched."""
    from headrace.kubeapi.stream import Stream  # noqa: PLC0415 - slow to import

    follower = Follower(name, tell)
    stream = Stream(client, path_of(keys.FLOWRUNS, namespace), {"fieldSelector": f"metadata.name={name}"}, follower)
    watching = asyncio.create_task(stream.run())
    try:
        parts: set[asyncio.Future[Any]] = {watching, follower.end}
        await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
        return follower.end.result()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def last_line(run: Mapping[str, Any]) -> str:
    """How it is with the run, in one line."""
    status = run["status"]
    reason = status.get("reason")
    why = "" if reason in {None, status["phase"]} else f" ({reason})"
    message = f": {status['message']}" if status.get("message") and status["phase"] != "Succeeded" else ""
    return harmless(f"{run['metadata']['name']} is {status['phase']}{why}{message}")


def exit_code(run: Mapping[str, Any]) -> int:
    """0 for Succeeded, 130 for Cancelled, 1 for any other end."""
    return EXIT_CODES.get(run["status"]["phase"], 1)

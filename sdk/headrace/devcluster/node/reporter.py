"""Writes a pod's status to the API server: whenever it changed, the newest only, until it is stored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from headrace.kubeapi.client import STRATEGIC_MERGE_PATCH, KubeClient
from headrace.kubeapi.errors import ApiError, Conflict, Invalid, NotFound

FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0

log = structlog.get_logger()


class Reporter:
    """
    The status of one pod.

    Args:
        status: Makes the status to write, from the pod as the API server last showed it.
    """

    def __init__(
        self, client: KubeClient, pod: Mapping[str, Any], status: Callable[[Mapping[str, Any]], dict[str, Any]]
    ) -> None:
        self.pod = pod
        self.gone = asyncio.Event()
        metadata = pod["metadata"]
        self.path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        self._client = client
        self._uid = metadata["uid"]
        self._status = status
        self._dirty = asyncio.Event()
        self._written: dict[str, Any] | None = None
        self._lock = asyncio.Lock()

    def saw(self, pod: Mapping[str, Any]) -> None:
        """Takes the pod as the API server shows it, if that is news."""
        if int(pod["metadata"]["resourceVersion"]) >= int(self.pod["metadata"]["resourceVersion"]):
            self.pod = pod

    def change(self) -> None:
        """There is something new to write."""
        self._dirty.set()

    async def run(self) -> None:
        """Writes what changes, until the pod is gone or this is cancelled."""
        while not self.gone.is_set():
            await self._dirty.wait()
            await self.flush()

    async def flush(self) -> None:
        """Returns when the present status is stored, or the pod is gone."""
        delay_s = FIRST_RETRY_S
        async with self._lock:
            while not self.gone.is_set():
                self._dirty.clear()
                status = self._status(self.pod)
                if status == self._written or await self._write(status):
                    return
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LAST_RETRY_S)

    async def _write(self, status: dict[str, Any]) -> bool:
        body = {"metadata": {"uid": self._uid}, "status": status}
        try:
            self.saw(await self._client.patch(f"{self.path}/status", body, content_type=STRATEGIC_MERGE_PATCH))
        except (NotFound, Conflict):  # a conflict: another pod has the name now
            self.gone.set()
        except ApiError as error:
            log.warning("status_not_written", pod=self.path, error=str(error))
            if not isinstance(error, Invalid):
                return False
        self._written = status
        return True

    async def delete(self) -> None:
        """Tells the API server that nothing of the pod is left on this node; returns when it knows."""
        delay_s = FIRST_RETRY_S
        while not self.gone.is_set():
            try:
                await self._client.delete(self.path, uid=self._uid, grace_s=0)
            except Conflict:
                self.gone.set()
            except ApiError as error:
                log.warning("pod_not_deleted", pod=self.path, error=str(error))
                await asyncio.sleep(delay_s)
                delay_s = min(2 * delay_s, LAST_RETRY_S)
            else:
                return

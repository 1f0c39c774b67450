"""
An operator process that kills itself at a chosen write: before it is sent, or after its answer has come.

    python crashing_operator.py JOURNAL [KIND OCCURRENCE before|after]

Each write is a line in the JOURNAL; without KIND nothing is killed, and the journal tells which writes there are to
be killed at.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from headrace_operator.__main__ import main
from headrace_operator.kube.cluster import Cluster
from headrace_operator.kube.resources import Resource

T = TypeVar("T")


@dataclass(frozen=True)
class Crash:
    """Where the process dies: at the `occurrence`-th write (from 1) of a kind, on one side of it."""

    kind: str
    occurrence: int
    side: str


class JournaledCluster:
    """Passes everything on; notes each write, and dies where it is told to."""

    def __init__(self, cluster: Cluster, journal: Path, crash: Crash | None) -> None:
        self._cluster = cluster
        self._journal = journal
        self._crash = crash
        self._writes: Counter[str] = Counter()

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._cluster.get(resource, namespace, name)

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._cluster.list(resource, namespace, labels=labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._write(f"create {resource.plural}", self._cluster.create(resource, namespace, body))

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        what = f"patch {resource.plural}" + (f"/{subresource}" if subresource else "")
        return await self._write(what, self._cluster.patch(resource, namespace, name, body, subresource=subresource))

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        deleted = self._cluster.delete(resource, namespace, name, uid=uid, version=version)
        await self._write(f"delete {resource.plural}", deleted)

    async def _write(self, kind: str, request: Awaitable[T]) -> T:
        self._writes[kind] += 1
        mine = self._writes[kind]
        with self._journal.open("a") as journal:
            journal.write(kind + "\n")
        if self._crash == Crash(kind, mine, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await request
        if self._crash == Crash(kind, mine, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


if __name__ == "__main__":
    journal_path, *where = sys.argv[1:]
    planned = Crash(where[0], int(where[1]), where[2]) if where else None
    sys.exit(main(lambda cluster: JournaledCluster(cluster, Path(journal_path), planned)))

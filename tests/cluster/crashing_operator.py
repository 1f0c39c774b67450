"""
An operator process that kills itself at a chosen write: before it is sent, or after its answer has come.

    python crashing_operator.py JOURNAL [WRITE before|after]

Each write is a line in the JOURNAL; without WRITE nothing is killed, and the journal tells how many writes there
are to be killed at.
"""

from __future__ import annotations

import os
import signal
import sys
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
    """Where the process dies: at the `write`-th write (from 1), on one side of it."""

    write: int
    side: str


class JournaledCluster:
    """Passes everything on; notes each write, and dies where it is told to."""

    def __init__(self, cluster: Cluster, journal: Path, crash: Crash | None) -> None:
        self._cluster = cluster
        self._journal = journal
        self._crash = crash
        self._writes = 0

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._cluster.get(resource, namespace, name)

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._cluster.list(resource, namespace, labels=labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        return await self._write(f"create {resource.plural} {name}", self._cluster.create(resource, namespace, body))

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        what = f"patch {resource.plural}/{subresource} {name}"
        return await self._write(
            what, self._cluster.patch(resource, namespace, name, body, subresource=subresource)
        )

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str) -> None:
        await self._write(
            f"delete {resource.plural} {name}", self._cluster.delete(resource, namespace, name, uid=uid)
        )

    async def _write(self, what: str, request: Awaitable[T]) -> T:
        self._writes += 1
        mine = self._writes
        with self._journal.open("a") as journal:
            journal.write(what + "\n")
        if self._crash == Crash(mine, "before"):
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await request
        if self._crash == Crash(mine, "after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer


if __name__ == "__main__":
    journal_path, *where = sys.argv[1:]
    planned = Crash(int(where[0]), where[1]) if where else None
    sys.exit(main(lambda cluster: JournaledCluster(cluster, Path(journal_path), planned)))

"""A simulated cluster: a store with its API, nodes, and the operators that serve it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from headrace.kubeapi.config import Connection
from headrace_operator.settings import Settings
from headrace_operator.sharding.operator import ShardedOperator
from headrace_operator.wiring import Operator, Outside
from tests.simulated.api import Api
from tests.simulated.client import NOWHERE, SimulatedClient, Way
from tests.simulated.kinds import kinds
from tests.simulated.nodes import Nodes, Script, all_well
from tests.simulated.store import Store

BEGAN = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
HOME = "headrace-system"
AnyOperator = Operator | ShardedOperator
PLURALS = {kind.kind: kind for kind in kinds().values()}
INLINE = {"entrypoint": "etl.py:main", "source": {"inline": {"files": {"etl.py": "def main(): ..."}}}}


def loop_clock() -> datetime:
    """The time of day of a cluster that began when its loop was at 0 s."""
    return BEGAN + timedelta(seconds=asyncio.get_running_loop().time())


def loop_time() -> float:
    """The loop's own seconds."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class Cluster:
    """A store with what is around it."""

    store: Store
    api: Api
    nodes: Nodes

    def client(self, agent: str = "tests") -> SimulatedClient:
        """One that nothing befalls."""
        return SimulatedClient(self.api, agent=agent)

    async def make(self, kind: str, name: str, namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """A new object."""
        return await self.client().create(path(kind, namespace), {"metadata": {"name": name}, "spec": spec})

    def statuses(self, kind: str) -> dict[tuple[str, str], dict[str, Any]]:
        """The status of every object of a kind, by namespace and name."""
        return {key: stored.obj.get("status") or {} for key, stored in self.store.all(PLURALS[kind]).items()}


def a_cluster(
    script: Script = all_well,
    *,
    clock: Callable[[], datetime] = loop_clock,
    node_names: tuple[str, ...] = ("node-0",),
    begins_in_s: Callable[[], float] | None = None,
) -> Cluster:
    """An empty cluster, in the loop that runs."""
    store = Store(clock)
    nodes = Nodes(store, script, names=node_names, begins_in_s=begins_in_s)
    for name in ("default", HOME):
        store.create(PLURALS["Namespace"], "", {"metadata": {"name": name}}, agent="tests")
    return Cluster(store, Api(store), nodes)


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """The URL path of an object, or of its collection."""
    known = PLURALS[kind]
    root = "/apis" if "/" in known.api_version else "/api"
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}/{known.api_version}{within}/{known.plural}" + (f"/{name}" if name else "")


def an_operator(
    cluster: Cluster, *, way: Way | None = None, outside: Mapping[str, Any] | None = None, **settings: Any
) -> AnyOperator:
    """
    An operator of the whole cluster, not started.

    Args:
        outside: As Outside has it; the loop's own time is what it knows.
        settings: With more than one of `shards` it is a replica that shares them.
    """

    def connect(_: Connection, *, user_agent: str, check: Callable[[], None] | None = None) -> SimulatedClient:
        return SimulatedClient(cluster.api, agent=user_agent, check=check, way=way)

    world = Outside(**{"clock": loop_clock, "monotonic": loop_time, "connect": connect, **(outside or {})})
    given = Settings(**{"operator_namespace": HOME, "identity": "left", **settings})
    kind = ShardedOperator if given.shards > 1 else Operator
    return kind(given, NOWHERE, registry=CollectorRegistry(), outside=world)


@asynccontextmanager
async def at_work(operator: AnyOperator) -> AsyncIterator[asyncio.Task[None]]:
    """The operator runs; it is cancelled in the end."""
    task = asyncio.create_task(operator.run())
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await operator.close()

"""Leases of ConcurrencyLimits in a cluster in memory, and an operator's store of them that can be lost and filled anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace import slots
from headrace.kubeapi.errors import Unreachable
from headrace.slots import Rate
from headrace_operator.decide.leases import Slot
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.resources import LEASES, Resource
from headrace_operator.manifests.slot import free_slot, rate_lease
from headrace_operator.observe.slots import Slots
from tests.fake_cluster import FakeCluster

SYSTEM = "headrace-system"
DURATION_S = 60


class Died(Exception):
    """The process is killed here."""


def lease(
    limit: str = "db",
    index: int = 0,
    *,
    version: int = 1,
    holder: str = "",
    closed: bool = False,
    uid: str = "",
    **spec: Any,
) -> dict[str, Any]:
    """A slot's Lease as the API returns it."""
    obj = free_slot(limit, index, namespace=SYSTEM, duration_s=DURATION_S)
    obj["metadata"] |= {"uid": uid or f"{limit}-{index}", "resourceVersion": str(version)}
    if closed:
        obj["metadata"]["annotations"][slots.CLOSED_ANNOTATION] = "true"
    obj["spec"] = {**({"holderIdentity": holder} if holder else {}), **spec}
    return obj


def slot(limit: str = "db", index: int = 0, **changes: Any) -> Slot:
    """A slot as it is held: free and open, unless told otherwise."""
    key = ObjectKey(SYSTEM, slots.slot_name(limit, index))
    fields: dict[str, Any] = {"noted_duration_s": DURATION_S, "unchanged_since_s": 0.0, **changes}
    return Slot(key, f"{limit}-{index}", 1, limit, index, **fields)


def run(name: str = "etl-1", uid: str = "u1", *, namespace: str = "team-a") -> str:
    """How a run signs."""
    return str(slots.RunHolder(namespace, name, uid))


def pod(name: str = "etl-1-1", uid: str = "p1", token: str = "t") -> str:
    """How a block of code in a pod signs."""
    return str(slots.PodHolder("team-a", name, uid, token))


class Shop:
    """
    A cluster with limits, and the store of the operator that works on it.

    Args:
        limits: Slots by limit.
        rates: Rates by limit.
    """

    def __init__(self, limits: Mapping[str, int] | None = None, rates: Mapping[str, Rate] | None = None) -> None:
        self.cluster = FakeCluster()
        self.store = Slots()
        for limit, count in (limits or {}).items():
            for index in range(count):
                self.cluster.put(LEASES, free_slot(limit, index, namespace=SYSTEM, duration_s=DURATION_S))
        for limit, rate in (rates or {}).items():
            self.cluster.put(LEASES, rate_lease(limit, rate, namespace=SYSTEM))
        self.listed()

    def listed(self, at_s: float = 0.0) -> None:
        """The stream has brought everything up to now."""
        there = {obj["metadata"]["uid"] for obj in self.cluster.all(LEASES)}
        for record in list(self.store.held.values()):
            if record.uid not in there:
                self.store.gone(record.key, record.uid)
        for obj in self.cluster.all(LEASES):
            self.store.seen(obj, at_s)

    def restarted(self) -> None:
        """Another process, which knows what the API says and nothing else."""
        self.store = Slots()
        self.listed()

    def holders(self, limit: str) -> list[str]:
        """By the API server's word, by index; "" for a free slot."""
        found = [
            obj for obj in self.cluster.all(LEASES) if slots.slot_index(limit, obj["metadata"]["name"]) is not None
        ]
        in_order = sorted(found, key=lambda obj: slots.slot_index(limit, obj["metadata"]["name"]) or 0)
        return [slots.holder_of(obj) for obj in in_order]

    def starts(self, limit: str) -> tuple[int, ...]:
        """By the API server's word."""
        obj = self.cluster.find(LEASES, SYSTEM, slots.rate_name(limit))
        assert obj is not None
        return slots.starts_of(obj)


class Faulty:
    """
    Passes everything on; one write, counted from 0, goes wrong as `fault` says.

    "before" and "after": the process is killed there; "unheard": it is done, and the answer is lost.
    """

    def __init__(self, cluster: FakeCluster, at: int, fault: str) -> None:
        self._cluster = cluster
        self._at = at
        self._fault = fault
        self.writes = 0

    async def get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._cluster.get(resource, namespace, name)

    async def list(self, resource: Resource, namespace: str, *, labels: str = "") -> list[dict[str, Any]]:
        return await self._cluster.list(resource, namespace, labels=labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        created: dict[str, Any] = await self._written(lambda: self._cluster.create(resource, namespace, body))
        return created

    async def patch(
        self, resource: Resource, namespace: str, name: str, body: Any, *, subresource: str = ""
    ) -> dict[str, Any]:
        patched: dict[str, Any] = await self._written(
            lambda: self._cluster.patch(resource, namespace, name, body, subresource=subresource)
        )
        return patched

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str, version: int | None = None
    ) -> None:
        await self._written(lambda: self._cluster.delete(resource, namespace, name, uid=uid, version=version))

    async def _written(self, write: Any) -> Any:
        number, self.writes = self.writes, self.writes + 1
        if number == self._at and self._fault == "before":
            raise Died
        answer = await write()
        if number == self._at:
            raise Died if self._fault == "after" else Unreachable(0, "Unreachable", "the connection was reset")
        return answer

"""Who works, by the Leases that operators keep in their namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from headrace.api import keys
from headrace.cli.cluster import Api, listed

OPERATOR_NAMESPACE: Final = "headrace-system"
LEADER: Final = "headrace-operator"
GRACE_S: Final = 5.0
"""Between the clock here and that of the operator, before a Lease is called stale."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One Lease: `holder` is "" where nobody holds it, `age` since its renewal, `is_fresh` whether it has not run out."""

    name: str
    holder: str
    age: timedelta | None
    is_fresh: bool


async def operator_leases(api: Api, namespace: str) -> list[dict[str, Any]]:
    """Those of the leader and of shards. Raises: ClusterRefusal: they may not be read. ApiError."""
    found = await listed(api, f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    return [
        lease
        for lease in found
        if lease["metadata"]["name"] == LEADER
        or (lease["metadata"].get("labels") or {}).get(keys.OPERATOR_LABEL) == "shard"
    ]


def standings(leases: Sequence[Mapping[str, Any]], now: datetime) -> list[Standing]:
    """Each Lease as it stands."""
    return [_standing(lease, now) for lease in leases]


def works(leases: Sequence[Mapping[str, Any]], now: datetime) -> bool:
    """Whether some operator holds a Lease that has not run out."""
    return any(standing.is_fresh for standing in standings(leases, now))


def _standing(lease: Mapping[str, Any], now: datetime) -> Standing:
    spec = lease.get("spec") or {}
    renewed = datetime.fromisoformat(spec["renewTime"]) if spec.get("renewTime") else None
    lasts = timedelta(seconds=float(spec.get("leaseDurationSeconds") or 0) + GRACE_S)
    holder = str(spec.get("holderIdentity") or "")
    is_fresh = bool(holder) and renewed is not None and now - renewed <= lasts
    return Standing(lease["metadata"]["name"], holder, now - renewed if renewed else None, is_fresh)

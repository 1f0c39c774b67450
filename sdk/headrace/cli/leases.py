"""Who works, by the Leases that operators keep in their namespace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
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


async def operator_leases(api: Api, namespace: str, served: str) -> list[dict[str, Any]]:
    """
    Those by which operators of a namespace lead and share their work.

    Args:
        namespace: Where they keep them.
        served: The namespace whose runs are in question; it may have an operator of its own.
    Raises: ClusterRefusal: they may not be read. ApiError.
    """
    found = await listed(api, f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases")
    leaders = {LEADER, f"{LEADER}.{served}"}
    return [lease for lease in found if lease["metadata"]["name"] in leaders or _kind(lease) in {"shard", "member"}]


def standings(leases: Sequence[Mapping[str, Any]], now: datetime) -> list[Standing]:
    """How it stands with each leader's Lease, and with each shard's, which lasts as long as the Lease of the replica that holds it."""
    members = {each.holder: each for each in (_standing(lease, now) for lease in leases if _kind(lease) == "member")}
    found = []
    for lease in leases:
        standing = _standing(lease, now)
        if _kind(lease) == "shard":
            member = members.get(standing.holder)
            standing = replace(
                standing, age=member.age if member else None, is_fresh=member is not None and member.is_fresh
            )
        if _kind(lease) != "member":
            found.append(standing)
    return found


def works(leases: Sequence[Mapping[str, Any]], now: datetime) -> bool:
    """Whether some operator leads, by a Lease that has not run out."""
    return any(standing.is_fresh for standing in standings([each for each in leases if not _kind(each)], now))


def _kind(lease: Mapping[str, Any]) -> str:
    """What a Lease of replicas that share their work is for; "" for a leader's."""
    return str((lease["metadata"].get("labels") or {}).get(keys.OPERATOR_LABEL, ""))


def _standing(lease: Mapping[str, Any], now: datetime) -> Standing:
    spec = lease.get("spec") or {}
    renewed = datetime.fromisoformat(spec["renewTime"]) if spec.get("renewTime") else None
    lasts = timedelta(seconds=float(spec.get("leaseDurationSeconds") or 0) + GRACE_S)
    holder = str(spec.get("holderIdentity") or "")
    is_fresh = bool(holder) and renewed is not None and now - renewed <= lasts
    return Standing(lease["metadata"]["name"], holder, now - renewed if renewed else None, is_fresh)

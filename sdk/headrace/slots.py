"""
The Leases of a ConcurrencyLimit: how operator and pods name, read and change them.

    <limit>.slot-<index>    one a slot; free while spec.holderIdentity is absent or empty
    <limit>.rate            the starts within the rate's window, in an annotation

Both carry LIMIT_LABEL. Whoever takes a slot raises spec.leaseTransitions: the number tells one holding from the next.
Pure, standard library only: the patches are data, and time is an argument.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from headrace.instants import microseconds

LIMIT_LABEL: Final = "headrace.dev/concurrency-limit"
"""On every Lease of a limit: the limit's name."""
DURATION_ANNOTATION: Final = "headrace.dev/lease-duration-seconds"
"""On slots: seconds after which a task that has not renewed its slot loses it. Absent: DEFAULT_DURATION_S."""
CLOSED_ANNOTATION: Final = "headrace.dev/closed"
"""On slots of a limit that has fewer slots now than are held: given back, they go, and nobody may take them."""
RATE_ANNOTATION: Final = "headrace.dev/rate"
"""On the rate Lease: "<count>/<seconds>", such as "5/60"; from the limit's spec.rate."""
STARTS_ANNOTATION: Final = "headrace.dev/starts"
"""On the rate Lease: the starts within the window in milliseconds since 1970, oldest first, with commas between."""

DEFAULT_DURATION_S: Final = 60
RENEWALS_PER_DURATION: Final = 3
"""A holder may miss two renewals before it loses its slot."""

Lease = Mapping[str, Any]
Patch = list[dict[str, Any]]
"""A JSON Patch (RFC 6902)."""


def slot_name(limit: str, index: int) -> str:
    """The name of a slot's Lease; `index` counts from 0."""
    return f"{limit}.slot-{index}"


def rate_name(limit: str) -> str:
    """The name of the Lease that notes a limit's starts."""
    return f"{limit}.rate"


def slot_index(limit: str, name: str) -> int | None:
    """The index of the limit's slot with this Lease name; None if it is no slot of it."""
    prefix, _, digits = name.rpartition("-")
    number = digits.isascii() and digits.isdigit() and str(int(digits)) == digits
    return int(digits) if number and prefix == f"{limit}.slot" else None


def run_identity(namespace: str, name: str, uid: str) -> str:
    """How a run signs its Leases."""
    return f"run/{namespace}/{name}/{uid}"


@dataclass(frozen=True, slots=True)
class RunHolder:
    """A run that holds a slot from its launch to its end; str() is the Lease's holderIdentity."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return run_identity(self.namespace, self.name, self.uid)


@dataclass(frozen=True, slots=True)
class PodHolder:
    """A block of code in a pod that holds a slot; `token` tells the blocks of one pod apart."""

    namespace: str
    name: str
    uid: str
    token: str

    def __str__(self) -> str:
        return f"pod/{self.namespace}/{self.name}/{self.uid}/{self.token}"


@lru_cache(maxsize=1024)  # the operator reads each several times while it holds a slot
def parse_holder(text: str) -> RunHolder | PodHolder | None:
    """Who a holderIdentity names; None for a text that neither operator nor pods write."""
    kind, *parts = text.split("/")
    if not all(parts):
        return None
    if kind == "run" and len(parts) == 3:
        return RunHolder(*parts)
    if kind == "pod" and len(parts) == 4:
        return PodHolder(*parts)
    return None


def holder_of(lease: Lease) -> str:
    """The holderIdentity of a slot, "" for a free one."""
    return str(_spec(lease).get("holderIdentity") or "")


def is_free(lease: Lease) -> bool:
    """Whether a slot may be taken."""
    return not holder_of(lease) and CLOSED_ANNOTATION not in _annotations(lease)


def transitions_of(lease: Lease) -> int:
    """How often a slot was taken."""
    return int(_spec(lease).get("leaseTransitions") or 0)


def duration_of(lease: Lease) -> int:
    """Seconds after which a task that has not renewed this slot loses it, at least 1."""
    text = str(_annotations(lease).get(DURATION_ANNOTATION, ""))
    return max(1, int(text)) if text.isascii() and text.isdigit() else DEFAULT_DURATION_S


def taking(lease: Lease, holder: str, now: datetime, *, duration_s: int | None = None) -> dict[str, Any]:
    """
    The merge patch that takes a free slot, refused if the Lease has changed since it was read.

    Args:
        duration_s: Seconds after which the holding expires unless it is renewed. None: never.
    """
    time = microseconds(now)
    spec = {
        "holderIdentity": holder,
        "acquireTime": time,
        "renewTime": time,
        "leaseDurationSeconds": duration_s,
        "leaseTransitions": transitions_of(lease) + 1,
    }
    return {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"]}, "spec": spec}


def renewing(holder: str, transitions: int, now: datetime) -> Patch:
    """The patch that renews a holding, refused if it is not this one any more."""
    return [*_still_held(holder, transitions), {"op": "add", "path": "/spec/renewTime", "value": microseconds(now)}]


def giving_back(holder: str, transitions: int) -> Patch:
    """The patch that frees a slot, refused if it is not this holding any more."""
    freed = {"leaseTransitions": transitions}
    return [*_still_held(holder, transitions), {"op": "replace", "path": "/spec", "value": freed}]


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` starts in any stretch of `per_s` seconds; str() is the rate Lease's annotation."""

    count: int
    per_s: int

    def __str__(self) -> str:
        return f"{self.count}/{self.per_s}"

    def seconds_until(self, starts: Sequence[int], count: int, now_ms: int) -> float:
        """
        Seconds until `count` more may start; 0 for now.

        Args:
            starts: Those noted, in milliseconds since 1970, ascending.
            count: From 1 to the rate's own count.
        """
        later = starts[max(0, len(starts) - self.count) :]
        in_the_way = len(later) + count - self.count
        if in_the_way <= 0:
            return 0
        return max(0, later[in_the_way - 1] + self.per_s * 1000 - now_ms) / 1000

    def noted(self, starts: Sequence[int], count: int, now_ms: int) -> tuple[int, ...]:
        """The starts to keep once `count` more have begun; never before one that is noted already."""
        time_ms = max((now_ms, *starts[-1:]))
        oldest_ms = time_ms - self.per_s * 1000
        return (*(start for start in starts if start > oldest_ms), *(time_ms for _ in range(count)))


def rate_of(lease: Lease) -> Rate | None:
    """The rate that a rate Lease tells; None if it tells none."""
    count, _, per_s = str(_annotations(lease).get(RATE_ANNOTATION, "")).partition("/")
    if not (count.isascii() and count.isdigit() and per_s.isascii() and per_s.isdigit()):
        return None
    return Rate(int(count), int(per_s))


def starts_of(lease: Lease) -> tuple[int, ...]:
    """The starts that a rate Lease notes, ascending, in milliseconds since 1970; what is no number is left out."""
    parts = str(_annotations(lease).get(STARTS_ANNOTATION, "")).split(",")
    return tuple(sorted(int(part) for part in parts if part.isascii() and part.isdigit()))


def noting(lease: Lease, starts: Sequence[int]) -> dict[str, Any]:
    """The merge patch that notes starts, refused if the Lease has changed since it was read."""
    annotations = {STARTS_ANNOTATION: ",".join(map(str, starts))}
    return {"metadata": {"resourceVersion": lease["metadata"]["resourceVersion"], "annotations": annotations}}


def _still_held(holder: str, transitions: int) -> Patch:
    return [
        {"op": "test", "path": "/spec/holderIdentity", "value": holder},
        {"op": "test", "path": "/spec/leaseTransitions", "value": transitions},
    ]


def _spec(lease: Lease) -> Mapping[str, Any]:
    return lease.get("spec") or {}


def _annotations(lease: Lease) -> Mapping[str, Any]:
    return lease["metadata"].get("annotations") or {}

"""Which limits hold here: those of the cluster, or those of this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from typing import Protocol

from headrace.errors import UsageError
from headrace.limits.cluster import ClusterLimits, Place
from headrace.limits.demand import Demand
from headrace.limits.holding import Held
from headrace.limits.local import LOCAL_LIMITS_ENV, LocalLimits, sizes_of
from headrace.limits.ways import Way
from headrace.podapi import PodApi

SLOTS_NAMESPACE_ENV = "HEADRACE_SLOTS_NAMESPACE"


class Limits(Protocol):
    """Hands out slots and starts."""

    async def acquire(self, demand: Demand, timeout_s: float | None, way: Way) -> Held:
        """
        Every slot of the demand, at once.

        Raises: TimedOut: not within `timeout_s` (None waits for ever); LimitUnusable: never, as things are.
        """

    async def release(self, held: Held, way: Way) -> None:
        """Gives every slot back; what is lost already is left alone."""

    async def start(self, limit: str, count: int, timeout_s: float | None, way: Way) -> None:
        """Returns when `count` more may start by the limit's rate; they are counted. Raises: as acquire."""


def limits_here() -> Limits:
    """
    The limits that hold for this process.

    Raises: UsageError: it runs in a pod that may not use the API, or the environment says something impossible.
    """
    variables = os.environ
    if variables.get(SLOTS_NAMESPACE_ENV):
        return _cluster(place_of(variables), PodApi.from_environment(variables))
    if variables.get("HEADRACE_FLOW_RUN_UID"):
        raise UsageError(
            f"{SLOTS_NAMESPACE_ENV} is not set: concurrency() and rate_limit() need the Kubernetes API; set "
            "spec.apiAccess: Enabled on the Flow"
        )
    return _local(variables.get(LOCAL_LIMITS_ENV, ""))


def place_of(variables: Mapping[str, str]) -> Place:
    """Where this pod says it is. Raises: UsageError: it does not say so."""
    names = (SLOTS_NAMESPACE_ENV, "HEADRACE_NAMESPACE", "HEADRACE_POD_NAME", "HEADRACE_POD_UID")
    missing = [name for name in names if not variables.get(name)]
    if missing:
        raise UsageError(
            f"{', '.join(missing)} not set, and {SLOTS_NAMESPACE_ENV} is; the operator sets all of them where "
            "spec.apiAccess is Enabled; look at the pod's environment"
        )
    return Place(*(variables[name] for name in names))


@cache
def _cluster(place: Place, api: PodApi) -> ClusterLimits:
    """One for the process: its blocks share a watch and a thread that renews."""
    return ClusterLimits(api, place)


@cache
def _local(sizes: str) -> LocalLimits:
    return LocalLimits(sizes_of(sizes))

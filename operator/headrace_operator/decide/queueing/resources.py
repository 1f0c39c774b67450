"""
What is scarce, each thing by its name, and what a demand needs of it.

What only the run's own team or time can free is waited for first; only then the run stands in line for what all
share. So a run that waits for hours for its deployment, or for the next minute's starts, holds back nobody's slots,
and one that waits for slots keeps what it has come by on the way.

    its deployment and its namespace's quota ─> rates ─> slots and a pool, together
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.queueing.terms import Demand, Slots
from headrace_operator.decide.snapshot import ObjectKey

Amount = int | Decimal
Kind = Literal["deployment", "quota", "rate", "slots", "runs", "requests"]

ANYWHERE: Final = None
"""The pool of a run that needs none."""
NAMES: Final = 4096
"""Of deployments, namespaces, limits and pools, whose resources are kept: each run asks for its own a dozen times."""


class Resource(NamedTuple):
    """
    One countable thing.

    Args:
        owner: The deployment, or the name of the namespace, limit or pool.
        unit: The resource of the pods that is counted ("memory"), for requests in a pool.
    """

    kind: Kind
    owner: ObjectKey | str
    unit: str = ""


Need = tuple[Resource, Amount]
Needs = tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class PoolNeeds:
    """What a run needs in one of the pools that fit it."""

    pool: str | None
    needs: Needs


@dataclass(frozen=True, slots=True)
class Requirements:
    """
    A demand, thing by thing.

    Args:
        own: A slot of its deployment, a place in its namespace's quota.
        rates: Starts, one under each rate.
        slots: Slots that it has no Lease of yet.
        pools: Ways to be placed, best first; ANYWHERE asks for nothing; none at all: no pool fits.
    """

    own: Needs
    rates: Needs
    slots: Needs
    pools: tuple[PoolNeeds, ...]

    @property
    def shared(self) -> tuple[Resource, ...]:
        """What namespaces share fairly among them."""
        in_pools = (resource for pool in self.pools for resource, _ in pool.needs)
        return (*(resource for resource, _ in self.slots), *in_pools)


@lru_cache(maxsize=NAMES)
def deployment_slot(deployment: ObjectKey) -> Resource:
    """A slot of a deployment's own limit."""
    return Resource("deployment", deployment)


@lru_cache(maxsize=NAMES)
def quota_of(namespace: str) -> Resource:
    """The active runs of a namespace."""
    return Resource("quota", namespace)


@lru_cache(maxsize=NAMES)
def rate_of(limit: str) -> Resource:
    """The starts that a ConcurrencyLimit lets through."""
    return Resource("rate", limit)


@lru_cache(maxsize=NAMES)
def slots_of(limit: str) -> Resource:
    """The slots of a ConcurrencyLimit."""
    return Resource("slots", limit)


@lru_cache(maxsize=NAMES)
def runs_in(pool: str) -> Resource:
    """The active runs of a WorkPool."""
    return Resource("runs", pool)


def room_in(pool: str | None, requests: Amounts) -> Needs:
    """What a pod with these requests takes up in the pool; nothing outside of pools."""
    if pool is ANYWHERE:
        return ()
    return ((runs_in(pool), 1), *((Resource("requests", pool, unit), amount) for unit, amount in requests))


def requirements(demand: Demand, slots: Slots) -> Requirements:
    """What the demand comes to, where `slots` are those that it has no Lease of yet."""
    deployment: Needs = ((deployment_slot(demand.deployment), 1),) if demand.deployment is not None else ()
    quota: Needs = ((quota_of(demand.run.namespace), 1),) if demand.counts else ()
    pools = (ANYWHERE,) if demand.pools is None else demand.pools
    return Requirements(
        own=(*deployment, *quota),
        rates=tuple((rate_of(limit), 1) for limit in demand.rates),
        slots=tuple((slots_of(limit), count) for limit, count in slots if count),
        pools=tuple(PoolNeeds(pool, room_in(pool, demand.requests)) for pool in pools),
    )

"""
Where a run goes: the WorkPools that it may use and that take its pod, the cheapest first.

    all pools ─> allowed (names, labels, spot, namespace) ─> large enough ─> by price
                    none: PoolNotFound                        none: NoPoolFits

A pod that finds no node in its pool for too long is taken back, and the run goes to the next pool (`falls_over`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from headrace.api.common import PoolChoice
from headrace.api.conditions import Reason
from headrace.api.workpool import Pricing, WorkPoolSpec
from headrace_operator.decide.errors import InvalidQuantity
from headrace_operator.decide.quantities import Amounts, format_amount, parse_quantity
from headrace_operator.decide.snapshot import Attempt, Blocked, Placement

EVERYWHERE: Final = frozenset({"cpu", "memory", "ephemeral-storage"})
"""Every node has them, so that a pool need not name them."""

LISTED: Final = 5
"""Pools that a message names."""

GIB: Final = 2**30
RECLAIMED: Final[frozenset[str]] = frozenset(
    {Reason.EVICTED, Reason.NODE_LOST, Reason.NODE_SHUTDOWN, Reason.PREEMPTED, Reason.POD_LOST}
)
"""How attempts end whose spot node was reclaimed, as far as the cluster tells."""


@dataclass(frozen=True, slots=True)
class Pool:
    """
    A WorkPool. Made by `pool_of`.

    Args:
        spec: None where it cannot be read: nothing fits it then.
        largest: The largest pod that it takes, by resource; None: any pod that asks for what every node has.
        caps: What all of its pods may ask for together.
    """

    name: str
    labels: Mapping[str, str]
    spec: WorkPoolSpec | None
    largest: Mapping[str, Decimal] | None = None
    caps: Mapping[str, Decimal] = field(default_factory=dict)

    @property
    def spot(self) -> bool:
        """Whether its nodes can be reclaimed."""
        return self.spec is not None and self.spec.spot


def pool_of(name: str, labels: Mapping[str, str], spec: WorkPoolSpec | None) -> Pool:
    """The pool, its amounts read; one with an amount that is none counts as unreadable."""
    if spec is None:
        return Pool(name, labels, None)
    try:
        largest = None if spec.max_pod_resources is None else _read(spec.max_pod_resources)
        caps = _read(spec.capacity.resources if spec.capacity else {})
    except InvalidQuantity:
        return Pool(name, labels, None)
    return Pool(name, labels, spec, largest, caps)


def _read(quantities: Mapping[str, str | int]) -> Mapping[str, Decimal]:
    return {name: parse_quantity(value) for name, value in quantities.items()}


@dataclass(frozen=True, slots=True)
class Tenant:
    """The namespace of a run; `labels` are what pools choose namespaces by."""

    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Candidates:
    """
    Where a run may go.

    Args:
        pools: Best first; None: there is no WorkPool in the cluster, and the scheduler places pods.
        problem: Why there is none; set if `pools` is empty.
    """

    pools: tuple[str, ...] | None
    problem: Blocked | None = None


def candidates(
    pools: Iterable[Pool],
    choice: PoolChoice | None,
    tenant: Tenant,
    *,
    requests: Amounts,
    avoided: frozenset[str] = frozenset(),
    lost_on_spot: bool = False,
) -> Candidates:
    """
    The pools for a pod with these requests.

    Args:
        choice: What the task, the Deployment or the Flow allows; None: every pool.
        avoided: Pools that had no node for the run; left out as long as another one fits.
        lost_on_spot: It lost an attempt to a reclaimed node: pools of other nodes go first.
    """
    known = sorted(pools, key=lambda pool: pool.name)
    if not known:
        return Candidates(None)
    choice = choice or PoolChoice()
    allowed = [pool for pool in known if _refusal(pool, choice, tenant) is None]
    if not allowed:
        return Candidates((), _none_allowed(known, choice, tenant))
    fitting = [pool for pool in allowed if not _lacks(pool, requests)]
    if not fitting:
        return Candidates((), _none_fits(allowed, requests))
    untried = [pool for pool in fitting if pool.name not in avoided] or fitting
    best_first = sorted(untried, key=lambda pool: (lost_on_spot and pool.spot, *_cost_order(pool, requests)))
    return Candidates(tuple(pool.name for pool in best_first))


def fallen_over_from(attempts: Sequence[Attempt]) -> frozenset[str]:
    """Pools that had no node for the run since it last ran."""
    pools = set()
    for attempt in reversed(attempts):
        if attempt.reason == Reason.POOL_UNAVAILABLE and attempt.pool is not None:
            pools.add(attempt.pool)
        elif attempt.started_at is not None:
            break
    return frozenset(pools)


def was_lost_on_spot(attempts: Iterable[Attempt], spot_pools: Iterable[str]) -> bool:
    """Whether an attempt ended as those do whose node was reclaimed, in one of these pools."""
    spot = frozenset(spot_pools)
    return any(attempt.pool in spot and attempt.reason in RECLAIMED for attempt in attempts)


def placement_of(pool: Pool | None, found: Candidates, attempts: Sequence[Attempt]) -> Placement | None:
    """
    Where the current pod is, and where else it could be; None where it is in no pool, or in one that cannot be read.

    Args:
        found: The candidates for the pod's requests.
    """
    if pool is None or pool.spec is None:
        return None
    tried = fallen_over_from(attempts) | {pool.name}
    others = tuple(name for name in found.pools or () if name not in tried)
    return Placement(pool.name, float(pool.spec.schedule_timeout_seconds), others)


@dataclass(frozen=True, slots=True)
class FallOver:
    """A pod that found no node is taken back at `due`; `message` says from where to where, and why."""

    due: datetime
    message: str


def falls_over(placement: Placement | None, *, created: datetime, refused: str) -> FallOver | None:
    """
    When an unschedulable pod leaves its pool; None where it has nowhere else to go, and so waits on.

    Args:
        created: Of the pod.
        refused: Why no node takes it, a sentence.
    """
    if placement is None or not placement.others:
        return None
    message = (
        f'WorkPool "{placement.pool}" had no node for it within {placement.timeout_s:g} s ({refused}); '
        f'the next attempt goes to "{placement.others[0]}"'
    )
    return FallOver(created + timedelta(seconds=placement.timeout_s), message)


def _refusal(pool: Pool, choice: PoolChoice, tenant: Tenant) -> str | None:
    """Why the run may not use the pool; None if it may."""
    if not choice.allows(pool.name, pool.labels, spot=False):
        return "is not among those that pools allows"
    if not choice.allows(pool.name, pool.labels, spot=pool.spot):
        return "has spot nodes, which pools.spot forbids"
    namespaces = pool.spec.namespaces if pool.spec else None
    if namespaces is not None and not namespaces.matches(tenant.labels):
        return f"does not serve namespace {tenant.name} (spec.namespaces)"
    return None


def _none_allowed(pools: list[Pool], choice: PoolChoice, tenant: Tenant) -> Blocked:
    there = {pool.name for pool in pools}
    missing = [f'there is no WorkPool "{name}"' for name in choice.names if name not in there]
    chosen = [pool for pool in pools if choice.allows(pool.name, pool.labels, spot=False)]
    refused = [f'WorkPool "{pool.name}" {_refusal(pool, choice, tenant)}' for pool in chosen]
    why = _listed(missing + refused) or "no WorkPool has the labels that pools.selector asks for"
    known = ", ".join(f'"{pool.name}"' for pool in pools[:LISTED])
    message = f"{why}; change pools of the Flow or Deployment (there are: {known}), or ask who runs the cluster"
    return Blocked(Reason.POOL_NOT_FOUND, message)


def _lacks(pool: Pool, requests: Amounts) -> list[str]:
    """What the pool cannot give to one pod, a phrase each."""
    if pool.spec is None:
        return ["cannot be read: see its condition Ready"]
    found = (_short_of(name, asked, pool.largest) or _above_cap(name, asked, pool.caps) for name, asked in requests)
    return [lack for lack in found if lack]


def _short_of(name: str, asked: Decimal, largest: Mapping[str, Decimal] | None) -> str | None:
    amount = format_amount(name, asked)
    if largest is None or name not in largest:
        return None if name in EVERYWHERE else f"has no {name}, {amount} asked"
    if asked <= largest[name]:
        return None
    return f"takes pods of {name} {format_amount(name, largest[name])} at most, {amount} asked"


def _above_cap(name: str, asked: Decimal, caps: Mapping[str, Decimal]) -> str | None:
    if name not in caps or asked <= caps[name]:
        return None
    cap, amount = format_amount(name, caps[name]), format_amount(name, asked)
    return f"has {name} {cap} for all its pods together, {amount} asked"


def _none_fits(pools: list[Pool], requests: Amounts) -> Blocked:
    told = _listed([f'WorkPool "{pool.name}" {_lacks(pool, requests)[0]}' for pool in pools])
    message = f"{told}; lower spec.resources, allow a larger WorkPool in pools, or add one"
    return Blocked(Reason.NO_POOL_FITS, message)


def _listed(phrases: list[str]) -> str:
    more = f", and {len(phrases) - LISTED} more" if len(phrases) > LISTED else ""
    return ", ".join(phrases[:LISTED]) + more


def _cost_order(pool: Pool, requests: Amounts) -> tuple[bool, Decimal, Decimal, str]:
    """Cheapest for this pod first; where that is equal, the cheaper nodes; without a price last."""
    pricing = pool.spec.pricing if pool.spec else None
    if pool.spec is None or pricing is None:
        return (True, Decimal(0), Decimal(0), pool.name)
    return (False, price_per_hour(pool, requests) or Decimal(0), _list_price(pricing), pool.name)


def price_per_hour(pool: Pool, requests: Amounts) -> Decimal | None:
    """What a pod with these requests costs in the pool for an hour, in the pool's currency; None if that is unknown."""
    pricing = pool.spec.pricing if pool.spec else None
    if pricing is None:
        return None
    if pricing.per_hour is not None:
        return _price(pricing.per_hour) * _share(requests, pool.largest or {})
    asked = dict(requests)
    gpus = sum((amount for name, amount in requests if name.endswith("/gpu")), Decimal(0))
    return (
        _price(pricing.cpu_hour) * asked.get("cpu", Decimal(0))
        + _price(pricing.memory_gib_hour) * asked.get("memory", Decimal(0)) / GIB
        + _price(pricing.gpu_hour) * gpus
    )


def _share(requests: Amounts, largest: Mapping[str, Decimal]) -> Decimal:
    """
    The largest part of a node that the pod takes of any resource; 0 where it asks for none of what is named.

    It takes no more than a node: a pod that asks for more began before the pool was told to take smaller ones only.
    """
    asked = dict(requests)
    shares = [asked[name] / amount for name, amount in largest.items() if name in asked and amount]
    return min(max(shares, default=Decimal(0)), Decimal(1))


def _list_price(pricing: Pricing) -> Decimal:
    parts = (pricing.per_hour, pricing.cpu_hour, pricing.memory_gib_hour, pricing.gpu_hour)
    return sum(map(_price, parts), Decimal(0))


def _price(value: float | None) -> Decimal:
    return Decimal(str(value or 0))

"""
What a run waits for, in words.

No count that changes with each run that ends: the message is written to the run's status, once per cause.
"""

from __future__ import annotations

from headrace.api.conditions import Reason
from headrace_operator.decide.queueing.resources import Amount, Resource
from headrace_operator.decide.queueing.terms import Demand, LimitTerms
from headrace_operator.decide.snapshot import Blocked

NO_DEPLOYMENT_SLOT = Blocked(
    Reason.WAITING_FOR_SLOT, "waits for a slot of its deployment (spec.concurrency.limit of the Deployment)"
)


def limit_not_found(limit: str) -> Blocked:
    """A name in spec.limits that means nothing yet."""
    return Blocked(
        Reason.LIMIT_NOT_FOUND,
        f'spec.limits names ConcurrencyLimit "{limit}", which is not there; create it, or take it out of spec.limits',
    )


def limit_too_small(limit: str, *, asked: int, slots: int) -> Blocked:
    """More is asked than there will ever be, at this size."""
    return Blocked(
        Reason.LIMIT_TOO_SMALL,
        f'the run needs {asked} slots of ConcurrencyLimit "{limit}", which has {slots}; '
        "ask for fewer in spec.limits, or raise the limit's spec.slots",
    )


def pools_not_found(demand: Demand) -> Blocked:
    """Every pool that was found for it is gone."""
    return Blocked(
        Reason.POOL_NOT_FOUND,
        f"{_pools(demand)} {'is' if _one(demand) else 'are'} not there any more; create it, or change spec.pools",
    )


def no_pool_fits(demand: Demand) -> Blocked:
    """What it requests exceeds the whole capacity of each."""
    if demand.pools_problem is not None:
        return demand.pools_problem
    if not demand.pools:
        return Blocked(Reason.NO_POOL_FITS, "no WorkPool fits; lower spec.resources, or add a larger pool")
    return Blocked(
        Reason.NO_POOL_FITS,
        f"the run requests more than the whole capacity of {_pools(demand)}; "
        "lower spec.resources.requests, or raise the pool's spec.capacity",
    )


def waits_for_quota(namespace: str, quota: Amount | None) -> Blocked:
    """The namespace's own bound."""
    return Blocked(
        Reason.WAITING_FOR_QUOTA,
        f'namespace "{namespace}" may have {quota} active runs (its annotation headrace.dev/max-active-runs); '
        "wait for one to end, or have it raised",
    )


def waits_for_rate(limit: str, terms: LimitTerms | None) -> Blocked:
    """The bound of starts in time."""
    rate = terms.rate if terms is not None else None
    pace = f" {rate.count} starts in {rate.per_s:g} s" if rate is not None and rate.count else " no more starts"
    return Blocked(
        Reason.WAITING_FOR_RATE,
        f'ConcurrencyLimit "{limit}" lets through{pace}; the run starts when its turn comes, or raise spec.rate',
    )


def waits_for_slots(limit: str, asked: int) -> Blocked:
    """Slots in others' hands."""
    slots = "a slot" if asked == 1 else f"{asked} slots"
    return Blocked(
        Reason.WAITING_FOR_LIMIT,
        f'waits for {slots} of ConcurrencyLimit "{limit}"; kubectl get cl {limit} -o yaml tells who holds them',
    )


def waits_for_pool(demand: Demand) -> Blocked:
    """Pools that fit, all full."""
    return Blocked(
        Reason.WAITING_FOR_POOL,
        f"waits for room in {_pools(demand)}; raise its spec.capacity, or let the flow use others (spec.pools)",
    )


def waits_for(resource: Resource, demand: Demand, terms: LimitTerms | None, capacity: Amount | None) -> Blocked:
    """
    What to say of a run that is stopped by this resource.

    Args:
        terms: Of the ConcurrencyLimit that the resource belongs to, if it does.
        capacity: How much there is of the resource.
    """
    owner = str(resource.owner)
    match resource.kind:
        case "deployment":
            return NO_DEPLOYMENT_SLOT
        case "quota":
            return waits_for_quota(owner, capacity)
        case "rate":
            return waits_for_rate(owner, terms)
        case "slots":
            return waits_for_slots(owner, dict(demand.limits)[owner])
        case _:
            return waits_for_pool(demand)


def _pools(demand: Demand) -> str:
    names = ", ".join(f'"{pool}"' for pool in demand.pools or ())
    return f"WorkPool {names}" if _one(demand) else f"the WorkPools {names}"


def _one(demand: Demand) -> bool:
    return len(demand.pools or ()) == 1

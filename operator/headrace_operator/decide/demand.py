"""What a run needs before its next pod may be made: the demand that it takes to the board."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.api.common import LabelSelector, PoolChoice, Preemption
from headrace_operator.decide.placement import (
    Candidates,
    Pool,
    Tenant,
    candidates,
    fallen_over_from,
    was_lost_on_spot,
)
from headrace_operator.decide.quantities import Amounts
from headrace_operator.decide.queueing.terms import Demand, Slots
from headrace_operator.decide.snapshot import ObjectKey, ResolvedFlow, Snapshot


@dataclass(frozen=True, slots=True)
class LimitView:
    """
    A ConcurrencyLimit, as far as a demand goes.

    Args:
        has_slots: Runs hold slots of it.
        has_rate: It bounds how often runs start.
        selector: Picks the runs that are held to it without naming it. None: none.
    """

    name: str
    has_slots: bool
    has_rate: bool
    selector: LabelSelector | None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """
    What there is beside the run.

    Args:
        limits: Every ConcurrencyLimit that can be read.
        pools: Every WorkPool.
        held: Slots that the run holds by Lease, by limit.
        parents: Of a remote task: the run that waits for it, and whoever waits for that one.
    """

    limits: tuple[LimitView, ...]
    pools: tuple[Pool, ...]
    tenant: Tenant
    held: Mapping[str, int]
    labels: Mapping[str, str]
    parents: tuple[ObjectKey, ...] = ()


@dataclass(frozen=True, slots=True)
class Wish:
    """
    What a run takes to the gate.

    Args:
        demand: What it lacks.
        limits: All slots that it is to hold by Lease when its pod is made, those that it holds already among them.
    """

    demand: Demand
    limits: Slots

    @property
    def rates(self) -> tuple[str, ...]:
        """The limits whose rate its start counts in."""
        return self.demand.rates


def wish_of(seen: Snapshot, flow: ResolvedFlow, around: Surroundings, *, priority: int, requests: Amounts) -> Wish:
    """
    The wish of a run that nothing but its turn holds back.

    Args:
        around: Its `labels` are the run's, its Deployment's and its Flow's, in this order of precedence.
        requests: What its next pod asks for.
    """
    wanted, rates = required_limits(seen, flow, around)
    found = pools_for(seen, flow, around, requests)
    demand = Demand(
        run=seen.run.key,
        uid=seen.run.uid,
        due=seen.run.due,
        priority=priority,
        deployment=seen.deployment.key if seen.deployment and not seen.admitted else None,
        # What a run that is not admitted has by Lease, an operator before us took for it: the board knows of it.
        limits=_lacking(wanted, around.held if seen.admitted else {}),
        rates=rates,
        pools=found.pools,
        pools_problem=found.problem,
        requests=requests if found.pools else (),
        # The parent of a task counts for both: it could not go on while its task waits for its own place.
        counts=not seen.admitted and seen.run.task is None,
        preempts=bool(seen.deployment and seen.deployment.spec.preemption is Preemption.LOWER_PRIORITY),
        parents=around.parents,
    )
    return Wish(demand, tuple(sorted(wanted.items())))


def required_limits(seen: Snapshot, flow: ResolvedFlow, around: Surroundings) -> tuple[dict[str, int], tuple[str, ...]]:
    """
    The slots that the run holds while it is active, by limit, and the limits whose rate its start counts in.

    A task of another run needs none: its parent holds them while it waits for the task.
    """
    if seen.run.task is not None:
        return {}, ()
    known = {limit.name: limit for limit in around.limits}
    named = {limit.name: limit.slots for limit in flow.spec.limits}
    if seen.deployment:
        named |= {limit.name: limit.slots for limit in seen.deployment.spec.limits}
    picked = {limit.name: 1 for limit in around.limits if limit.selector and limit.selector.matches(around.labels)}
    every = picked | named
    # A name that nobody knows stays among them: the run waits, and says for what.
    slots = {name: count for name, count in every.items() if name not in known or known[name].has_slots}
    return slots, tuple(sorted(name for name in every if name in known and known[name].has_rate))


def pools_for(seen: Snapshot, flow: ResolvedFlow, around: Surroundings, requests: Amounts) -> Candidates:
    """The WorkPools that the run's next pod may go to, best first."""
    attempts = seen.run.status.attempts
    return candidates(
        around.pools,
        pool_choice(seen, flow),
        around.tenant,
        requests=requests,
        avoided=fallen_over_from(attempts),
        lost_on_spot=was_lost_on_spot(attempts, (pool.name for pool in around.pools if pool.spot)),
    )


def pool_choice(seen: Snapshot, flow: ResolvedFlow) -> PoolChoice | None:
    """What the task says, else the Deployment, else the Flow; None: every pool is allowed."""
    if seen.run.task is not None and seen.run.task.pools is not None:
        return seen.run.task.pools
    return (seen.deployment.spec.pools if seen.deployment else None) or flow.spec.pools


def _lacking(wanted: Mapping[str, int], held: Mapping[str, int]) -> Slots:
    missing = {name: count - held.get(name, 0) for name, count in wanted.items()}
    return tuple(sorted((name, count) for name, count in missing.items() if count > 0))

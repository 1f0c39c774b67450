"""
What the API would say, kept as naively as can be, and admission worked out from it the slow way.

Every figure is added up anew from plain lists each time it is asked for; every waiting run is looked at, not heads of
lines. The board must come to the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.queueing.terms import Demand, Holding, LimitTerms, PoolTerms
from headrace_operator.decide.snapshot import ObjectKey
from tests.unit.headrace_operator.decide.queueing.demands import NOON

Thing = tuple[str, ...]
Uses = Counter[tuple[str, Thing]]


def holder(run: ObjectKey, uid: str) -> str:
    return f"run/{run.namespace}/{run.name}/{uid}"


@dataclass
class World:
    """Everything that outlives a process, and the grants of the one that lives."""

    now: datetime = NOON
    limits: dict[str, LimitTerms] = field(default_factory=dict)
    pools: dict[str, PoolTerms] = field(default_factory=dict)
    deployments: dict[ObjectKey, int] = field(default_factory=dict)
    quotas: dict[str, int | None] = field(default_factory=dict)
    weights: dict[str, float] = field(default_factory=dict)
    leases: dict[str, dict[str, int]] = field(default_factory=dict)
    starts: dict[str, list[datetime]] = field(default_factory=dict)
    holdings: dict[ObjectKey, Holding] = field(default_factory=dict)
    waiting: dict[ObjectKey, Demand] = field(default_factory=dict)
    granted: dict[ObjectKey, tuple[Demand, str | None]] = field(default_factory=dict)
    to_start: dict[ObjectKey, tuple[str, ...]] = field(default_factory=dict)  # granted, and not stored yet

    def board(self) -> Board:
        """A new process: it is told what the API says, and the grants of the last one are lost."""
        board = Board()
        for name, limit in self.limits.items():
            board.set_limit(name, limit)
        for name, pool in self.pools.items():
            board.set_pool(name, pool)
        for key, count in self.deployments.items():
            board.set_deployment(key, count)
        for namespace in self.quotas | self.weights:
            board.set_namespace(namespace, quota=self.quotas.get(namespace), weight=self.weights.get(namespace, 1.0))
        for demand in self.waiting.values():
            board.enrol(demand)
        for name, holders in self.leases.items():
            board.set_leases(name, holders)
        for name, starts in self.starts.items():
            board.set_starts(name, tuple(starts))
        for run, held in self.holdings.items():
            board.hold(run, held)
        return board

    def charged(self, limit: str) -> Counter[str]:
        """Slots by holder, as holdings and grants say."""
        slots: Counter[str] = Counter()
        for run, held in self.holdings.items():
            for name, count in held.limits:
                if name == limit:
                    slots[holder(run, held.uid)] += count
        for run, (demand, _) in self.granted.items():
            for name, count in demand.limits:
                if name == limit:
                    slots[holder(run, demand.uid)] += count
        return slots

    def owned(self, demand: Demand, limit: str) -> int:
        """Slots of the limit that the run has Leases of and is not charged with."""
        signed = holder(demand.run, demand.uid)
        leased = self.leases.get(limit, {}).get(signed, 0)
        more = leased - self.charged(limit)[signed] if leased else 0
        return min(max(0, more), dict(demand.limits)[limit])

    def uses(self) -> Uses:
        """What each namespace uses of each thing."""
        uses: Uses = Counter()
        for limit in {*self.limits, *self.leases, *(name for name, _ in self._all_slots())}:
            charged, leased = self.charged(limit), self.leases.get(limit, {})
            for signed in charged.keys() | leased.keys():
                uses[signed.split("/")[1], ("slots", limit)] += max(charged[signed], leased.get(signed, 0))
        for run, held in self.holdings.items():
            _use(uses, run, held.deployment, held.pool, dict(held.requests), counts=held.counts)
        for run, (demand, pool) in self.granted.items():
            _use(uses, run, demand.deployment, pool, dict(demand.requests), counts=demand.counts)
        return uses

    def _all_slots(self) -> list[tuple[str, int]]:
        holdings = [slots for held in self.holdings.values() for slots in held.limits]
        return holdings + [slots for demand, _ in self.granted.values() for slots in demand.limits]

    def size(self, thing: Thing) -> int | Decimal | None:
        """How much there is of it; None for no bound."""
        kind, *owner = thing
        match kind:
            case "deployment":
                return self.deployments.get(ObjectKey(*owner))
            case "quota":
                return self.quotas.get(owner[0])
            case "slots":
                return self.limits[owner[0]].slots if owner[0] in self.limits else None
            case "rate":
                rate = self.limits[owner[0]].rate
                return None if rate is None else rate.count
            case "runs":
                return self.pools[owner[0]].runs if owner[0] in self.pools else None
            case _:
                pool = self.pools.get(owner[0], PoolTerms())
                return dict(pool.resources).get(owner[1])

    def used(self, thing: Thing, uses: Uses) -> int | Decimal:
        """How much of it is used, by all."""
        if thing[0] == "rate":
            return self.starts_within(thing[1]) + sum(thing[1] in rates for rates in self.to_start.values())
        return sum(amount for (_, used), amount in uses.items() if used == thing)

    def starts_within(self, limit: str) -> int:
        """Stored starts within the window that ends now."""
        rate = self.limits[limit].rate
        if rate is None:
            return 0
        begin = self.now - timedelta(seconds=rate.per_s)
        return sum(start > begin for start in self.starts.get(limit, ()))

    def hopeless(self, demand: Demand) -> bool:
        """Whether it cannot be met at the present sizes, whoever ends."""
        if any(limit not in self.limits for limit in (*dict(demand.limits), *demand.rates)):
            return True
        if any(_above(asked, self.limits[limit].slots) for limit, asked in demand.limits):
            return True
        return demand.pools is not None and not any(self.takes(pool, demand) for pool in demand.pools)

    def takes(self, pool: str, demand: Demand) -> bool:
        """Whether the pool could take the run if it were empty."""
        needs = _in_pool(pool, demand)
        return pool in self.pools and not any(_above(amount, self.size(thing)) for thing, amount in needs.items())

    def rank(self, demand: Demand, uses: Uses) -> tuple[int, bool, float, datetime, ObjectKey]:
        """Smaller goes first."""
        keeps = self.keeps(demand)
        asked: list[Thing] = [("slots", limit) for limit, _ in demand.limits]
        asked += [thing for pool in demand.pools or () for thing in _in_pool(pool, demand)]
        namespace = demand.run.namespace
        parts = [float(uses[namespace, thing] / size) for thing in asked if (size := self.size(thing))]
        share = max(parts, default=0.0) / self.weights.get(namespace, 1.0)
        return -demand.priority, not keeps, share, demand.due, demand.run

    def keeps(self, demand: Demand) -> bool:
        """Whether it holds something while it waits."""
        return not demand.counts or any(self.owned(demand, limit) for limit, _ in demand.limits)

    def held_by_waiting(self, waiting: Iterable[Demand]) -> set[Thing]:
        """Slots, and pools, that are held by those who wait for more, or for a task."""
        keepers = [demand for demand in waiting if self.keeps(demand)]
        owned = {("slots", limit) for demand in keepers for limit, _ in demand.limits if self.owned(demand, limit)}
        runs = [run for demand in keepers for run in (demand.run, *demand.parents)]
        held = [self.holdings[run] for run in runs if run in self.holdings]
        slots = {("slots", limit) for holding in held for limit, _ in holding.limits}
        return owned | slots | {("runs", holding.pool) for holding in held if holding.pool is not None}

    def in_order(self, demands: Iterable[Demand]) -> tuple[list[Demand], Uses]:
        """Who goes first now, and the use that this rests on."""
        uses = self.uses()
        return sorted(demands, key=lambda demand: self.rank(demand, uses)), uses

    def give(self, demand: Demand, pool: str | None) -> None:
        """Charge a grant."""
        self.granted[demand.run] = (demand, pool)
        if demand.rates:
            self.to_start[demand.run] = demand.rates

    def admit(self) -> list[tuple[ObjectKey, str | None]]:
        """Who is let in, in order; this world is left as it was."""
        trial = replace(self, granted=dict(self.granted), to_start=dict(self.to_start))
        claims = _Claims(), _Claims()
        given: list[tuple[ObjectKey, str | None]] = []
        left, uses = trial.in_order(self.waiting.values())
        refused: list[Demand] = []
        while left:
            demand = left.pop(0)
            stuck = trial.held_by_waiting([demand, *left, *refused])
            pools = _Look(trial, demand, uses, *claims, stuck).outcome()
            if not pools:
                refused.append(demand)
            for pool in pools:
                trial.give(demand, pool)
                given.append((demand.run, pool))
                left, uses = trial.in_order(left)
        return given


@dataclass
class _Claims:
    closed: set[Thing] = field(default_factory=set)
    kept: Counter[Thing] = field(default_factory=Counter)


@dataclass
class _Look:
    """One waiting run, looked at in its turn."""

    world: World
    demand: Demand
    uses: Uses
    for_all: _Claims
    for_new: _Claims
    stuck: set[Thing]

    @property
    def closed(self) -> set[Thing]:
        """To this one."""
        return self.for_all.closed | (set() if self.world.keeps(self.demand) else self.for_new.closed)

    @property
    def kept(self) -> Counter[Thing]:
        """From this one."""
        return self.for_all.kept + (Counter() if self.world.keeps(self.demand) else self.for_new.kept)

    def outcome(self) -> list[str | None]:
        """The pool where it may start, None standing for anywhere; empty if it must wait."""
        demand = self.demand
        own: Counter[Thing] = Counter()
        if demand.deployment is not None:
            own["deployment", *demand.deployment] = 1
        if demand.counts:
            own["quota", demand.run.namespace] = 1
        if self.world.hopeless(demand) or self.short(own):
            return []
        rates: Counter[Thing] = Counter({("rate", limit): 1 for limit in demand.rates})
        if self.closed & rates.keys():
            return []
        if short := self.short(rates):
            self.wait(short, own + rates)
            return []
        return self.shared(own + rates)

    def shared(self, before: Counter[Thing]) -> list[str | None]:
        demand, world = self.demand, self.world
        slots: Counter[Thing] = Counter(
            {("slots", limit): n - world.owned(demand, limit) for limit, n in demand.limits}
        )
        slots = +slots
        choices: list[str | None] = [None]
        if demand.pools is not None:
            choices = [pool for pool in demand.pools if world.takes(pool, demand)]
        choices = [pool for pool in choices if not self.closed & _in_pool(pool, demand).keys()]
        if not choices or self.closed & slots.keys():
            return []
        roomy = [pool for pool in choices if not self.short(_in_pool(pool, demand))]
        short = self.short(slots)
        if roomy and not short:
            return roomy[:1]
        if not roomy:
            short = short.union(*(self.short(_in_pool(pool, demand)) for pool in choices))
        self.wait(short, before + slots + _in_pool((roomy or choices)[0], demand))
        return []

    def short(self, needs: Counter[Thing]) -> set[Thing]:
        """Of which of these there is too little, what is kept for others left alone."""
        world = self.world
        return {
            thing
            for thing, amount in needs.items()
            if _above(world.used(thing, self.uses) + self.kept[thing] + amount, world.size(thing))
        }

    def wait(self, short: set[Thing], needs: Counter[Thing]) -> None:
        """First in line for these."""
        groups = {("runs", thing[1]) if thing[0] == "requests" else thing for thing in short}
        claims = self.for_new if groups & self.stuck else self.for_all
        claims.closed |= short
        for thing in needs.keys() - claims.closed:
            claims.kept[thing] += needs[thing]


def _use(
    uses: Uses,
    run: ObjectKey,
    deployment: ObjectKey | None,
    pool: str | None,
    requests: dict[str, Decimal],
    *,
    counts: bool,
) -> None:
    if deployment is not None:
        uses[run.namespace, ("deployment", *deployment)] += 1
    if counts:
        uses[run.namespace, ("quota", run.namespace)] += 1
    if pool is not None:
        uses[run.namespace, ("runs", pool)] += 1
        for unit, amount in requests.items():
            uses[run.namespace, ("requests", pool, unit)] += amount  # type: ignore[assignment]


def _in_pool(pool: str | None, demand: Demand) -> Counter[Thing]:
    needs: Counter[Thing] = Counter()
    if pool is not None:
        needs["runs", pool] = 1
        for unit, amount in demand.requests:
            needs["requests", pool, unit] = amount  # type: ignore[assignment]
    return needs


def _above(amount: int | Decimal, size: int | Decimal | None) -> bool:
    return size is not None and amount > size

"""What every reconcile is given."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

from headrace_operator.apply.flow_run import RunApplier
from headrace_operator.apply.queries import Queries
from headrace_operator.apply.webhooks import Webhooks
from headrace_operator.decide.queueing.board import Board
from headrace_operator.decide.sharding import EVERYTHING, Share
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.kube.cluster import Cluster
from headrace_operator.observe.flow_run import RunObserver
from headrace_operator.observe.gate import Gate
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.revisions import Revisions
from headrace_operator.observe.slots import Slots
from headrace_operator.observe.tallies import Tallies
from headrace_operator.observe.vacancies import Vacancies
from headrace_operator.settings import Settings
from headrace_operator.telemetry.metrics import Metrics

Clock = Callable[[], datetime]
"""Returns the present instant, aware, in UTC."""


@dataclass(frozen=True, slots=True)
class Context:
    """The operator's parts, as `wiring.py` puts them together."""

    settings: Settings
    cluster: Cluster
    clock: Clock
    monotonic: Callable[[], float]
    intake: Intake
    revisions: Revisions
    runs: RunObserver
    applier: RunApplier
    metrics: Metrics
    webhooks: Webhooks
    """What Automations send."""
    queries: Queries
    """What Automations ask."""
    share: Share = EVERYTHING
    tallies: Tallies = field(default_factory=Tallies)
    """What other shards count; the first shard tells of all."""
    vacancies: Vacancies = field(default_factory=Vacancies)

    @property
    def gate(self) -> Gate:
        """Where runs ask for their turn."""
        return self.intake.gate

    @property
    def board(self) -> Board:
        """Who holds what, and who waits for what."""
        return self.intake.gate.board

    @property
    def slots(self) -> Slots:
        """The Leases of ConcurrencyLimits."""
        return self.intake.gate.slots


Reconcile = Callable[[Context, ObjectKey], Awaitable[float | None]]
"""Brings one object one step on; seconds until the next look, None if only events call for one."""


def seconds_until(instant: datetime | None, now: datetime) -> float | None:
    """From now to then, never negative; None for None."""
    return None if instant is None else max(0.0, (instant - now).total_seconds())

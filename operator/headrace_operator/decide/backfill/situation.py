"""What a Backfill's decision rests on, and what follows from it at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from headrace.api.backfill import BackfillSpec, BackfillStatus
from headrace.api.conditions import Reason
from headrace.api.money import Cost
from headrace_operator.decide.backfill.noted import EndedRun, Noted
from headrace_operator.decide.backfill.pace import Bucket
from headrace_operator.decide.snapshot import ConditionView, ObjectKey

Problem = tuple[Reason, str]


@dataclass(frozen=True, slots=True)
class ActiveRun:
    """A run of the Backfill that is not known to have ended; `cancel`: its end was asked for."""

    key: ObjectKey
    uid: str
    position: int
    number: int
    cancel: bool = False


@dataclass(frozen=True, slots=True)
class BackfillSnapshot:
    """
    All that a Backfill's decision rests on.

    Args:
        spec, total, noted: None where they cannot be read; `problem` says why.
        total: Partitions that there are.
        status: As the API has it; `noted` is what it tells of partitions, `status_bytes` its size there.
        deployment_problem: Why no run can be created, None if one can.
        ended: Runs that the status does not tell; others may be among them.
        blocked: Positions whose runs cannot be created, and when to try again.
        unsure_until: Creations had no answer: until then runs may come that are not known.
        is_complete: The runs that had finished before the start are known.
        is_store_full: Too many finished runs wait for the history store.
        undeleted: Finished runs that are still in the API, beside as many as spec.keepFailed keeps.
        last_created: When the latest run was created that is known.
        bucket: Of the rate, as the last pass left it. None: this is the first pass.
        written_at: When the status was written last. None: not by this process.
        status_delay_s: By how much writes of the status are put off, to gather ends; more for a large one.
        holds_untold: The history store lacks some of its runs, which would go with it, or its Deployment's status does not count them yet.
    """

    key: ObjectKey
    uid: str
    generation: int
    spec: BackfillSpec | None
    total: int | None
    problem: Problem | None
    status: BackfillStatus
    noted: Noted | None
    conditions: tuple[ConditionView, ...] = ()
    deployment_problem: Problem | None = None
    active: tuple[ActiveRun, ...] = ()
    ended: tuple[EndedRun, ...] = ()
    blocked: Mapping[int, datetime] = field(default_factory=dict)
    unsure_until: datetime | None = None
    is_complete: bool = True
    is_store_full: bool = False
    undeleted: int = 0
    last_created: datetime | None = None
    bucket: Bucket | None = None
    written_at: datetime | None = None
    status_delay_s: float = 1.0
    status_bytes: int = 0
    holds_untold: bool = False


@dataclass(frozen=True, slots=True)
class Situation:
    """The snapshot, and what follows from it: `after` is what the status tells once it is written."""

    seen: BackfillSnapshot
    spec: BackfillSpec
    total: int
    held: Noted
    after: Noted
    active: tuple[ActiveRun, ...]
    cost: Cost | None
    now: datetime

    @property
    def over(self) -> int:
        """Partitions that are over."""
        return len(self.after.over)

    @property
    def is_draining(self) -> bool:
        """Whether a re-run waits for the runs of the one before: their numbers must not be taken for old ones."""
        wanted = self.spec.rerun_failed > self.held.round and not self.spec.cancel
        return wanted and (
            self.seen.unsure_until is not None
            or not self.seen.is_complete
            or any(run.position in self.held.outcomes.again for run in self.active)
        )

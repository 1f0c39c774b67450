"""
Backfills, and of their runs no more than their decisions need.

    stream of runs, answers to our writes ──> under way ──> ended, not noted ──> noted in the Backfill's status
                                                  └── left: ended or deleted, which of the two is being asked ──┘

A run is under way until its end, or its deletion, is certain: its partition is not created a second time meanwhile.
What is held does not grow with the number of partitions: runs under way, and ends that the status does not tell yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from headrace.api.backfill import Backfill, BackfillSpec, BackfillStatus
from headrace.api.conditions import Phase, Reason
from headrace.backfills.outcomes import InvalidOutcomes, decoded
from headrace_operator.decide.backfill.errors import InvalidBackfill
from headrace_operator.decide.backfill.noted import EndedRun, Noted, noted_in
from headrace_operator.decide.backfill.pace import Bucket
from headrace_operator.decide.backfill.partitions import Partitions
from headrace_operator.decide.backfill.situation import ActiveRun, Problem
from headrace_operator.decide.snapshot import ConditionView, ObjectKey, PartitionRef, Run
from headrace_operator.observe.gone import Gone
from headrace_operator.observe.parse import EPOCH, conditions_from, instant, object_key, version_of
from headrace_operator.observe.records import has_spec_of, tell
from headrace_operator.observe.workkeys import Kind, Waker, WorkKey

GATHER_S: Final = 0.05
"""Ends of runs are gathered for so long before the next runs are made: several at a time are cheaper than each by itself."""


@dataclass(frozen=True, slots=True)
class BackfillRecord:
    """
    A Backfill. `spec`, `partitions` or `noted` is None and `problem` says why where it cannot be used.

    Args:
        status: As it was read; `stored` is the same as the API has it.
        noted: What the status tells of partitions.
    """

    key: ObjectKey
    uid: str
    version: int
    generation: int
    created: datetime
    deleting: bool
    spec: BackfillSpec | None
    partitions: Partitions | None
    spec_problem: Problem | None
    status: BackfillStatus
    noted: Noted | None
    status_problem: Problem | None
    conditions: tuple[ConditionView, ...]
    stored: Mapping[str, Any]
    status_bytes: int

    @property
    def problem(self) -> Problem | None:
        """Why it cannot be used, None if it can."""
        return self.spec_problem or self.status_problem

    def tells(self, run: PartitionRef | None) -> bool:
        """Whether the status tells how this run of it ended."""
        if run is None or run.uid != self.uid or self.noted is None:
            return False
        return self.noted.tells(run.position, run.number)


@dataclass(slots=True)
class Runs:
    """
    The runs of one Backfill, and what this process remembers of its own doing.

    Args:
        active: By name: those that are not known to have ended.
        ended: By uid: those that ended, or were deleted, and are not noted.
        unknown: Names whose creation had no answer, and since when: the run may be there, or come.
        blocked: Positions of partitions whose run has a name that is another's, and when to try again.
        last_created: When the latest run was created.
        bucket: What is left of the rate.
        written_at: When the status was written last.
    """

    active: dict[str, ActiveRun] = field(default_factory=dict)
    ended: dict[str, EndedRun] = field(default_factory=dict)
    unknown: dict[str, datetime] = field(default_factory=dict)
    blocked: dict[int, datetime] = field(default_factory=dict)
    last_created: datetime | None = None
    bucket: Bucket | None = None
    written_at: datetime | None = None


class Backfills:
    """Belongs to one event loop; what is read together is true together."""

    def __init__(self, waker: Waker) -> None:
        self.held: dict[ObjectKey, BackfillRecord] = {}
        self._waker = waker
        self._runs: dict[str, Runs] = {}
        self._gone = Gone()

    def seen(self, obj: dict[str, Any]) -> None:
        """A Backfill is there, or has changed: what its status tells is noted."""
        uid = obj["metadata"]["uid"]
        old = self.held.get(object_key(obj))
        if uid in self._gone or (old is not None and old.version >= version_of(obj)):
            return
        if old is not None and old.uid != uid:  # deleted and made anew, its end unseen
            self._forget(old.uid)
        record = backfill_record(obj, old)
        self.held[record.key] = record
        self._note(record)
        self._waker.add(WorkKey(Kind.BACKFILL, record.key))
        self._waker.add(WorkKey(Kind.BACKFILL_RETENTION, record.key))

    def gone(self, key: ObjectKey, uid: str) -> None:
        """A Backfill was deleted; its runs go with it by owner reference."""
        self._forget(uid)
        record = self.held.get(key)
        if record is not None and record.uid == uid:
            del self.held[key]
            self._waker.add(WorkKey(Kind.BACKFILL, key))  # its metrics go with it

    def run_seen(self, run: Run) -> None:
        """A run of a Backfill is there, or has changed, or has ended."""
        partition = run.partition
        if partition is None or partition.uid in self._gone:
            return
        runs = self.runs(partition.uid)
        runs.unknown.pop(run.key.name, None)
        if runs.last_created is None or runs.last_created < run.created:
            runs.last_created = run.created
        before = runs.active.get(run.key.name)
        if before is not None and before.uid != run.uid:
            self._deleted(runs, before)
        if run.finished:
            self._ended(runs, run, partition)
        elif run.uid not in runs.ended:
            runs.active[run.key.name] = ActiveRun(
                run.key, run.uid, partition.position, partition.number, cancel=run.cancel or run.deleting
            )
            if before is None:
                self._wake(run.key.namespace, partition)

    def run_deleted(self, key: ObjectKey, uid: str) -> None:
        """A run that was under way is confirmed to be gone: it was deleted before its end."""
        for backfill, runs in self._runs.items():
            run = runs.active.get(key.name)
            if run is not None and run.uid == uid and run.key == key:
                self._deleted(runs, run)
                for record in self.held.values():
                    if record.uid == backfill:
                        self._waker.add(WorkKey(Kind.BACKFILL, record.key))

    def runs(self, uid: str) -> Runs:
        """Those of one Backfill, which may be changed in place."""
        return self._runs.setdefault(uid, Runs())

    def of_deployment(self, deployment: ObjectKey) -> Iterator[ObjectKey]:
        """The Backfills that run it."""
        for key, record in self.held.items():
            if (
                key.namespace == deployment.namespace
                and record.spec
                and record.spec.deployment_ref.name == deployment.name
            ):
                yield key

    def wake_of_deployment(self, deployment: ObjectKey) -> None:
        """The Deployment came, went or changed, or has counted ends: its Backfills may go on, and their runs go."""
        for key in self.of_deployment(deployment):
            self._waker.add(WorkKey(Kind.BACKFILL, key))
            self._waker.add(WorkKey(Kind.BACKFILL_RETENTION, key))

    def wake(self, key: ObjectKey) -> None:
        """Have it looked at again."""
        self._waker.add(WorkKey(Kind.BACKFILL, key))

    def wake_all(self) -> None:
        """All that are held: at the start, and when the runs that had finished before it are known."""
        for key in self.held:
            self._waker.add(WorkKey(Kind.BACKFILL, key))

    def _note(self, record: BackfillRecord) -> None:
        if record.noted is None:
            return
        ended = self.runs(record.uid).ended
        for uid in [uid for uid, run in ended.items() if record.noted.tells(run.position, run.number)]:
            del ended[uid]

    def _ended(self, runs: Runs, run: Run, partition: PartitionRef) -> None:
        runs.active.pop(run.key.name, None)
        record = self._record(run.key.namespace, partition)
        if record is not None and record.tells(partition):
            return
        runs.ended[run.uid] = EndedRun(
            key=run.key,
            uid=run.uid,
            position=partition.position,
            number=partition.number,
            phase=run.status.phase or Phase.CANCELLED,
            reason=run.status.reason or "",
            finished_at=run.status.finished_at or run.created,
            cost=run.status.cost,
        )
        self._wake(run.key.namespace, partition)

    def _deleted(self, runs: Runs, run: ActiveRun) -> None:
        runs.active.pop(run.key.name, None)
        runs.ended[run.uid] = EndedRun(
            key=run.key,
            uid=run.uid,
            position=run.position,
            number=run.number,
            phase=Phase.CANCELLED,
            reason=Reason.RUN_DELETED,
            finished_at=runs.last_created or EPOCH,
        )

    def _record(self, namespace: str, partition: PartitionRef) -> BackfillRecord | None:
        record = self.held.get(ObjectKey(namespace, partition.backfill))
        return record if record is not None and record.uid == partition.uid else None

    def _wake(self, namespace: str, partition: PartitionRef) -> None:
        self._waker.add(WorkKey(Kind.BACKFILL, ObjectKey(namespace, partition.backfill)), GATHER_S)

    def _forget(self, uid: str) -> None:
        self._gone.add(uid)
        self._runs.pop(uid, None)


def backfill_record(obj: dict[str, Any], before: BackfillRecord | None = None) -> BackfillRecord:
    """
    A Backfill as it is held; one that breaks its model, or a rule that a model cannot check, is held with its problem.

    Args:
        before: As it was held: partitions are not worked out again after each write of the status.
    """
    metadata, stored = obj["metadata"], obj.get("status") or {}
    if before is not None and has_spec_of(before, obj):
        spec, partitions, problem = before.spec, before.partitions, before.spec_problem
    else:
        spec, partitions, problem = _spec_of(obj)
    status, noted, unreadable = _status_of(stored)
    if noted is not None and partitions is not None:
        unreadable = _recounted(status, partitions) or _beyond(noted, partitions)
        noted = None if unreadable else noted
    return BackfillRecord(
        key=object_key(obj),
        uid=metadata["uid"],
        version=version_of(obj),
        generation=int(metadata.get("generation") or 0),
        created=instant(metadata.get("creationTimestamp")) or EPOCH,
        deleting=metadata.get("deletionTimestamp") is not None,
        spec=spec,
        partitions=partitions,
        spec_problem=problem,
        status=status,
        noted=noted,
        status_problem=unreadable,
        conditions=conditions_from(stored),
        stored=stored,
        status_bytes=_size(stored),
    )


def _spec_of(obj: Mapping[str, Any]) -> tuple[BackfillSpec | None, Partitions | None, Problem | None]:
    try:
        spec = Backfill.model_validate({**obj, "status": None}).spec
    except ValidationError as error:
        return None, None, (Reason.INVALID_SPEC, tell(error))
    try:
        return spec, Partitions.of(spec), None
    except InvalidBackfill as error:
        return spec, None, (Reason.INVALID_SPEC, str(error))


def _recounted(status: BackfillStatus, partitions: Partitions) -> Problem | None:
    """What a position stands for rests on the number of partitions: with another one, outcomes would be told of others."""
    if status.total in {None, partitions.total}:
        return None
    told = (
        f"status.total is {status.total}, and the spec has {partitions.total} partitions: the data of its time zone have "
        "changed since, or the status was changed by hand; create a new Backfill of what is left"
    )
    return Reason.INVALID_STATUS, told


def _beyond(noted: Noted, partitions: Partitions) -> Problem | None:
    """A position that there is not would count for one that is open: the Backfill would end too early."""
    last = max(noted.over.last, noted.outcomes.again.last, *noted.retrying, -1)
    if last < partitions.total:
        return None
    told = (
        f"status.outcomes or status.retrying has position {last}, and the last partition has {partitions.total - 1}: the status "
        "was changed by hand; take it out, or create a new Backfill of what is left"
    )
    return Reason.INVALID_STATUS, told


def _status_of(stored: Mapping[str, Any]) -> tuple[BackfillStatus, Noted | None, Problem | None]:
    """A status that cannot be read must not count as empty: everything would run once more."""
    status = BackfillStatus()
    try:
        status = BackfillStatus.model_validate(stored)
        return status, noted_in(status, decoded(status.outcomes)), None
    except (ValidationError, InvalidOutcomes) as error:
        told = tell(error) if isinstance(error, ValidationError) else str(error)
        problem = f"{told}; nothing is created until the status can be read again"
        return status, None, (Reason.INVALID_STATUS, problem)


def _size(stored: Mapping[str, Any]) -> int:
    """Of the parts that grow, about."""
    outcomes = stored.get("outcomes") or {}
    texts = [*outcomes.values(), *(group.get("positions", "") for group in stored.get("retrying") or ())]
    return sum(len(text) for text in texts if isinstance(text, str))

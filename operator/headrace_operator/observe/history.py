"""Finished runs, as little of each as is needed. Filled by one paged list at start, then by our own writes."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from headrace.api.conditions import Phase
from headrace_operator.decide.circuit import COUNTING
from headrace_operator.decide.cost import expenses_of
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey, Run
from headrace_operator.observe.departures import Departures
from headrace_operator.observe.gone import Gone
from headrace_operator.observe.purses import Purses
from headrace_operator.observe.usage import Usages
from headrace_operator.observe.workkeys import Kind, WorkKey

LONG_HISTORY = 100
"""Finished runs of one owner up to which each end is looked at by itself."""
LOOK_S_PER_RUN = 1e-4
"""About ten times what a look takes: a tenth of a core at most. 10 s for 100,000 runs."""


class Owner(NamedTuple):
    """Whose history it is: a Backfill's, else a Deployment's, else that of a namespace's runs that have neither."""

    namespace: str
    deployment: str | None
    backfill: str | None = None

    @property
    def retention(self) -> WorkKey:
        """What is woken for its runs to be deleted."""
        if self.backfill is not None:
            return WorkKey(Kind.BACKFILL_RETENTION, ObjectKey(self.namespace, self.backfill))
        return WorkKey(Kind.RETENTION, ObjectKey(self.namespace, self.deployment or ""))


def owner_of_run(run: FinishedRun) -> Owner:
    """Whose history the run is in. How a Backfill's runs end counts for their Deployment all the same."""
    if run.partition is not None:
        return Owner(run.key.namespace, None, run.partition.backfill)
    return Owner(run.key.namespace, run.deployment)


def owner_of(key: ObjectKey) -> Owner:
    """The owner that a RETENTION key names: an empty name is that of runs without a Deployment."""
    return Owner(key.namespace, key.name or None)


class Unrecorded(Container[str], Protocol):
    """Uids of the finished runs that wait until the history store has their records: no such run is deleted."""

    @property
    def given_up(self) -> Container[str]:
        """Those that are deleted at the end of their time to live all the same."""

    @property
    def is_full(self) -> bool:
        """Whether so many wait that no runs should be made which can be made later."""

    def finished(self, run: FinishedRun, obj: Mapping[str, Any] | None) -> None:
        """It has ended; `obj` is the whole of it, if that is at hand."""

    def deleted(self, run: FinishedRun) -> None:
        """It is not in the API any more."""


class NoStore(frozenset[str]):
    """No history store is set: no run waits for one."""

    given_up: Container[str] = frozenset()
    is_full = False

    def finished(self, run: FinishedRun, obj: Mapping[str, Any] | None) -> None:
        """Nothing is to be recorded."""

    def deleted(self, run: FinishedRun) -> None:
        """Nothing is lost."""


class History:
    """
    Finished runs by owner; `is_complete` once those that finished before the start were read.

    Args:
        unrecorded: Is told of every run that ends. None: there is no history store.
    """

    def __init__(self, unrecorded: Unrecorded | None = None) -> None:
        self.unrecorded: Unrecorded = NoStore() if unrecorded is None else unrecorded
        self.is_complete = False
        self.departures = Departures()
        self.purses = Purses()
        self.usages = Usages()
        self._ends: dict[Owner, dict[str, FinishedRun]] = {}
        self._by_owner: dict[Owner, dict[ObjectKey, FinishedRun]] = {}
        self._uids: dict[ObjectKey, str] = {}
        self._last: dict[Owner, FinishedRun] = {}
        self._gone = Gone()

    def put(
        self,
        run: Run,
        obj: Mapping[str, Any] | None = None,
        *,
        is_recorded: bool = False,
        was_under_way: bool = False,
    ) -> Owner | None:
        """
        Remember a finished run; its owner, None if it is not finished.

        Args:
            obj: The whole of it, for its record.
            is_recorded: The history store has its record already.
            was_under_way: It was known before, and had not finished.
        """
        if not run.finished or run.status.phase is None:
            return None
        record = _finished_run(run, run.status.phase)
        if not self.has_finished(run.key, run.uid):
            if not is_recorded:
                self.unrecorded.finished(record, obj)
            if not self._was_let_go(run, was_under_way=was_under_way):
                self._count(record)
        self.usages.put(run)
        owner, deployment = owner_of_run(record), Owner(run.key.namespace, run.deployment_ref)
        self._by_owner.setdefault(owner, {})[run.key] = record
        self._uids[run.key] = run.uid
        last = self._last.get(deployment)
        if last is None or last.finished_at <= record.finished_at:
            self._last[deployment] = record
        return owner

    def _count(self, run: FinishedRun) -> None:
        """For the budget and the circuit of its Deployment, once for each run."""
        self.purses.finished(run, is_news=self.is_complete)
        if run.phase in COUNTING:
            self._ends.setdefault(Owner(run.key.namespace, run.deployment), {})[run.uid] = run

    def _was_let_go(self, run: Run, *, was_under_way: bool) -> bool:
        """
        Whether it was deleted after its end, and somebody's finalizer keeps it: the counts name it no more.

        One that is like that at the start was counted before it was deleted, or a person deleted it.
        """
        return run.uid in self._gone or (run.deleting and not was_under_way and not self.is_complete)

    def drop(self, run: FinishedRun) -> None:
        """Forget it: it was deleted."""
        self._gone.add(run.uid)
        self.unrecorded.deleted(run)
        self.purses.retired(run)
        self._forget_ends(Owner(run.key.namespace, run.deployment), [run.uid])
        owner = owner_of_run(run)
        runs = self._by_owner.get(owner, {})
        if runs.get(run.key) != run:  # a new run of the name has ended since
            return
        del runs[run.key]
        self._uids.pop(run.key, None)
        if not runs:
            self._by_owner.pop(owner, None)

    def forget(self, run: ObjectKey, uid: str) -> None:
        """This very run was found to be deleted, if it had finished."""
        if self.has_finished(run, uid):
            for record in [runs[run] for runs in self._by_owner.values() if run in runs]:
                self.drop(record)

    def of(self, owner: Owner) -> list[FinishedRun]:
        """Every finished run of this owner."""
        return list(self._by_owner.get(owner, {}).values())

    def count(self, owner: Owner) -> int:
        """How many finished runs this owner has."""
        return len(self._by_owner.get(owner, ()))

    def look_after_s(self, owner: Owner) -> float:
        """Seconds from a run's end to the look at which runs go: it costs what the history is long, so a long one waits."""
        kept = self.count(owner)
        return 0.0 if kept < LONG_HISTORY else kept * LOOK_S_PER_RUN

    def ends(self, owner: Owner, since: datetime) -> list[FinishedRun]:
        """The owner's runs that succeeded, failed or crashed then or later; earlier ones are not asked for any more."""
        ends = self._ends.get(owner, {})
        self._forget_ends(owner, [run.uid for run in ends.values() if run.finished_at < since])
        return list(ends.values())

    def _forget_ends(self, owner: Owner, uids: Iterable[str]) -> None:
        ends = self._ends.get(owner, {})
        for uid in uids:
            ends.pop(uid, None)
        if not ends:
            self._ends.pop(owner, None)

    def is_of(self, owner: Owner, run: ObjectKey) -> bool:
        """Whether a finished run of this name and owner is known."""
        return run in self._by_owner.get(owner, ())

    def has_finished(self, run: ObjectKey, uid: str | None) -> bool:
        """Whether this very run, and not another one of its name, is known to have finished."""
        return uid is not None and self._uids.get(run) == uid

    def last(self, owner: Owner) -> FinishedRun | None:
        """The run of this owner that ended last."""
        return self._last.get(owner)

    def owners(self) -> list[Owner]:
        """All that have a history."""
        return list(self._by_owner)


def _finished_run(run: Run, phase: Phase) -> FinishedRun:
    return FinishedRun(
        key=run.key,
        uid=run.uid,
        deployment=run.deployment_ref,
        phase=phase,
        reason=run.status.reason or "",
        finished_at=run.status.finished_at or run.created,
        schedule=run.schedule,
        scheduled_time=run.scheduled_time,
        version=run.version,
        partition=run.partition,
        expenses=expenses_of(run.status.attempts),
    )

"""Which finished runs of a Backfill may be deleted."""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headrace_operator.decide.retention import FinishedRun, Keep, Retirement, retire


@dataclass(frozen=True, slots=True)
class _Either(Container[str]):
    one: Container[str]
    other: Container[str]

    def __contains__(self, uid: object) -> bool:
        return uid in self.one or uid in self.other


def retire_partition_runs(
    runs: Iterable[FinishedRun], keep: Keep, *, keep_failed: int, name_held_s: float, now: datetime
) -> Retirement:
    """
    The newest failed ones stay, and whatever is not noted yet; all others go.

    Args:
        keep: What must not go yet, whatever the counts say; its own counts are passed over.
        name_held_s: For so long after its end a run keeps its name taken. A creation whose answer was lost may still
            be on its way, and must meet the run that came of the second one.
    """
    known = list(runs)
    held_until = {run.uid: run.finished_at + timedelta(seconds=name_held_s) for run in known}
    young = {uid for uid, until in held_until.items() if until > now}
    found = retire(
        known,
        replace(keep, succeeded=0, failed=keep_failed, ttl_s=None, uncounted=_Either(keep.uncounted, young)),
        now,
    )
    return Retirement(found.delete, min((held_until[uid] for uid in young), default=None))

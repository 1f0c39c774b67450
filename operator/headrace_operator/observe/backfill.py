"""One Backfill's snapshot, from what is held alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.api.conditions import Reason
from headrace_operator.decide.backfill.situation import BackfillSnapshot, Problem
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.backfills import BackfillRecord, Runs
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.deployment import uncounted_runs
from headrace_operator.observe.history import History, Owner
from headrace_operator.observe.intake import Intake
from headrace_operator.observe.records import DeploymentRecord
from headrace_operator.settings import Settings


def observe_backfill(intake: Intake, record: BackfillRecord, settings: Settings, now: datetime) -> BackfillSnapshot:
    """The snapshot of a Backfill."""
    runs = intake.backfills.runs(record.uid)
    history = intake.history
    return BackfillSnapshot(
        key=record.key,
        uid=record.uid,
        generation=record.generation,
        spec=record.spec,
        total=record.partitions.total if record.partitions else None,
        problem=record.problem,
        status=record.status,
        noted=record.noted,
        conditions=record.conditions,
        deployment_problem=_deployment_problem(intake.cache, record),
        active=tuple(runs.active.values()),
        ended=tuple(runs.ended.values()),
        blocked=runs.blocked,
        unsure_until=_unsure_until(runs, settings.lost_write_s, now),
        is_complete=history.is_complete,
        is_store_full=history.unrecorded.is_full,
        undeleted=undeleted(history, record),
        last_created=runs.last_created,
        bucket=runs.bucket,
        written_at=runs.written_at,
        status_delay_s=settings.status_delay_s,
        status_bytes=record.status_bytes,
        holds_untold=record.status.finished_at is not None and _holds_untold(intake, record),
    )


def undeleted(history: History, record: BackfillRecord) -> int:
    """How many of its finished runs are still in the API, beside as many as it keeps of the failed ones."""
    kept = record.spec.keep_failed if record.spec else 0
    return history.count(Owner(record.key.namespace, None, record.key.name)) - kept


def _holds_untold(intake: Intake, record: BackfillRecord) -> bool:
    history = intake.history
    finished = history.of(Owner(record.key.namespace, None, record.key.name))
    uncounted = uncounted_runs(_deployment(intake.cache, record), history)
    return any(run.uid in history.unrecorded or run.uid in uncounted for run in finished)


def _unsure_until(runs: Runs, lost_after_s: float, now: datetime) -> datetime | None:
    """A write that had no answer is given up by the API server long before the lease is over."""
    for name in [name for name, since in runs.unknown.items() if since + timedelta(seconds=lost_after_s) <= now]:
        del runs.unknown[name]
    for position in [position for position, until in runs.blocked.items() if until <= now]:
        del runs.blocked[position]
    return max(runs.unknown.values()) + timedelta(seconds=lost_after_s) if runs.unknown else None


def _deployment_problem(cache: Cache, record: BackfillRecord) -> Problem | None:
    if record.spec is None:
        return None
    namespace, name = record.key.namespace, record.spec.deployment_ref.name
    deployment = _deployment(cache, record)
    if deployment is None:
        return (
            Reason.DEPLOYMENT_NOT_FOUND,
            (
                f'spec.deploymentRef.name: there is no Deployment "{name}" (deployments.headrace.dev) in namespace {namespace}; '
                "apply it, and this Backfill goes on by itself"
            ),
        )
    if deployment.spec is None:
        return Reason.INVALID_SPEC, f"Deployment {name}: {deployment.problem}"
    return None


def _deployment(cache: Cache, record: BackfillRecord) -> DeploymentRecord | None:
    if record.spec is None:
        return None
    return cache.deployments.get(ObjectKey(record.key.namespace, record.spec.deployment_ref.name))

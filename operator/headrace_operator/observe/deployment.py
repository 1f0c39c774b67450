"""One Deployment's snapshot, from the cache alone."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ValidationError

from headrace.api.conditions import Reason
from headrace.api.deployment import MAX_ACTIVE_LISTED, ActiveRun, Circuit, DeploymentStatus
from headrace_operator.decide.circuit import circuit_limit, is_counted
from headrace_operator.decide.deployment import DeploymentSnapshot
from headrace_operator.decide.retention import FinishedRun
from headrace_operator.decide.snapshot import ObjectKey
from headrace_operator.observe.budget import attempts_payable, budget_allows, spending_of
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.history import History, Owner
from headrace_operator.observe.records import DeploymentRecord
from headrace_operator.observe.triggers import Triggers


def circuit_allows(record: DeploymentRecord, history: History) -> int | None:
    """How many runs the Deployment's circuit breaker allows to be active: 0, 1, or None for any number."""
    if record.spec is None or record.spec.circuit_breaker is None:
        return None
    circuit = record.circuit or Circuit(counted_until=record.created)
    return circuit_limit(
        circuit,
        record.spec.circuit_breaker,
        consecutive=record.status.get("consecutiveFailures") or 0,
        uncounted=history.ends(Owner(*record.key), circuit.counted_until or record.created),
        departed=history.departures.of(record.key),
    )


def uncounted_runs(record: DeploymentRecord | None, history: History) -> frozenset[str]:
    """The uids of finished runs that the Deployment's status does not count yet, be it for its circuit or for its budget."""
    if record is None or record.deleting:  # nobody will count them
        return frozenset()
    circuit = record.circuit or Circuit(counted_until=record.created)
    ends = history.ends(Owner(*record.key), circuit.counted_until or record.created)
    of_circuit = frozenset(run.uid for run in ends if not is_counted(run, circuit))
    purse = history.purses.of(record.key)
    return of_circuit if purse is None else of_circuit | purse.uncounted


def brakes_allow(record: DeploymentRecord, history: History) -> int | None:
    """
    How many runs its circuit breaker and its budget allow to be active, as far as that is known; None for any number.

    A run that its Deployment skips is skipped for what is known, and not as the operator has just begun.
    """
    bounds = (circuit_allows(record, history), attempts_payable(record, history))
    return min((bound for bound in bounds if bound is not None), default=None)


def awaits_history(record: DeploymentRecord, history: History) -> bool:
    """Whether its circuit may have to open for runs that ended before the start, which are not read yet."""
    return record.spec is not None and record.spec.circuit_breaker is not None and not history.is_complete


def runs_allowed(record: DeploymentRecord, history: History) -> int | None:
    """How many runs of the Deployment may be active: concurrency, circuit breaker, budget; None for any number."""
    if awaits_history(record, history):
        return 0
    concurrency = record.spec.concurrency if record.spec else None
    bounds = [
        concurrency.limit if concurrency else None,
        circuit_allows(record, history),
        budget_allows(record, history),
    ]
    return min((bound for bound in bounds if bound is not None), default=None)


@dataclass(frozen=True, slots=True)
class KnownRuns:
    """The names of a Deployment's FlowRuns, finished or not, as far as they are known. One of its name that is not its own is none."""

    cache: Cache
    history: History
    deployment: ObjectKey

    def __contains__(self, name: object) -> bool:
        key = ObjectKey(self.deployment.namespace, str(name))
        run = self.cache.runs.get(key)
        if run is not None:
            return run.deployment_ref == self.deployment.name
        return self.history.is_of(Owner(*self.deployment), key)


def observe_deployment(
    cache: Cache, history: History, key: ObjectKey, *, triggers: Triggers | None = None
) -> DeploymentSnapshot | None:
    """
    The snapshot of a Deployment, None where it is gone or going.

    Args:
        triggers: What is known of those of all Deployments; None: nothing.
    """
    record = cache.deployments.get(key)
    if record is None or record.deleting:
        return None
    ledger = cache.ledger(key)
    status = _status_of(record)
    return DeploymentSnapshot(
        key=key,
        uid=record.uid,
        generation=record.generation,
        created=record.created,
        spec=record.spec,
        problem=record.problem,
        flow_problem=_flow_problem(cache, record),
        conditions=record.conditions,
        memory=status.schedules,
        last_known=status.last_run,
        active=_active(cache, key),
        active_count=ledger.active_count,
        queued_count=ledger.waiting_count,
        known_runs=KnownRuns(cache, history, key),
        last_finished=history.last(Owner(key.namespace, key.name)),
        circuit=record.circuit,
        consecutive_failures=status.consecutive_failures,
        circuit_reset=record.circuit_reset,
        ended=_ended(history, record),
        spent=record.spent,
        spending=spending_of(record, history),
        triggers=triggers.sight(record) if triggers is not None else None,
    )


def _ended(history: History, record: DeploymentRecord) -> tuple[FinishedRun, ...] | None:
    """The ends that may have to be counted; None until those of before the start are known."""
    if not history.is_complete:
        return None
    counted_until = record.circuit.counted_until if record.circuit else None
    return tuple(history.ends(Owner(*record.key), counted_until or record.created))


def _status_of(record: DeploymentRecord) -> DeploymentStatus:
    """What was written before; a status that cannot be read is written anew."""
    try:
        return DeploymentStatus.model_validate(record.status)
    except ValidationError:
        return DeploymentStatus()


def _active(cache: Cache, key: ObjectKey) -> tuple[ActiveRun, ...]:
    """Oldest first, so that the list changes little from one write to the next."""
    runs = sorted((cache.runs[name] for name in cache.ledger(key).active()), key=lambda run: (run.due, run.key))
    return tuple(ActiveRun(name=run.key.name, uid=run.uid) for run in runs[:MAX_ACTIVE_LISTED])


def _flow_problem(cache: Cache, record: DeploymentRecord) -> tuple[Reason, str] | None:
    if record.spec is None:
        return None
    name = record.spec.flow_ref.name
    flow = cache.flows.get(ObjectKey(record.key.namespace, name))
    if flow is None:
        return (
            Reason.FLOW_NOT_FOUND,
            f'spec.flowRef.name: there is no Flow "{name}" in namespace {record.key.namespace}; apply it, or mend the name',
        )
    return None if flow.refusal is None else (Reason.INVALID_SPEC, f"Flow {name}: {flow.refusal}")

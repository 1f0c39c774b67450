"""
Automations, and what has happened that they wait for.

    runs, Deployments ──> occurrence ──> waits in memory ──(claimed in the status)──> a firing
                     └──> when a run will be late or long ──(then)──> occurrence

What waits in memory is found again after a restart: it derives from objects that are in the API. A namespace without Automations costs one
look into a mapping for each run.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from pydantic import ValidationError

from headrace.api.automation import AutomationSpec, AutomationStatus
from headrace.api.conditions import ConditionType
from headrace.api.keys import AUTOMATION_LABEL, FLOW_LABEL
from headrace_operator.decide.automation.expressions import InvalidExpression
from headrace_operator.decide.automation.judging import Outcome
from headrace_operator.decide.automation.kubernetes_events import Told, event_occurrence
from headrace_operator.decide.automation.occurrences import (
    CircuitView,
    Occurrence,
    circuit_occurrence,
    overdue_at,
    overdue_occurrence,
    run_occurrence,
)
from headrace_operator.decide.automation.rules import Rules, TooManyHoles, rules_of
from headrace_operator.decide.conditions import find_condition
from headrace_operator.decide.snapshot import ConditionView, ObjectKey, Run
from headrace_operator.observe.cache import Cache
from headrace_operator.observe.gone import Gone
from headrace_operator.observe.parse import EPOCH, instant, object_key, version_of
from headrace_operator.observe.records import LimitRecord
from headrace_operator.observe.subscriptions import Subscriptions
from headrace_operator.observe.triggers import Triggers
from headrace_operator.observe.workkeys import Kind, Waker, WorkKey

MAX_WAITING: Final = 1000
"""Occurrences of one Automation that wait for their turn; what is above is dropped, as by its rate limit."""

SLACK: Final = 100


@dataclass(frozen=True, slots=True)
class AutomationRecord:
    """
    An Automation. `rules` is None and `problem` says why where its spec cannot be used.

    Args:
        stored: Its status as the API has it; `status` is the same as it was understood.
    """

    key: ObjectKey
    uid: str
    version: int
    generation: int
    created: datetime
    deleting: bool
    rules: Rules | None
    problem: str | None
    status: AutomationStatus
    stored: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SecretsLook:
    """
    What was found when an Automation's Secrets were read.

    Args:
        generation: That of the spec which names them.
        problem: Why one cannot be had, None if all can.
    """

    generation: int
    at: datetime
    problem: str | None


@dataclass(slots=True)
class Waiting:
    """
    What this process knows of one Automation beside its object.

    Args:
        occurrences: By id: those that are not judged yet.
        listed: Ids of those among them that a list told of: whoever worked before this process may have judged them.
        overdue: When each run will be late or long, by name: since which uid, and when.
        order: The same, soonest first; entries that `overdue` does not bear out are passed over.
        counts: What became of occurrences and is not in the status yet.
        counted_since: Since when there is something in `counts`.
        acted: By firing and action: actions that are done while others of their firing are not, and what went wrong with them.
        told: Occurrences of what goes on still: each is judged once.
        secrets: What was found when its Secrets were read last; None: it names none, or they were not read.
    """

    occurrences: dict[str, Occurrence] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)
    overdue: dict[ObjectKey, tuple[str, datetime]] = field(default_factory=dict)
    order: list[tuple[datetime, ObjectKey]] = field(default_factory=list)
    counts: Counter[Outcome] = field(default_factory=Counter)
    counted_since: datetime | None = None
    acted: dict[tuple[str, str], str | None] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    secrets: SecretsLook | None = None


class Automations:
    """Belongs to one event loop; what is read together is true together."""

    def __init__(self, cache: Cache, waker: Waker) -> None:
        self.held: dict[ObjectKey, AutomationRecord] = {}
        self._cache = cache
        self._waker = waker
        self._waiting: dict[str, Waiting] = {}
        self._in_namespace: dict[str, dict[ObjectKey, AutomationRecord]] = {}
        self._on_limits: set[ObjectKey] = set()
        self.subscriptions = Subscriptions()
        self._gone = Gone()
        self.triggers = Triggers(cache, waker, self.held)

    def seen(self, obj: dict[str, Any]) -> None:
        """An Automation is there, or has changed."""
        uid = obj["metadata"]["uid"]
        old = self.held.get(object_key(obj))
        if uid in self._gone or (old is not None and old.version >= version_of(obj)):
            return
        if old is not None and old.uid != uid:  # deleted and made anew, its end unseen
            self._forget(old.key, old.uid)
        record = automation_record(obj, old)
        self.held[record.key] = record
        self.triggers.automation_seen(obj)
        self._in_namespace.setdefault(record.key.namespace, {})[record.key] = record
        if old is None or old.rules is not record.rules:
            self._look_around(record)
        self._waker.add(WorkKey(Kind.AUTOMATION, record.key))

    def gone(self, key: ObjectKey, uid: str) -> None:
        """An Automation was deleted; runs that it started go on."""
        self._gone.add(uid)
        record = self.held.get(key)
        if record is not None and record.uid == uid:
            self._forget(key, uid)
            self._waker.add(WorkKey(Kind.AUTOMATION, key))  # its metrics go with it

    def run_seen(self, run: Run) -> None:
        """A FlowRun is there, or has changed, or has ended."""
        for record in self._in_namespace.get(run.key.namespace, {}).values():
            self._match(record, run)

    def run_listed(self, run: Run) -> None:
        """A FlowRun had ended before the start."""
        for record in self._in_namespace.get(run.key.namespace, {}).values():
            self._match(record, run, is_listed=True)

    def run_gone(self, key: ObjectKey) -> None:
        """A FlowRun was deleted, or has ended: it will not be late any more."""
        for record in self._in_namespace.get(key.namespace, {}).values():
            self.waiting(record.uid).overdue.pop(key, None)

    def circuit_seen(self, circuit: CircuitView) -> None:
        """A Deployment's status tells whether its circuit is open."""
        for record in self._in_namespace.get(circuit.deployment.namespace, {}).values():
            if record.rules is not None:
                self._add(record, circuit_occurrence(record.rules.spec.trigger, circuit))

    def limit_seen(self, old: LimitRecord | None, new: LimitRecord) -> None:
        """A ConcurrencyLimit is there, or has changed."""
        if (old.status if old is not None else {}).get("saturatedSince") != new.status.get("saturatedSince"):
            for key in self._on_limits:
                self.wake(key)

    def kubernetes_event_seen(self, told: Told) -> None:
        """Kubernetes has written an Event, or counts it once more."""
        for record in self._in_namespace.get(told.namespace, {}).values():
            on = record.rules.spec.trigger.kubernetes_event if record.rules is not None else None
            if on is not None and not self._is_of_own_run(record, told):
                self._add(record, event_occurrence(on, told, record.status.firings))

    def _is_of_own_run(self, record: AutomationRecord, told: Told) -> bool:
        """Whether it is about a run that the Automation started, or its pod, that is there still."""
        key = ObjectKey(told.namespace, told.regarding.get("name", ""))
        pod = self._cache.pods.get(key) if told.regarding.get("kind") == "Pod" else None
        run = self._cache.runs.get(key if pod is None else pod.run)
        return run is not None and run.labels.get(AUTOMATION_LABEL) == record.key.name

    def stand(self, record: AutomationRecord, going_on: Iterable[Occurrence]) -> None:
        """What goes on becomes an occurrence once. What has ended before it was judged is none any more."""
        waiting, now = self.waiting(record.uid), {each.id: each for each in going_on}
        for ended in waiting.told - now.keys():
            waiting.occurrences.pop(ended, None)
        waiting.told &= now.keys()
        for occurrence in now.values():
            if occurrence.id not in waiting.told:
                waiting.told.add(occurrence.id)
                self._add(record, occurrence)

    def waiting(self, uid: str) -> Waiting:
        """What is known of the Automation with this uid."""
        return self._waiting.setdefault(uid, Waiting())

    def due(self, record: AutomationRecord, now: datetime) -> datetime | None:
        """Runs that are late or long by now become occurrences; when the next one will be, None for never."""
        waiting = self.waiting(record.uid)
        while waiting.order:
            at, run_key = waiting.order[0]
            meant = waiting.overdue.get(run_key)
            run = self._cache.runs.get(run_key)
            is_true = meant is not None and meant[1] == at and run is not None and run.uid == meant[0]
            if is_true and at > now:
                return at
            heapq.heappop(waiting.order)
            if is_true and run is not None and record.rules is not None:
                del waiting.overdue[run_key]
                trigger, flow = record.rules.spec.trigger, self._flow_of(run)
                if overdue_at(trigger, record.key.name, run, flow=flow) == at:
                    self._add(record, overdue_occurrence(trigger, run, at, flow=flow))
        return None

    def wake_all(self) -> None:
        """Have each looked at."""
        for key in self.held:
            self._waker.add(WorkKey(Kind.AUTOMATION, key))

    def wake(self, key: ObjectKey, after_s: float = 0.0) -> None:
        """Have one looked at."""
        self._waker.add(WorkKey(Kind.AUTOMATION, key), after_s)

    def _look_around(self, record: AutomationRecord) -> None:
        """What was there before the Automation was, or before its spec was as it is now."""
        waiting = self.waiting(record.uid)
        waiting.overdue.clear()
        waiting.order.clear()
        waiting.occurrences.clear()
        waiting.listed.clear()
        waiting.told.clear()
        self._watch_for(record)
        if record.rules is None or record.rules.spec.trigger.webhook is not None:
            return
        for run in self._cache.runs.values():
            if run.key.namespace == record.key.namespace:
                self._match(record, run, is_listed=True)
        for circuit in self._circuits(record.key.namespace):
            self._add(record, circuit_occurrence(record.rules.spec.trigger, circuit), is_listed=True)

    def _watch_for(self, record: AutomationRecord) -> None:
        trigger = record.rules.spec.trigger if record.rules is not None else None
        on_event = trigger.kubernetes_event if trigger is not None else None
        self.subscriptions.put(record.key, on_event.type.value if on_event is not None else None)
        if trigger is not None and trigger.limit_saturated is not None:
            self._on_limits.add(record.key)
        else:
            self._on_limits.discard(record.key)

    def _circuits(self, namespace: str) -> Iterable[CircuitView]:
        for key, deployment in self._cache.deployments.items():
            circuit = circuit_view(key, deployment.uid, deployment.conditions) if key.namespace == namespace else None
            if circuit is not None:
                yield circuit

    def _match(self, record: AutomationRecord, run: Run, *, is_listed: bool = False) -> None:
        if record.rules is None:
            return
        trigger = record.rules.spec.trigger
        if trigger.run is not None:
            occurrence = run_occurrence(trigger, record.key.name, run, flow=self._flow_of(run))
            self._add(record, occurrence, is_listed=is_listed)
        elif trigger.late_run is not None or trigger.long_run is not None:
            self._expect(record, run, overdue_at(trigger, record.key.name, run, flow=self._flow_of(run)))

    def _flow_of(self, run: Run) -> str | None:
        """The Flow that it runs; a run of a Deployment that is gone may still carry its label."""
        deployment = self._cache.deployments.get(ObjectKey(run.key.namespace, run.deployment_ref or ""))
        told = deployment.spec.flow_ref.name if deployment is not None and deployment.spec is not None else None
        return run.flow_ref or told or run.labels.get(FLOW_LABEL)

    def _expect(self, record: AutomationRecord, run: Run, at: datetime | None) -> None:
        waiting = self.waiting(record.uid)
        if at is None:
            waiting.overdue.pop(run.key, None)
            return
        if record.status.since is not None and at < record.status.since:
            return
        if waiting.overdue.get(run.key) == (run.uid, at):
            return
        waiting.overdue[run.key] = (run.uid, at)
        if (
            len(waiting.order) > 2 * len(waiting.overdue) + SLACK
        ):  # most have ended, and would stay for as long as afterSeconds
            waiting.order = [(due, key) for key, (_, due) in waiting.overdue.items()]
            heapq.heapify(waiting.order)
        else:
            heapq.heappush(waiting.order, (at, run.key))
        if waiting.order[0][1] == run.key:  # it is the next one: the timer is set anew
            self._waker.add(WorkKey(Kind.AUTOMATION, record.key))

    def _add(self, record: AutomationRecord, occurrence: Occurrence | None, *, is_listed: bool = False) -> None:
        if occurrence is None or (record.status.since is not None and occurrence.at < record.status.since):
            return
        waiting = self.waiting(record.uid)
        if len(waiting.occurrences) >= MAX_WAITING and occurrence.id not in waiting.occurrences:
            waiting.counts[Outcome.THROTTLED] += not is_listed
            return
        waiting.occurrences[occurrence.id] = occurrence
        if is_listed:
            waiting.listed.add(occurrence.id)
        else:
            waiting.listed.discard(occurrence.id)
        self._waker.add(WorkKey(Kind.AUTOMATION, record.key))

    def _forget(self, key: ObjectKey, uid: str) -> None:
        self._gone.add(uid)
        self._waiting.pop(uid, None)
        self.held.pop(key, None)
        self.triggers.automation_gone(key)
        self._on_limits.discard(key)
        self.subscriptions.put(key, None)
        fellows = self._in_namespace.get(key.namespace, {})
        fellows.pop(key, None)
        if not fellows:
            self._in_namespace.pop(key.namespace, None)


def circuit_view(key: ObjectKey, uid: str, conditions: tuple[ConditionView, ...]) -> CircuitView | None:
    """What a Deployment's status tells of its circuit; None where it tells nothing."""
    found = find_condition(conditions, ConditionType.CIRCUIT_OPEN)
    return None if found is None else CircuitView(key, uid, found)


def automation_record(obj: Mapping[str, Any], old: AutomationRecord | None = None) -> AutomationRecord:
    """The record of an Automation; its spec is read anew when it has changed."""
    metadata = obj["metadata"]
    generation = int(metadata.get("generation") or 0)
    if old is not None and (old.uid, old.generation) == (metadata["uid"], generation):
        rules, problem = old.rules, old.problem
    else:
        rules, problem = _rules(obj.get("spec") or {})
    stored = obj.get("status") or {}
    return AutomationRecord(
        key=object_key(obj),
        uid=metadata["uid"],
        version=version_of(obj),
        generation=generation,
        created=instant(metadata.get("creationTimestamp")) or EPOCH,
        deleting="deletionTimestamp" in metadata,
        rules=rules,
        problem=problem,
        status=_status(stored),
        stored=stored,
    )


def _rules(spec: Mapping[str, Any]) -> tuple[Rules | None, str | None]:
    try:
        return rules_of(AutomationSpec.model_validate(spec)), None
    except ValidationError as error:
        first = error.errors()[0]
        return None, f"spec.{'.'.join(map(str, first['loc']))}: {first['msg']}; mend it"
    except InvalidExpression as error:
        return None, f"{error}; mend it (docs/automations.md tells what may be written)"
    except TooManyHoles as error:
        return None, str(error)


def _status(stored: Mapping[str, Any]) -> AutomationStatus:
    """One that cannot be read counts as that of an earlier spec: what happened until now is no event any more."""
    try:
        return AutomationStatus.model_validate(stored)
    except ValidationError:
        return AutomationStatus(observed_generation=0)

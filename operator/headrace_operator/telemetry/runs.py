"""
The metrics of runs, as they end: how many, how long, how late, at what cost.

Labels name Flows and Deployments, never runs; the run is told by an exemplar, whose `trace_id` is that of its trace. Exemplars are
in the OpenMetrics format, which Prometheus asks for where it stores them.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from headrace.api.conditions import FAILURES, Phase
from headrace_operator.decide.actions import Decision
from headrace_operator.decide.snapshot import ObjectKey, Run, RunStatus, Snapshot, Unresolved
from headrace_operator.decide.trace import trace_id

DURATION_BUCKETS_S: Final = (1, 5, 15, 60, 300, 900, 1800, 3600, 7200, 14_400, 43_200, 86_400)
WAIT_BUCKETS_S: Final = (0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900, 3600, 14_400)
TASK_OUTCOMES: Final = ("succeeded", "failed", "cached", "retried")
MOST_BROKEN: Final = 10_000
"""Flows and Deployments of which it is remembered since when they have failed."""


class RunMetrics:
    """Counts decisions about runs, each once it is written."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(name, text, ("namespace", "flow", *labels), registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(name, text, ("namespace", *labels), buckets=buckets, registry=registry)

        self._finished = counter(
            "headrace_runs_finished_total",
            "Runs that reached their last phase. phase: Succeeded, Failed, Crashed, Cancelled, Skipped; "
            "reason: those of docs/diagnosis.md.",
            "phase",
            "reason",
        )
        again = "Attempts that ended and are tried again. reason: those of docs/diagnosis.md."
        self._retried = counter("headrace_attempts_failed_total", again, "reason")
        paused = "Pauses that began. reason: AwaitingApproval, Sleeping."
        self._paused = counter("headrace_runs_paused_total", paused, "reason")
        tasks = "Tasks of runs that ended, of the last attempt. outcome: succeeded, failed, cached; retried: those of them that needed more than one try."
        self._tasks = counter("headrace_tasks_total", tasks, "outcome")
        cost = "What runs that ended have cost by the prices of their WorkPools. currency: ISO 4217."
        self._cost = counter("headrace_run_cost_total", cost, "currency")
        self._duration = histogram(
            "headrace_run_duration_seconds",
            "From the start of a run's first attempt to its end, retries and pauses included. phase: the last one.",
            "flow",
            "phase",
            buckets=DURATION_BUCKETS_S,
        )
        self._queue = histogram(
            "headrace_run_queue_seconds",
            "From the creation of a run, or the time that it is for if that is later, to the start of its first attempt; of runs that ended.",
            "flow",
            buckets=WAIT_BUCKETS_S,
        )
        self._delay = histogram(
            "headrace_schedule_delay_seconds",
            "From the time that a schedule set to the start of its run's first attempt; of runs that ended.",
            "deployment",
            buckets=WAIT_BUCKETS_S,
        )
        self._recovery = histogram(
            "headrace_recovery_seconds",
            "From the end of the first of the runs that failed in a row to the end of the one that succeeded after them; "
            "by Deployment where there is one. Failures from before the operator's start do not count.",
            "flow",
            buckets=DURATION_BUCKETS_S,
        )
        self._broken_since: OrderedDict[tuple[str, ObjectKey], datetime] = OrderedDict()

    def decided(self, seen: Snapshot, decision: Decision) -> None:
        """Count what a Decision says of the run's end, of its next attempt, or of its pause."""
        status = decision.status
        if status is None or status.phase is None:
            return
        flow = (seen.run.key.namespace, "" if isinstance(seen.flow, Unresolved) else seen.flow.name)
        if status.phase.finished and not seen.run.finished:
            self._ended(seen.run, flow, status)
        elif status.pause is not None:
            if seen.run.status.pause is None:
                self._paused.labels(*flow, status.reason or "").inc()
        elif status.next_attempt_at is not None and status.next_attempt_at != seen.run.status.next_attempt_at:
            self._retried.labels(*flow, status.reason or "").inc()

    def _ended(self, run: Run, flow: tuple[str, str], status: RunStatus) -> None:
        exemplar = {"trace_id": trace_id(run)}
        self._finished.labels(*flow, status.phase, status.reason or "").inc(exemplar=exemplar)
        for outcome in TASK_OUTCOMES if status.tasks else ():
            if count := (status.tasks or {}).get(outcome):
                self._tasks.labels(*flow, outcome).inc(count)
        if status.cost is not None:
            self._cost.labels(*flow, status.cost.currency).inc(float(status.cost.exact))
        if status.started_at is not None:
            self._began(run, flow, status.started_at, exemplar)
            if status.finished_at is not None:
                lasted = _seconds(status.started_at, status.finished_at)
                self._duration.labels(*flow, status.phase).observe(lasted, exemplar=exemplar)
        self._judge(run, flow, status)

    def _began(self, run: Run, flow: tuple[str, str], at: datetime, exemplar: dict[str, str]) -> None:
        since = max(run.created, run.scheduled_time or run.created)
        self._queue.labels(*flow).observe(_seconds(since, at), exemplar=exemplar)
        if run.schedule is not None and run.scheduled_time is not None:
            labels = (run.key.namespace, run.deployment_ref or "")
            self._delay.labels(*labels).observe(_seconds(run.scheduled_time, at), exemplar=exemplar)

    def _judge(self, run: Run, flow: tuple[str, str], status: RunStatus) -> None:
        """Remember since when its Deployment, or its Flow, has failed; tell how long that took once it succeeds."""
        if status.finished_at is None:
            return
        of = ("Deployment", run.deployment_ref) if run.deployment_ref else ("Flow", flow[1])
        key = (of[0], ObjectKey(flow[0], of[1]))
        if status.phase in FAILURES:
            self._broken_since.setdefault(key, status.finished_at)
            if len(self._broken_since) > MOST_BROKEN:
                self._broken_since.popitem(last=False)
        elif status.phase is Phase.SUCCEEDED and (since := self._broken_since.pop(key, None)) is not None:
            self._recovery.labels(*flow).observe(_seconds(since, status.finished_at))


def _seconds(since: datetime, until: datetime) -> float:
    """Not below 0: nodes have clocks of their own."""
    return max(0.0, (until - since).total_seconds())

"""What is under way, counted when Prometheus asks: between scrapes it costs nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headrace.api.conditions import Phase
from headrace.api.flow import FlowSpec
from headrace.api.keys import TEAM_LABEL, TIER_LABEL
from headrace_operator.decide.snapshot import ObjectKey, Run

OTEL_PREFIX: Final = "OTEL_EXPORTER_OTLP"
NOT_STARTED: Final = frozenset({None, Phase.PENDING})


class FlowFacts(NamedTuple):
    """What is told of a Flow. `spec` is None where it cannot be used."""

    key: ObjectKey
    labels: Mapping[str, str]
    spec: FlowSpec | None


class Held(Protocol):
    """What a replica holds of the shards that it works on; a standby holds nothing."""

    def runs(self) -> Sequence[Run]:
        """Those that have not ended, and maybe some that have."""
        ...

    def flows(self) -> Sequence[FlowFacts]:
        """Every Flow that the replica holds."""
        ...


class Standing(Collector):
    """
    Gauges over all that the operator holds.

    Prometheus asks from a thread of its own: `held` gives copies, each made in one step of the interpreter.

    Args:
        keeps_history: A history store is set.
        clock: Aware UTC.
    """

    def __init__(self, held: Held, *, keeps_history: bool, clock: Callable[[], datetime]) -> None:
        self._held = held
        self._keeps_history = keeps_history
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """The names alone: registration looks at nothing that is held."""
        yield from (_runs(), _waiting(), _late(), _flows(), _signals())

    def collect(self) -> Iterator[Metric]:
        """As Prometheus asks."""
        yield from self._of_runs([run for run in self._held.runs() if not run.finished])
        yield from self._of_flows(self._held.flows())

    def _of_runs(self, runs: list[Run]) -> Iterator[Metric]:
        phases = Counter((run.key.namespace, run.status.phase or Phase.PENDING) for run in runs)
        waiting = Counter(
            (run.key.namespace, run.status.reason or "") for run in runs if run.status.phase in NOT_STARTED
        )
        yield _filled(_runs(), phases.items())
        yield _filled(_waiting(), waiting.items())
        yield _filled(_late(), (((namespace,), late_s) for namespace, late_s in self._lateness(runs).items()))

    def _lateness(self, runs: list[Run]) -> dict[str, float]:
        now, late = self._clock(), dict.fromkeys((run.key.namespace for run in runs), 0.0)
        for run in runs:
            if run.scheduled_time is not None and run.schedule is not None and run.status.started_at is None:
                waited_s = (now - run.scheduled_time).total_seconds()
                late[run.key.namespace] = max(late[run.key.namespace], waited_s)
        return late

    def _of_flows(self, flows: Iterable[FlowFacts]) -> Iterator[Metric]:
        info, signals = _flows(), _signals()
        for flow in flows:
            info.add_metric((*flow.key, flow.labels.get(TEAM_LABEL, ""), flow.labels.get(TIER_LABEL, "")), 1)
            for signal, is_there in self._signals_of(flow).items():
                signals.add_metric((*flow.key, signal), is_there)
        yield info
        yield signals

    def _signals_of(self, flow: FlowFacts) -> dict[str, bool]:
        env = flow.spec.env if flow.spec is not None else ()
        return {
            "owner": bool(flow.labels.get(TEAM_LABEL)),
            "traces": any(variable.name.startswith(OTEL_PREFIX) for variable in env),
            "history": self._keeps_history,
            "results": flow.spec is not None and flow.spec.results is not None,
        }


def _runs() -> GaugeMetricFamily:
    text = "Runs that have not ended. phase: Pending, Running, Retrying, Paused."
    return GaugeMetricFamily("headrace_runs", text, labels=("namespace", "phase"))


def _waiting() -> GaugeMetricFamily:
    text = "Runs that have not started, by what they wait for. reason: those of docs/diagnosis.md."
    return GaugeMetricFamily("headrace_runs_waiting", text, labels=("namespace", "reason"))


def _late() -> GaugeMetricFamily:
    text = "For how many seconds the time of the latest scheduled run that has not started has passed; 0 where none is late."
    return GaugeMetricFamily("headrace_late_run_seconds", text, labels=("namespace",))


def _flows() -> GaugeMetricFamily:
    text = "1 for each Flow. team, tier: its labels headrace.dev/team and headrace.dev/tier."
    return GaugeMetricFamily("headrace_flow_info", text, labels=("namespace", "flow", "team", "tier"))


def _signals() -> GaugeMetricFamily:
    text = (
        "1 where the Flow has what is needed to look into it, else 0. signal: owner (its team is named), traces (spans are "
        "exported), history (its runs are recorded), results (they are stored)."
    )
    return GaugeMetricFamily("headrace_flow_signals", text, labels=("namespace", "flow", "signal"))


def _filled(family: GaugeMetricFamily, values: Iterable[tuple[tuple[str, ...], float]]) -> GaugeMetricFamily:
    for labels, value in values:
        family.add_metric(labels, value)
    return family

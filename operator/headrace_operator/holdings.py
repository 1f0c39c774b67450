"""What engines hold, for metrics that look at all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from headrace_operator.decide.snapshot import Run
from headrace_operator.engine import Engine
from headrace_operator.telemetry.standing import FlowFacts


class Holdings:
    """Copies of what engines hold, made in one step each: metrics are asked for in another thread."""

    def __init__(self, engines: Callable[[], Iterable[Engine]]) -> None:
        self._engines = engines

    def runs(self) -> list[Run]:
        """Those that have not ended, and some that have."""
        return [run for engine in list(self._engines()) for run in list(engine.intake.cache.runs.values())]

    def flows(self) -> list[FlowFacts]:
        """Every Flow that the engines hold."""
        records = [flow for engine in list(self._engines()) for flow in list(engine.intake.cache.flows.values())]
        return [FlowFacts(flow.key, flow.obj["metadata"].get("labels") or {}, flow.spec) for flow in records]

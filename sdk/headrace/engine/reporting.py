"""What a run tells while it goes: log events, and the figures of its tasks."""

from __future__ import annotations

import logging
from typing import Any, Final

from headrace.engine import logs
from headrace.engine.blame import traceback_text, where
from headrace.engine.scope import FlowRun, Run, TaskRun
from headrace.engine.transitions import told
from headrace.errors import RetryRun
from headrace.states import Cancelled, Crashed, Failed, Paused, Retrying, State, Succeeded

OUTCOMES: Final = {
    Succeeded: ("succeeded", logging.INFO),
    Retrying: ("retrying", logging.WARNING),
    Failed: ("failed", logging.ERROR),
    Crashed: ("crashed", logging.ERROR),
    Cancelled: ("cancelled", logging.WARNING),
    Paused: ("paused", logging.INFO),
}
"""The last word of the event, and its level, by the state after the attempt."""


def started(run: Run, *, again: bool) -> None:
    """Tells that an attempt begins."""
    logs.prepare()
    if run.watch is not None:
        run.watch.began(run)
    if not again and run.flow_run:
        _count_start(run, run.flow_run)
    if logs.LOGGER.isEnabledFor(logging.INFO):
        message = f"started, attempt {run.attempt}" if run.attempt > 1 else "started"
        logs.emit(logging.INFO, run, f"{run.description.kind}_started", message, attempt=run.attempt)
        if run.description.pod is not None and run.name == f"{run.description.name}-0" and not again:
            message = "runs in this process: it gets a pod of its own where a flow calls it in a cluster"
            logs.emit(logging.INFO, run, "task_kept_here", message)


def taken(run: TaskRun, state: Succeeded[Any]) -> None:
    """Tells that a run does not begin, as its result is there already, and counts it."""
    logs.prepare()
    if run.watch is not None:
        run.watch.began(run)
        run.watch.ended(run, state)
    if run.flow_run:
        run.flow_run.tally.taken()
    if logs.LOGGER.isEnabledFor(logging.INFO):
        logs.emit(logging.INFO, run, "task_cached", state.message)


def not_started(run: Run, state: State[Any]) -> None:
    """Tells that a run does not begin, as what it waits for did not succeed."""
    logs.prepare()
    if logs.LOGGER.isEnabledFor(logging.WARNING):
        logs.emit(logging.WARNING, run, f"{run.description.kind}_not_started", state.message)


def ended(run: Run, state: State[Any], *, attempt: int, duration_s: float) -> None:
    """Tells how an attempt ended, and counts the task run if that was its last."""
    if run.watch is not None:
        run.watch.ended(run, state)
    told_before = run.tally.culprit if isinstance(run, FlowRun) else None
    if run.flow_run and state.is_final():
        _count_end(run, run.flow_run, state, attempt)
    if isinstance(run, FlowRun) and run.session.showcase.pending:
        run.session.showcase.flush()
    word, level = OUTCOMES[shown_as(run, state)]
    if not logs.LOGGER.isEnabledFor(level):
        return
    event = f"{run.description.kind}_{word}"
    if isinstance(state, Succeeded):
        message = f"succeeded in {duration_s:.3g} s"
        logs.emit(level, run, event, message, attempt=run.attempt, duration_s=round(duration_s, 6))
        return
    facts = {"attempt": run.attempt, "duration_s": round(duration_s, 6), **_facts(state, told_before)}
    logs.emit(level, run, event, _told(state, word), **facts)


def _count_start(run: Run, flow_run: FlowRun) -> None:
    if isinstance(run, TaskRun):
        flow_run.tally.started()
    elif flow_run.parent:
        flow_run.tally.subflow_started()


def _count_end(run: Run, flow_run: FlowRun, state: State[Any], attempts: int) -> None:
    if isinstance(run, TaskRun):
        flow_run.tally.ended(run.name, state, attempts=attempts)
    elif flow_run.parent:
        flow_run.tally.subflow_ended(run.name, state)


def shown_as(run: Run, state: State[Any]) -> type[State[Any]]:
    """A flow that asks for another attempt where the operator makes it has not failed in the eyes of its reader."""
    asks = isinstance(state, Failed) and isinstance(state.exception, RetryRun)
    return Retrying if asks and isinstance(run, FlowRun) and not run.session.repeats_flows else type(state)


def _told(state: State[Any], word: str) -> str:
    if isinstance(state, Retrying):
        return f"attempt {state.attempt} failed: {state.message}; the next one starts in {state.delay_s:.3g} s"
    if isinstance(state, Cancelled):
        return state.message
    return f"{'asks for another attempt' if word == 'retrying' else word}: {state.message}"


def _facts(state: State[Any], told_before: tuple[BaseException, str] | None) -> dict[str, Any]:
    """What a failed attempt tells; the traceback is in the log already where a task or subflow has raised the same."""
    error: BaseException = state.exception  # type: ignore[attr-defined]  # every state but Succeeded has one here
    if isinstance(state, Paused):
        return {"where": where(error)}
    facts: dict[str, Any] = {"error": told(error), "where": where(error)}
    if isinstance(state, Retrying):
        facts["delay_s"] = state.delay_s
    was_told = told_before is not None and told_before[0] is error
    if isinstance(state, Failed | Crashed) and not isinstance(error, RetryRun) and not was_told:
        facts["exception"] = traceback_text(error)
    return facts

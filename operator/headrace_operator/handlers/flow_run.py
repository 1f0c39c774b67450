"""The reconcile of FlowRuns."""

from __future__ import annotations

from dataclasses import replace

import structlog

from headrace_operator.decide.actions import Decision, LaunchPod
from headrace_operator.decide.demand import wish_of
from headrace_operator.decide.lifecycle import clear_orphans, decide, decide_turn
from headrace_operator.decide.refusal import foreign_pod, pod_refused
from headrace_operator.decide.snapshot import ObjectKey, Snapshot, Turn, Unresolved
from headrace_operator.decide.trace import trace_id
from headrace_operator.errors import PodNameTakenError, PodRefusedError, SlotsTakenError
from headrace_operator.handlers.context import Context, seconds_until
from headrace_operator.observe.flow_run import Orphans

log = structlog.get_logger()

ASK_AGAIN_S = 0.2
"""A turn was lost, such as a slot to a task: the board knows by then, and has the run wait, or finds it another one."""


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring one FlowRun one step on. Returns seconds until the next look, None if nothing is due."""
    try:
        return await _reconcile(context, key)
    finally:
        context.gate.heard(key)


async def _reconcile(context: Context, key: ObjectKey) -> float | None:
    seen = await context.runs.observe(key)
    if seen is None:
        return None
    if isinstance(seen, Orphans):
        await context.applier.clear_orphans(key, clear_orphans(seen.pods))
        return None
    decision = _decided(context, seen)
    launch = next((action for action in decision.actions if isinstance(action, LaunchPod)), None)
    if launch is None:
        if isinstance(seen.turn, Turn):  # its launch had no answer, made no pod, and is not wanted any more
            await _give_up_turn(context, seen)
        elif not seen.admitted:
            # Slots that an operator before us took one by one until it died, or whose answer was lost. Two runs with a
            # part each would wait for each other, and one that is suspended now would keep them.
            await context.applier.give_back(seen)
        return await _perform(context, seen, decision)
    if launch.turn.pool is not None and context.gate.pool(launch.turn.pool) is None:  # it went since the launch began
        await _give_up_turn(context, seen)
        return ASK_AGAIN_S
    # Before anything is awaited: from now on it counts as active, whatever becomes of the launch.
    context.gate.charge(key, launch.attempt, launch.turn)
    return await _launch(context, seen, decision)


def _decided(context: Context, seen: Snapshot) -> Decision:
    """The decision; a run that needs its turn for that asks at the gate, and one that needs none leaves the line."""
    now = context.clock()
    decision = decide(seen, now)
    if not decision.asks or isinstance(seen.flow, Unresolved):
        context.gate.withdraw(seen.run.key)
        return decision
    around = context.gate.around(seen.run)
    requests = context.applier.requests(seen, seen.flow) if around.pools else ()
    wish = wish_of(seen, seen.flow, around, priority=context.intake.cache.priority_of(seen.run), requests=requests)
    turn = context.gate.ask(wish, now)
    return decision if turn is None else decide_turn(replace(seen, turn=turn), now)


async def _perform(context: Context, seen: Snapshot, decision: Decision) -> float | None:
    now = context.clock()
    await context.applier.perform(seen, decision, now)
    context.metrics.decided(seen, decision)
    _tell(seen, decision)
    return seconds_until(decision.look_again_at, now)


async def _launch(context: Context, seen: Snapshot, decision: Decision) -> float | None:
    """As `_perform`; a launch that is refused gives back what the run was given, and is told in the status."""
    try:
        await _perform(context, seen, decision)
    except SlotsTakenError:
        await _give_up_turn(context, seen)
        return ASK_AGAIN_S
    except PodRefusedError as error:
        refusal = pod_refused(seen, error.message, final=error.final, now=context.clock())
    except PodNameTakenError as error:
        refusal = foreign_pod(seen, error.name, now=context.clock())
    else:
        return seen.patience.start_s  # by then a pod that does not run yet is told of
    await _give_up_turn(context, seen)
    return await _perform(context, seen, refusal)


async def _give_up_turn(context: Context, seen: Snapshot) -> None:
    """
    Who waits holds nothing: holders that wait for each other would wait for ever. A retry keeps what it held before.

    Raises: ApiError.
    """
    context.gate.discharge(seen.run.key)
    if not seen.run.status.attempts:
        await context.applier.give_back(seen)


def _tell(seen: Snapshot, decision: Decision) -> None:
    """One line for a pass that did something; those that found nothing to do are for debugging."""
    done = [type(action).__name__ for action in (*decision.actions, *decision.afterwards)]
    phase = decision.status.phase if decision.status else None
    write = log.info if done or decision.status else log.debug
    write("run_decided", reason=decision.reason, actions=done, phase=phase, trace_id=trace_id(seen.run))

"""The reconcile of FlowRuns."""

from __future__ import annotations

import structlog

from headrace_operator.decide.actions import Decision, LaunchPod
from headrace_operator.decide.lifecycle import clear_orphans, decide
from headrace_operator.decide.refusal import foreign_pod, pod_refused
from headrace_operator.decide.snapshot import ObjectKey, Snapshot
from headrace_operator.errors import PodNameTakenError, PodRefusedError
from headrace_operator.handlers.context import Context, seconds_until
from headrace_operator.observe.flow_run import Orphans

log = structlog.get_logger()


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring one FlowRun one step on. Returns seconds until the next look, None if nothing is due."""
    seen = await context.runs.observe(key)
    if seen is None:
        return None
    if isinstance(seen, Orphans):
        await context.applier.clear_orphans(key, clear_orphans(seen.pods))
        return None
    decision = decide(seen, context.clock())
    launches = any(isinstance(action, LaunchPod) for action in decision.actions)
    if launches:  # before anything is awaited: two runs must not take one slot
        context.intake.cache.charge(key)
    return await (_launch(context, seen, decision) if launches else _perform(context, seen, decision))


async def _perform(context: Context, seen: Snapshot, decision: Decision) -> float | None:
    now = context.clock()
    await context.applier.perform(seen, decision, now)
    context.metrics.decided(seen, decision)
    _tell(decision)
    return seconds_until(decision.look_again_at, now)


async def _launch(context: Context, seen: Snapshot, decision: Decision) -> float | None:
    """As `_perform`; a pod that the API server does not take gives the slot back and is told in the status."""
    try:
        return await _perform(context, seen, decision)
    except PodRefusedError as error:
        refusal = pod_refused(seen, error.message, final=error.final, now=context.clock())
    except PodNameTakenError as error:
        refusal = foreign_pod(seen, error.name, now=context.clock())
    context.intake.cache.discharge(seen.run.key)
    return await _perform(context, seen, refusal)


def _tell(decision: Decision) -> None:
    """One line for a pass that did something; those that found nothing to do are for debugging."""
    done = [type(action).__name__ for action in (*decision.actions, *decision.afterwards)]
    phase = decision.status.phase if decision.status else None
    write = log.info if done or decision.status else log.debug
    write("run_decided", reason=decision.reason, actions=done, phase=phase)

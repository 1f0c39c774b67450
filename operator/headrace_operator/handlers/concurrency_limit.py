"""The reconcile of ConcurrencyLimits: their Leases are made to fit, holders that are over lose theirs, the status says so."""

from __future__ import annotations

from dataclasses import replace

from headrace.kubeapi.errors import NotFound
from headrace.slots import PodHolder, RunHolder, parse_holder
from headrace_operator.apply.slots import change_lease
from headrace_operator.decide.concurrency_limit import LimitDecision, LimitSnapshot, TakeBack, decide_limit
from headrace_operator.decide.settle import is_live
from headrace_operator.decide.snapshot import ObjectKey, Run
from headrace_operator.handlers.context import Context
from headrace_operator.kube.resources import CONCURRENCY_LIMITS, FLOW_RUNS
from headrace_operator.manifests.patches import status_changes
from headrace_operator.observe.parse import instant, run_from

POD_ENDS_S = 5.0
"""A deleted run's slots wait for its pod, whose end wakes nobody who knows of them. Looking costs no request."""


async def reconcile(context: Context, key: ObjectKey) -> float | None:
    """Bring one ConcurrencyLimit one step on. Returns seconds until time alone changes something, None for never."""
    offers_end_after_s = context.gate.hand_over.end_offers(key.name)
    over = {holder for holder in context.slots.holders(key.name) if await _is_over(context, holder)}
    seen = _observe(context, key, frozenset(over))
    if context.share.keeps_cluster:
        context.metrics.limits.told(seen)
    elif not over:  # nothing that is for this shard
        return POD_ENDS_S if _has_left_pods(context, seen) else None
    if not seen.exists and not seen.slots and seen.rate is None:
        return None
    decision = decide_limit(seen, context.clock(), context.monotonic())
    if not context.share.keeps_cluster:
        decision = _for_own_holders(decision, over)
    if decision.actions:
        await _perform(context, seen, decision)
        return None
    await _write_status(context, key, decision)
    pod_ends_s = POD_ENDS_S if _has_left_pods(context, seen) else None
    return _earlier(decision.look_again_after_s, pod_ends_s, offers_end_after_s)


def _for_own_holders(decision: LimitDecision, over: set[str]) -> LimitDecision:
    """Of another shard than the first: slots of its own runs and pods that are over. All else is for the first one."""
    actions = tuple(each for each in decision.actions if isinstance(each, TakeBack) and each.slot.holder in over)
    return replace(decision, actions=actions, status=None, look_again_after_s=None)


def _observe(context: Context, key: ObjectKey, over: frozenset[str]) -> LimitSnapshot:
    record = context.intake.cache.limits.get(key)
    slots = context.slots.of(key.name)
    taken = sum(bool(slot.holder) for slot in slots)
    is_free = record is not None and record.spec is not None and taken < (record.spec.slots or 0)
    return LimitSnapshot(
        name=key.name,
        exists=record is not None,
        generation=record.generation if record else 0,
        spec=record.spec if record else None,
        problem=record.problem if record else None,
        conditions=record.conditions if record else (),
        slots=slots,
        rate=context.slots.rate_of(key.name),
        waiting=context.board.waiting_for_limit(key.name) + context.tallies.waiting_for_limit(key.name),
        over=over,
        saturated_since=instant(record.status.get("saturatedSince")) if record else None,
        free_for_s=context.vacancies.free_for_s(key.name, is_free=is_free, now_s=context.monotonic()),
    )


async def _perform(context: Context, seen: LimitSnapshot, decision: LimitDecision) -> None:
    """What came of it is looked at a little later, with what else has changed by then. Raises: ApiError."""
    namespace = context.settings.operator_namespace
    is_news = False
    try:
        for action in decision.actions:
            await change_lease(context.cluster, context.slots, action, limit=seen.name, namespace=namespace)
            is_news = True
    finally:
        if is_news:  # else the pause that the API asks for would be cut short
            context.intake.slots_changed(seen.name)


async def _write_status(context: Context, key: ObjectKey, decision: LimitDecision) -> None:
    record = context.intake.cache.limits.get(key)
    if record is None or decision.status is None:
        return
    status = decision.status.model_dump(mode="json", by_alias=True, exclude_none=True)
    patch = status_changes(record.status, status, resource_version=record.version)
    if patch is not None:
        stored = await context.cluster.patch(CONCURRENCY_LIMITS, "", key.name, patch, subresource="status")
        context.intake.limit_seen(stored)


async def _is_over(context: Context, holder: str) -> bool:
    """Whether the holder is known to need its slots no more. Raises: ApiError."""
    match parse_holder(holder):
        case RunHolder() as run:
            return await _run_is_over(context, run)
        case PodHolder() as pod:
            return _pod_has_ended(context, pod)
        case _:  # somebody holds it by hand
            return False


async def _run_is_over(context: Context, holder: RunHolder) -> bool:
    """What the cache lacks is asked for before it is believed: a run may not have been heard of yet."""
    run = _run_of(context, holder)
    if not _is_served(context, holder) or (run is not None and not run.finished) or _has_live_pod(context, holder):
        return False
    if run is not None or context.intake.history.has_finished(ObjectKey(holder.namespace, holder.name), holder.uid):
        return True
    try:
        obj = await context.cluster.get(FLOW_RUNS, holder.namespace, holder.name)
    except NotFound:
        return True
    if obj["metadata"]["uid"] != holder.uid or run_from(obj).finished:
        return True
    context.intake.run_seen(obj)
    return False


def _run_of(context: Context, holder: RunHolder) -> Run | None:
    run = context.intake.cache.runs.get(ObjectKey(holder.namespace, holder.name))
    return run if run is not None and run.uid == holder.uid else None


def _is_served(context: Context, holder: RunHolder) -> bool:
    """Runs of other namespaces are for the operator, or the shard, that serves those."""
    return context.settings.namespace in {"", holder.namespace} and context.share.serves(holder.namespace)


def _has_live_pod(context: Context, holder: RunHolder) -> bool:
    pods = context.intake.cache.pods_of(ObjectKey(holder.namespace, holder.name))
    return any(pod.run_uid == holder.uid and is_live(pod) for pod in pods)


def _has_left_pods(context: Context, seen: LimitSnapshot) -> bool:
    """Whether a run that is gone holds slots for a pod that still ends."""
    holders = (parse_holder(slot.holder) for slot in seen.slots)
    runs = (holder for holder in holders if isinstance(holder, RunHolder))
    return any(_run_of(context, run) is None and _has_live_pod(context, run) for run in runs)


def _pod_has_ended(context: Context, holder: PodHolder) -> bool:
    """A pod that is merely gone may still run on a node that does not answer: its slots go when they expire."""
    pod = context.intake.cache.pods.get(ObjectKey(holder.namespace, holder.name))
    return pod is not None and pod.uid == holder.uid and not is_live(pod)


def _earlier(*delays_s: float | None) -> float | None:
    return min((delay_s for delay_s in delays_s if delay_s is not None), default=None)

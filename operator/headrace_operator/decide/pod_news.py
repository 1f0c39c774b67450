"""
Which changes of a pod can change no decision: on its way to its first process a pod is bound, prepared and told of several times, and
each of that would otherwise cost a pass, as many as all the rest of its life (`python -m bench profile`: 3 passes of 6).
"""

from __future__ import annotations

from typing import Final

from headrace_operator.decide.snapshot import Pod, Run
from headrace_operator.decide.waiting import ORDINARY_REASONS

_SAY_NOTHING: Final = frozenset({"Initialized", "ContainersReady", "PodReadyToStartContainers"})
"""Conditions of a pod that no diagnosis reads."""


def goes_without_saying(run: Run | None, before: Pod, after: Pod) -> bool:
    """
    Whether the run's decision is the same before and after: the pod starts, nothing is wrong with it, and its run has told nothing of it yet.

    A start that takes longer than a moment is looked at by the clock; from then on each change counts, as the status tells it.
    """
    return (
        run is not None
        and run.uid == after.run_uid
        and not tells_of(run, after)
        and starts_quietly(before)
        and starts_quietly(after)
    )


def tells_of(run: Run, pod: Pod) -> bool:
    """Whether the run's status has this attempt."""
    attempts = run.status.attempts
    return bool(attempts) and attempts[-1].number >= pod.attempt


def starts(pod: Pod) -> bool:
    """Whether none of its containers has run yet, as far as it tells."""
    phase: str = (pod.raw.get("status") or {}).get("phase", "Pending")
    return phase == "Pending"


def starts_quietly(pod: Pod) -> bool:
    """Whether it waits for nothing but its turn at the scheduler and the kubelet."""
    status = pod.raw.get("status") or {}
    if pod.deleting or not pod.held or not starts(pod):
        return False
    if any(not _says_nothing(condition) for condition in status.get("conditions") or ()):
        return False
    containers = (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ()))
    return all(_is_ordinary(container.get("state") or {}) for container in containers)


def _says_nothing(condition: dict[str, str]) -> bool:
    kind = condition.get("type")
    if kind == "PodScheduled":
        return condition.get("status") == "True"
    # A node that is not heard of is told by Ready without a reason.
    return kind in _SAY_NOTHING or (
        kind == "Ready" and (condition.get("status") == "True" or bool(condition.get("reason")))
    )


def _is_ordinary(state: dict[str, dict[str, str]]) -> bool:
    return set(state) <= {"waiting"} and (state.get("waiting") or {}).get("reason", "") in ORDINARY_REASONS

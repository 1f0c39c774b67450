"""
Sizes learnt from what earlier runs used: a robust percentile of the latest samples, with headroom.

    runs that ended ─> samples (the latest 50) ─> percentile x headroom, rounded up ─> memory and cpu of the status

A recommendation moves only when it would move by more than a tenth, so that it does not flap from run to run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Final

from headrace.api.common import InfrastructureRetryPolicy, Resources
from headrace.api.conditions import Reason
from headrace.api.flow import MAX_SAMPLES, LearntSize
from headrace_operator.decide.quantities import MIB, format_cpu, format_memory, parse_quantity
from headrace_operator.decide.retry import INFRASTRUCTURE_REASONS, MOVES
from headrace_operator.decide.sizing import MOST_GROWTHS, grown_memory
from headrace_operator.decide.snapshot import Attempt, RunStatus

LEAST_SAMPLES: Final = 3
HEADROOM: Final = Fraction(6, 5)
MEMORY_PERCENTILE: Final = Fraction(95, 100)
"""Too little memory ends an attempt."""
CPU_PERCENTILE: Final = Fraction(90, 100)
"""Too little CPU only makes it slower."""
MEMORY_STEP_MIB: Final = 16
CPU_STEP_MILLI: Final = 10
DEAD_BAND: Final = Fraction(1, 10)
SHORTEST_S: Final = 1.0
"""Instants in a status are whole seconds: of shorter attempts nothing better is known."""


@dataclass(frozen=True, slots=True)
class FinishedUsage:
    """
    What one run used.

    Args:
        memory_bytes: The most that its last attempt held, of those that told it.
        cpu_cores: The mean over that attempt.
        oom_kills: Attempts that were killed for want of memory.
    """

    finished_at: datetime
    memory_bytes: int | None = None
    cpu_cores: float | None = None
    oom_kills: int = 0


def usage_of(status: RunStatus) -> FinishedUsage | None:
    """What a finished run tells of its size; None if it tells nothing."""
    told = status.usage or {}
    memory, cpu_s = told.get("maxMemoryBytes"), told.get("cpuSeconds")
    attempt = _who_told(status.attempts)
    kills = sum(1 for each in status.attempts if each.reason == Reason.OOM_KILLED)
    if status.finished_at is None or (memory is None and not kills):
        return None
    return FinishedUsage(
        finished_at=status.finished_at,
        memory_bytes=None if memory is None else int(memory),
        cpu_cores=None if cpu_s is None or attempt is None else cpu_s / _duration_s(attempt),
        oom_kills=kills,
    )


def _who_told(attempts: Sequence[Attempt]) -> Attempt | None:
    """The latest attempt that ended by itself: one that was ended from outside could not tell what it used."""
    silent = INFRASTRUCTURE_REASONS | MOVES
    return next((each for each in reversed(attempts) if each.started_at and each.reason not in silent), None)


def _duration_s(attempt: Attempt) -> float:
    if attempt.started_at is None or attempt.finished_at is None:
        return SHORTEST_S
    return max(SHORTEST_S, (attempt.finished_at - attempt.started_at).total_seconds())


@dataclass(frozen=True, slots=True)
class Lesson:
    """
    One run's use, and what it had.

    Args:
        resources: What people set for it: an attempt that was killed needed more than its memory limit.
        policy: How much that limit grew after each kill.
    """

    use: FinishedUsage
    resources: Resources | None
    policy: InfrastructureRetryPolicy


def learn(seen: LearntSize | None, lessons: Iterable[Lesson]) -> LearntSize:
    """
    What is known of the flow's size now.

    Args:
        lessons: Of runs of the flow; those that had ended when it was learnt last count no more.
    """
    known = seen or LearntSize()
    new = [each for each in lessons if known.last_run_at is None or each.use.finished_at > known.last_run_at]
    if not new:
        return known
    new.sort(key=lambda lesson: lesson.use.finished_at)
    memory = (*known.memory_samples, *(sample for lesson in new for sample in _memory_mib(lesson)))[-MAX_SAMPLES:]
    told = [lesson.use.cpu_cores for lesson in new if lesson.use.cpu_cores is not None]
    cpu = (*known.cpu_samples, *(ceil(cores * 1000) for cores in told))[-MAX_SAMPLES:]
    return LearntSize(
        memory=_steady_memory(known.memory, _recommended(memory, MEMORY_PERCENTILE, MEMORY_STEP_MIB)),
        cpu=_steady_cpu(known.cpu, _recommended(cpu, CPU_PERCENTILE, CPU_STEP_MILLI)),
        memory_samples=memory,
        cpu_samples=cpu,
        last_run_at=new[-1].use.finished_at,
    )


def _memory_mib(lesson: Lesson) -> Iterator[int]:
    """What each killed attempt would have been given next, then what the run told."""
    limit = lesson.resources.limits.get("memory") if lesson.resources else None
    factor = Fraction(str(lesson.policy.memory_factor))
    for kill in range(min(lesson.use.oom_kills, MOST_GROWTHS) if limit is not None else 0):
        had = parse_quantity(grown_memory(limit or 0, lesson.policy, kill))
        yield ceil(Fraction(had) * factor / MIB)
    if lesson.use.memory_bytes is not None:
        yield ceil(lesson.use.memory_bytes / MIB)


def _recommended(samples: Sequence[int], percentile: Fraction, step: int) -> int | None:
    """By the nearest rank, with headroom, in whole steps; None from too few samples."""
    if len(samples) < LEAST_SAMPLES:
        return None
    rank = ceil(percentile * len(samples))
    return max(step, ceil(sorted(samples)[rank - 1] * HEADROOM / step) * step)


def _steady_memory(known: str | int | None, new_mib: int | None) -> str | int | None:
    new = None if new_mib is None else Decimal(new_mib) * MIB
    return known if new is None or _is_about(known, new) else format_memory(new)


def _steady_cpu(known: str | int | None, new_milli: int | None) -> str | int | None:
    new = None if new_milli is None else Decimal(new_milli) / 1000
    return known if new is None or _is_about(known, new) else format_cpu(new)


def _is_about(known: str | int | None, new: Decimal) -> bool:
    if known is None:
        return False
    before = Fraction(parse_quantity(known))
    return abs(Fraction(new) - before) <= before * DEAD_BAND

"""Where submitted tasks of a flow run. Standard library only: it is imported with `headrace`."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.errors import UsageError, shown

MAX_THREADS = 32
"""Enough to wait for many servers, few enough for a small pod."""


@dataclass(frozen=True, slots=True)
class Threads:
    """
    In threads of the flow's process: for tasks that wait for others.

    Args:
        max_workers: How many run at a time.
    Raises: UsageError: it is no whole number of at least 1.
    """

    max_workers: int = MAX_THREADS

    def __post_init__(self) -> None:
        _refuse_no_count("Threads", self.max_workers)


@dataclass(frozen=True, slots=True)
class Processes:
    """
    In processes of their own: for tasks that compute, and for those that must be stopped whatever they do.

    Args:
        max_workers: How many run at a time. None: as many as there are CPUs for this process.
    Raises: UsageError: it is no whole number of at least 1.
    """

    max_workers: int | None = None

    def __post_init__(self) -> None:
        if self.max_workers is not None:
            _refuse_no_count("Processes", self.max_workers)


def _refuse_no_count(label: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(f"{label}: max_workers is {shown(count)}, expected a whole number of at least 1")


Runner = Threads | Processes
THREADS = Threads()

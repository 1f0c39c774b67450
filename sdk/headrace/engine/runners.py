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


@dataclass(frozen=True, slots=True)
class Dask:
    """
    On a Dask cluster that is there already; needs the extra `headrace[dask]`.

    Args:
        address: Of its scheduler, such as "tcp://dask-scheduler:8786".
        max_workers: How many are sent at a time. None: as many as its workers have threads when the first is submitted.
    Raises: UsageError: the address is no text, or the count is no whole number of at least 1.
    """

    address: str
    max_workers: int | None = None

    def __post_init__(self) -> None:
        _refuse_no_address("Dask", self.address, "tcp://dask-scheduler:8786")
        if self.max_workers is not None:
            _refuse_no_count("Dask", self.max_workers)


@dataclass(frozen=True, slots=True)
class Ray:
    """
    On a Ray cluster that is there already; needs the extra `headrace[ray]`.

    Args:
        address: "ray://ray-head:10001" from anywhere; "auto", or "host:6379", on a node of the cluster.
        max_workers: How many are sent at a time. None: as many as it has CPUs when the first is submitted.
    Raises: UsageError: the address is no text, or the count is no whole number of at least 1.
    """

    address: str = "auto"
    max_workers: int | None = None

    def __post_init__(self) -> None:
        _refuse_no_address("Ray", self.address, "ray://ray-head:10001")
        if self.max_workers is not None:
            _refuse_no_count("Ray", self.max_workers)


def _refuse_no_address(label: str, address: object, such_as: str) -> None:
    if not isinstance(address, str) or not address.strip():
        raise UsageError(f'{label}: address is {shown(address)}, expected that of a cluster, such as "{such_as}"')


def _refuse_no_count(label: str, count: object) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise UsageError(f"{label}: max_workers is {shown(count)}, expected a whole number of at least 1")


Runner = Threads | Processes | Dask | Ray
THREADS = Threads()

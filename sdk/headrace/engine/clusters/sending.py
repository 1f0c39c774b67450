"""
In the flow's process: sends errands to a cluster, and waits for what comes of them.

A thread of the flow waits for each errand. Whoever waits may be interrupted, by a timeout or a cancellation: then
the cluster is told to stop it.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from typing import Any, Protocol

from headrace.engine.clusters.parcels import Answer, packed, versions, wrapped
from headrace.engine.processes.exchange import delivered, surroundings_of, write_line
from headrace.engine.scope import CURRENT, TaskRun
from headrace.engine.ways import Arguments, Blocking
from headrace.errors import ProcessFailed, UsageError

SLICE_S = 0.05
"""A thread that is to be broken off learns it at its next bytecode, so it must not wait in one piece."""


class Lost(Exception):
    """The cluster has no answer, and will have none; the text says why and what to do."""


class Job(Protocol):
    """One errand on the cluster."""

    ended: threading.Event
    """Set when there is an answer, or there will be none."""

    def answer(self) -> bytes:
        """The answer, once ended. Raises: Lost: there is none."""

    def stop(self) -> None:
        """Breaks it off, as far as the cluster can; returns at once."""


class Cluster(Protocol):
    """A connection to a cluster."""

    label: str
    """As errors tell it, such as "Dask at tcp://127.0.0.1:8786"."""
    at_a_time: int
    """How many errands it can do at a time, when it was asked; at least 1."""

    def start(self, name: str, parcel: bytes) -> Job:
        """Sends an errand, which is done once at most. Raises: Lost: it cannot be sent."""

    def close(self) -> None:
        """Lets the connection go; what runs is broken off."""


class OnCluster(Blocking):
    """The way of tasks on a cluster: a call is made there, all else happens in the thread that waits."""

    def __init__(self, connect: Callable[[], Cluster]) -> None:
        self._connect = connect
        self._cluster: Cluster | None = connect()
        self.at_a_time = self._cluster.at_a_time
        self._lock = threading.Lock()
        self._waiting = 0
        self._closed = False

    async def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """
        As promised by Way.

        Raises: ProcessFailed: the worker is lost, or its outcome cannot be sent; UsageError: the errand cannot be
        sent, or the workers have other versions.
        """
        run = CURRENT.get()
        assert isinstance(run, TaskRun)
        label = f'task "{run.name}"'
        parcel = wrapped(packed(label, function, arguments, surroundings_of(run)))
        cluster = self._entered()
        try:
            answer = _answer(cluster, run.name, label, parcel)
        finally:
            self._leave()
        for line in answer.lines:
            write_line(pickle.loads(line))  # noqa: S301 - of our own code on the cluster
        return delivered(label, _message(cluster, label, answer))

    def close(self) -> None:
        """Ends the connection when what is waited for has ended."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _entered(self) -> Cluster:
        with self._lock:
            if self._cluster is None:  # the flow is over, and this is a further attempt of a task that had begun
                self._cluster = self._connect()
            self._waiting += 1
            return self._cluster

    def _leave(self) -> None:
        with self._lock:
            self._waiting -= 1
            self._let_go()

    def _let_go(self) -> None:
        if self._closed and not self._waiting and self._cluster is not None:
            cluster, self._cluster = self._cluster, None
            cluster.close()


def _answer(cluster: Cluster, name: str, label: str, parcel: bytes) -> Answer:
    try:
        job = cluster.start(name, parcel)
        try:
            while not job.ended.wait(SLICE_S):
                pass
        except BaseException:
            job.stop()
            raise
        answer: Answer = pickle.loads(job.answer())  # noqa: S301 - of our own code on the cluster
    except Lost as lost:
        raise ProcessFailed(label, f"{cluster.label}: {lost}") from lost.__cause__
    return answer


def _message(cluster: Cluster, label: str, answer: Answer) -> tuple[Any, ...]:
    if answer.other_versions is not None:
        raise UsageError(
            f"{label}: {cluster.label} has a worker with {answer.other_versions}, and the flow has {versions()}; "
            "use the same on both sides"
        )
    if answer.begun_before:
        raise ProcessFailed(label, f"{cluster.label}: the worker that ran it is gone; see why in its log")
    message: tuple[Any, ...] = pickle.loads(answer.outcome)  # noqa: S301 - as above
    return message

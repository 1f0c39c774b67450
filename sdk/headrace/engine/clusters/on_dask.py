"""
Tasks on a Dask cluster.

Dask runs a task again, without asking, whose worker was lost. Ours run once an attempt: before it begins, an errand
puts a mark on its task in the scheduler, and one that finds the mark there does not begin.

Dask cannot stop a function that runs either. So a thread beside the errand asks the worker whether its task is still
wanted, and breaks it off at its next line of Python if not: the flow has cancelled it, or has gone away.
"""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import uuid4

from headrace.engine.clusters.parcels import Answer
from headrace.engine.clusters.sending import Lost
from headrace.engine.clusters.there import answer_to
from headrace.engine.interruption import Interruptible
from headrace.engine.transitions import told
from headrace.errors import RunCancelled, UsageError

CONNECT_S = 10.0
"""How long a scheduler may take to answer; one in the same cluster takes milliseconds."""
ASK_S = 0.2
"""How long a task may go on that nobody wants any more."""
GATHER_S = 300.0
"""How long an answer that is there may take to come over."""


class DaskCluster:
    """A connection to a scheduler."""

    def __init__(self, address: str, client: Any) -> None:
        self.label = f"Dask at {address}"
        self.at_a_time = max(1, sum(client.nthreads().values()))
        self._client = client

    def start(self, name: str, parcel: bytes) -> DaskJob:
        """As promised by Cluster."""
        key = f"headrace-{name}-{uuid4().hex}"
        try:
            future = self._client.submit(carry_out, parcel, key=key, pure=False, retries=0)
        except Exception as error:
            raise Lost(f"it takes no tasks ({told(error)}); see whether its scheduler is there") from error
        return DaskJob(future)

    def close(self) -> None:
        """As promised by Cluster."""
        self._client.close()


class DaskJob:
    """A future of Dask."""

    def __init__(self, future: Any) -> None:
        self.ended = threading.Event()
        self._future = future
        future.add_done_callback(lambda _: self.ended.set())

    def answer(self) -> bytes:
        """As promised by Job."""
        if self._future.status in {"cancelled", "lost"}:
            raise Lost("the scheduler was lost, or somebody cancelled the task there")
        try:
            answer: bytes = self._future.result(timeout=GATHER_S)
        except Exception as error:
            missing = isinstance(error, ModuleNotFoundError)
            advice = "; install headrace, and what the flow needs, on its workers" if missing else ""
            raise Lost(f"the task did not run, or its answer is lost ({told(error)}){advice}") from error
        return answer

    def stop(self) -> None:
        """As promised by Job."""
        with suppress(Exception):  # what cannot be reached stops by itself: it sees that nobody waits for it
            self._future.cancel()


def connected(address: str) -> DaskCluster:
    """
    The cluster of that scheduler.

    Raises: UsageError: distributed is not installed, or nobody answers there within ten seconds.
    """
    try:
        import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: F401, PLC0415 - as below
        from distributed import Client  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(f"task_runner=Dask(…): {told(error)}; install headrace[dask]") from None
    try:
        connect: Any = Client  # it has no types
        client = connect(address, timeout=CONNECT_S, set_as_default=False, name="headrace")
    except (OSError, ValueError) as error:
        raise UsageError(
            f'task_runner=Dask(address="{address}"): no Dask scheduler answers there within {CONNECT_S:g} s '
            f"({told(error)}); expected the address of one that runs, such as tcp://dask-scheduler:8786"
        ) from error
    try:
        return DaskCluster(address, client)
    except BaseException:
        client.close()
        raise


def carry_out(parcel: bytes) -> bytes:
    """On a worker: does the errand, unless somebody has begun it before."""
    from distributed import get_worker  # noqa: PLC0415 - an extra

    worker = get_worker()
    key = str(worker.get_current_task())
    if not _marked(worker, key):
        return pickle.dumps(Answer(begun_before=True))
    with _while_wanted(worker, key):
        return answer_to(parcel)


def _marked(worker: Any, key: str) -> bool:
    """Whether this one put the mark there."""
    from distributed.utils import sync  # noqa: PLC0415 - an extra

    answer = sync(worker.loop, worker.scheduler.run_function, function=_pickled(_mark()), args=pickle.dumps((key,)))
    if answer["status"] != "OK":
        raise answer["exception"]
    marked: bool = answer["result"]
    return marked


def _mark() -> Callable[..., bool]:
    # Inside a function, so that its code goes over: the scheduler may not have headrace.
    def mark(key: str, dask_scheduler: Any) -> bool:
        task = dask_scheduler.tasks.get(key)
        if task is None or (task.metadata or {}).get("headrace"):
            return False
        task.metadata = {**(task.metadata or {}), "headrace": True}
        return True

    return mark


def _pickled(function: Callable[..., bool]) -> bytes:
    import cloudpickle  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415 - an extra

    data: bytes = cloudpickle.dumps(function)
    return data


@contextmanager
def _while_wanted(worker: Any, key: str) -> Iterator[None]:
    over = threading.Event()
    with Interruptible() as stretch:
        threading.Thread(target=_watch, args=(worker, key, stretch, over), daemon=True).start()
        try:
            yield
        finally:
            over.set()


def _watch(worker: Any, key: str, stretch: Interruptible, over: threading.Event) -> None:
    while not over.wait(ASK_S):
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            stretch.interrupt(RunCancelled)
            return

"""Where submitted tasks run: on the flow's event loop, or in threads that exist from the first one on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.engine.futures import TaskFuture
from headrace.engine.interruption import Interruptible
from headrace.engine.outcomes import Outcome
from headrace.engine.runners import Dask, Ray, Runner, Threads
from headrace.engine.threads import ThreadPool
from headrace.engine.ways import BLOCKING, Way
from headrace.errors import RunCancelled
from headrace.states import State

if TYPE_CHECKING:
    import asyncio

    from headrace.engine.clusters.sending import OnCluster
    from headrace.engine.mapping import Mapped
    from headrace.engine.processes.crew import Crew

STOP_GRACE_S = 5.0
"""How long a cancelled flow waits for its threads; a call that blocks in C may take longer than that."""


class Workers:
    """The submitted tasks of one flow run."""

    __slots__ = ("_crew", "_lock", "_pool", "_runner", "_running", "_stopped", "futures", "mapped")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._crew: Crew | OnCluster | None = None
        self._lock = threading.Lock()
        self._pool: ThreadPool | None = None
        self._running: dict[Interruptible, Outcome[State[Any]]] = {}
        self._stopped = False
        self.futures: dict[TaskFuture[Any], None] = {}
        """In the order of submission."""
        self.mapped: list[Mapped[Any]] = []
        """Those whose inputs are taken little by little."""

    def way(self) -> Way:
        """
        How a function with `def` is called from a thread: there, in a process, or on a cluster.

        Raises: UsageError: the cluster cannot be reached.
        """
        return BLOCKING if isinstance(self._runner, Threads) else self._crew or self._gathered()

    def submit(
        self, name: str, work: Callable[[], State[Any]], *, after: Sequence[TaskFuture[Any]] = ()
    ) -> TaskFuture[Any]:
        """Runs it in a thread when the tasks `after` which it comes have ended, in a copy of the caller's context."""
        done: Outcome[State[Any]] = Outcome()
        # Known before it begins: a signal in between must not leave a task that nobody stops or waits for.
        future = self._kept(TaskFuture(name, done))
        pool = self._pool or self._opened()
        context = copy_context()
        carry_out = partial(context.run, self._carry_out, work, done)
        if after:  # a thread that waited for tasks which wait for a thread would wait for ever
            _when_ended(iter(after), partial(pool.submit, carry_out))
        else:
            pool.submit(carry_out)
        return future

    def submit_to_loop(self, name: str, work: Coroutine[Any, Any, State[Any]]) -> TaskFuture[Any]:
        """Runs it on the running event loop."""
        import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

        task = asyncio.get_running_loop().create_task(work, name=name)
        future: TaskFuture[Any] = TaskFuture(name, Outcome(), cancel=task.cancel, loop_thread=threading.get_ident())
        task.add_done_callback(partial(_hand_over, future))
        return self._kept(future)

    def stop(self) -> None:
        """Takes back what has not begun and breaks off what runs."""
        for future in tuple(self.futures):
            future.cancel()
        self._stopped = True
        for stretch in tuple(self._running):
            stretch.interrupt(RunCancelled)

    def break_off(self, futures: Sequence[TaskFuture[Any]]) -> None:
        """Breaks off those of these that run in threads; the others are left alone."""
        wanted = {id(future.done) for future in futures}
        for stretch, done in tuple(self._running.items()):
            if id(done) in wanted:
                stretch.interrupt(RunCancelled)

    def close(self) -> None:
        """Takes back what has not begun in a thread, and lets the threads go when they have ended their task."""
        for future in tuple(self.futures):
            if future.in_thread:
                future.cancel()
        if self._pool:
            self._pool.close()
        if self._crew:
            self._crew.close()

    def forget(self, future: TaskFuture[Any]) -> None:
        """Keeps one that has succeeded no longer: a million of them would fill the memory."""
        self.futures.pop(future, None)

    def _opened(self) -> ThreadPool:
        # Threads; with processes, and on a cluster, each waits for one task.
        at_a_time = self._runner.max_workers or (self._crew or self._gathered()).at_a_time
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPool(at_a_time)
            return self._pool

    def _gathered(self) -> Crew | OnCluster:
        with self._lock:
            if self._crew is None:
                self._crew = _crew_of(self._runner)
            return self._crew

    def _kept(self, future: TaskFuture[Any]) -> TaskFuture[Any]:
        self.futures[future] = None
        return future

    def _carry_out(self, work: Callable[[], State[Any]], done: Outcome[State[Any]]) -> None:
        if not done.begin():
            return
        try:
            state = self._interruptibly(work, done)
        except BaseException as error:  # noqa: BLE001 - whoever waits must learn of it
            done.fail(error)
        else:
            done.end(state)

    def _interruptibly(self, work: Callable[[], State[Any]], done: Outcome[State[Any]]) -> State[Any]:
        with Interruptible() as stretch:
            self._running[stretch] = done
            try:
                if self._stopped:  # too late for stop() to find it
                    stretch.interrupt(RunCancelled)
                return work()
            finally:
                self._running.pop(stretch, None)


def _crew_of(runner: Runner) -> Crew | OnCluster:
    """Those who carry out what is submitted. Only who uses them pays for their modules."""
    if isinstance(runner, Dask | Ray):
        from headrace.engine.clusters.connecting import connected  # noqa: PLC0415 - as above

        return connected(runner)
    from headrace.engine.processes.crew import Crew  # noqa: PLC0415 - as above

    return Crew()


def _when_ended(waiting: Iterator[TaskFuture[Any]], then: Callable[[], object]) -> None:
    for future in waiting:
        if not future.done.done():
            future.done.when_done(lambda _: _when_ended(waiting, then))
            return
    then()


def _hand_over(future: TaskFuture[Any], ended: asyncio.Task[State[Any]]) -> None:
    """A task that was cancelled before its first step has no state: its future is cancelled like one in a thread."""
    done = future.done
    future.release()
    if ended.cancelled():
        done.cancel()
    elif error := ended.exception():
        done.fail(error)
    else:
        done.end(ended.result())

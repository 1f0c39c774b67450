"""Where submitted tasks run: on the flow's event loop, or in threads that exist from the first one on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace.engine.futures import TaskFuture
from headrace.engine.interruption import Interruptible
from headrace.engine.runners import Runner, Threads
from headrace.engine.ways import BLOCKING, Way
from headrace.errors import RunCancelled
from headrace.states import State

if TYPE_CHECKING:
    import asyncio

    from headrace.engine.mapping import Mapped
    from headrace.engine.processes.crew import Crew

STOP_GRACE_S = 5.0
"""How long a cancelled flow waits for its threads; a call that blocks in C may take longer than that."""


class Workers:
    """The submitted tasks of one flow run."""

    __slots__ = ("_crew", "_lock", "_pool", "_runner", "_running", "futures", "mapped")

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._crew: Crew | None = None
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._running: set[Interruptible] = set()
        self.futures: dict[TaskFuture[Any], None] = {}
        """In the order of submission."""
        self.mapped: list[Mapped[Any]] = []
        """Those whose inputs are taken little by little."""

    def way(self) -> Way:
        """How a function with `def` is called from a thread: there, or in a process."""
        if isinstance(self._runner, Threads):
            return BLOCKING
        from headrace.engine.processes.crew import Crew  # noqa: PLC0415 - multiprocessing is for those who use it

        with self._lock:
            if self._crew is None:
                self._crew = Crew()
            return self._crew

    def submit(
        self, name: str, work: Callable[[], State[Any]], *, after: Iterable[TaskFuture[Any]] = ()
    ) -> TaskFuture[Any]:
        """Runs it in a thread when the tasks `after` which it comes have ended, in a copy of the caller's context."""
        done: Future[State[Any]] = Future()
        # Known before it begins: a signal in between must not leave a task that nobody stops or waits for.
        future = self._kept(TaskFuture(name, done, cancel=done.cancel))
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(_at_a_time(self._runner), thread_name_prefix="headrace")
        start = partial(self._pool.submit, partial(copy_context().run, self._carry_out, work, done))
        # A thread that waited for tasks which wait for a thread would wait for ever.
        _when_ended(iter(after), lambda: done.cancelled() or start())
        return future

    def submit_to_loop(self, name: str, work: Coroutine[Any, Any, State[Any]]) -> TaskFuture[Any]:
        """Runs it on the running event loop."""
        import asyncio  # noqa: PLC0415 - 40 ms that a flow without `async` does not pay

        task = asyncio.get_running_loop().create_task(work, name=name)
        done: Future[State[Any]] = Future()
        task.add_done_callback(lambda ended: _hand_over(ended, done))
        return self._kept(TaskFuture(name, done, cancel=task.cancel, loop_thread=threading.get_ident()))

    def stop(self) -> None:
        """Takes back what has not begun and breaks off what runs."""
        for future in tuple(self.futures):
            future.cancel()
        with self._lock:
            for stretch in self._running:
                stretch.interrupt(RunCancelled)

    def close(self) -> None:
        """Takes back what has not begun in a thread, and lets the threads go when they have ended their task."""
        for future in tuple(self.futures):
            if future.in_thread:
                future.cancel()
        if self._pool:
            self._pool.shutdown(wait=False)
        if self._crew:
            self._crew.close()

    def forget(self, future: TaskFuture[Any]) -> None:
        """Keeps one that has succeeded no longer: a million of them would fill the memory."""
        self.futures.pop(future, None)

    def _kept(self, future: TaskFuture[Any]) -> TaskFuture[Any]:
        self.futures[future] = None
        return future

    def _carry_out(self, work: Callable[[], State[Any]], done: Future[State[Any]]) -> None:
        if not done.set_running_or_notify_cancel():
            return
        try:
            state = self._interruptibly(work)
        except BaseException as error:  # noqa: BLE001 - whoever waits must learn of it
            done.set_exception(error)
        else:
            done.set_result(state)

    def _interruptibly(self, work: Callable[[], State[Any]]) -> State[Any]:
        with Interruptible() as stretch:
            with self._lock:
                self._running.add(stretch)
            try:
                return work()
            finally:
                with self._lock:
                    self._running.discard(stretch)


def _at_a_time(runner: Runner) -> int:
    """Threads; with processes each waits for one."""
    if runner.max_workers is not None:
        return runner.max_workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _when_ended(waiting: Iterator[TaskFuture[Any]], then: Callable[[], object]) -> None:
    for future in waiting:
        if not future.done.done():
            future.done.add_done_callback(lambda _: _when_ended(waiting, then))
            return
    then()


def _hand_over(ended: asyncio.Task[State[Any]], done: Future[State[Any]]) -> None:
    """A task that was cancelled before its first step has no state: its future is cancelled like one in a thread."""
    if ended.cancelled():
        done.cancel()
        done.set_running_or_notify_cancel()
    elif error := ended.exception():
        done.set_exception(error)
    else:
        done.set_result(ended.result())

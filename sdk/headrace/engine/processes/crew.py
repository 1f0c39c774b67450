"""
In the flow's process: sends errands to processes, one at a time to each, and waits for what comes of them.

Whoever waits may be interrupted, by a timeout or a cancellation: then the process is killed, and so is the task.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable
from typing import Any

from headrace.engine.processes.errands import packed
from headrace.engine.processes.exchange import delivered, surroundings_of, write_line
from headrace.engine.processes.worker import LOG, serve
from headrace.engine.scope import CURRENT, TaskRun
from headrace.engine.ways import Arguments, Blocking
from headrace.errors import ProcessFailed

SLICE_S = 0.05
"""A thread that is to be broken off learns it at its next bytecode, so it must not wait in one piece."""


class Crew(Blocking):
    """The way of tasks in processes: a call is made in one of them, all else happens in the thread that waits."""

    def __init__(self) -> None:
        self.at_a_time = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._closed = False

    async def call(self, function: Callable[..., Any], arguments: Arguments) -> Any:
        """As promised by Way. Raises: ProcessFailed: the process ended, or its outcome cannot be sent."""
        run = CURRENT.get()
        assert isinstance(run, TaskRun)
        label = f'task "{run.name}"'
        parcel = packed(label, function, arguments, surroundings_of(run))
        worker = self._borrowed()
        try:
            message = worker.outcome(parcel)
        except BaseException:
            worker.kill()
            raise
        self._give_back(worker)
        if message is None:
            raise ProcessFailed(label, _end_of(worker.exit_code()))
        return delivered(label, message)

    def close(self) -> None:
        """Ends the processes; those that work end with their errand."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def _borrowed(self) -> _Worker:
        with self._lock:
            return self._idle.pop() if self._idle else _Worker()

    def _give_back(self, worker: _Worker) -> None:
        with self._lock:
            if worker.alive and not self._closed:
                self._idle.append(worker)
                return
        worker.kill()


class _Worker:
    def __init__(self) -> None:
        # A fork would copy locks that other threads hold.
        context = multiprocessing.get_context("spawn")
        self._connection, there = context.Pipe()
        self._process = context.Process(target=serve, args=(there,), name="headrace-task", daemon=True)
        self._process.start()
        there.close()
        self.alive = True

    def outcome(self, parcel: bytes) -> tuple[Any, ...] | None:
        """The message that ends the errand; None if the process ended first."""
        try:
            self._connection.send_bytes(parcel)
            while True:
                while not self._connection.poll(SLICE_S):
                    pass
                message: tuple[Any, ...] = pickle.loads(self._connection.recv_bytes())  # noqa: S301 - our own process
                if message[0] != LOG:
                    return message
                write_line(message)
        except (EOFError, OSError):
            self.alive = False
            return None

    def exit_code(self) -> int | None:
        """As of multiprocessing: negative for a signal."""
        self._process.join(1)
        return self._process.exitcode

    def kill(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.join()
        self._connection.close()


def _end_of(exit_code: int | None) -> str:
    if exit_code is None or exit_code >= 0:
        return f"its process ended by itself, with exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    memory = "; the kernel does that where memory ends: give it less data, or more memory" if name == "SIGKILL" else ""
    return f"its process was ended by {name}{memory}"

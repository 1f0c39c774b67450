"""One process of a container: started through launch.py, its output handed on, its end reported."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from headrace.devcluster.node.launch import Orders

LAUNCH = Path(__file__).parent / "launch.py"
CHUNK = 64 * 1024
DRAIN_S = 0.5
"""Output that comes later than this after the end of the main process is from one that escaped it."""
LAUNCHER_DIED = 128 + signal.SIGKILL

Output = Callable[[str, bytes], None]


class CannotStart(Exception):
    """The command was not started; the text is a container runtime's."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """The process of launch.py: what it reports, and the tasks that hand its output on."""

    process: asyncio.subprocess.Process
    reports: asyncio.StreamReader
    drains: Sequence[asyncio.Task[None]]

    async def report(self) -> dict[str, Any]:
        """Its next report; empty when it ended without."""
        told: dict[str, Any] = json.loads(await self.reports.readline() or b"{}")
        return told

    async def finish(self) -> None:
        """Returns when it has ended and its output was handed on."""
        await asyncio.wait(self.drains, timeout=DRAIN_S)
        for drain in self.drains:
            drain.cancel()
        await self.process.wait()


class Process:
    """A started command. `pid` is the main process's, as this machine counts."""

    def __init__(self, orders: Orders, launcher: Launcher, pid: int) -> None:
        self.orders = orders
        self.pid = pid
        self._launcher = launcher
        self._ended = asyncio.create_task(self._end())

    @classmethod
    async def start(cls, orders: Orders, output: Output) -> Self:
        """
        A running process.

        Args:
            output: Takes what it writes: `stdout` or `stderr`, and the bytes.
        Raises: CannotStart.
        """
        read_end, write_end = os.pipe()
        reports = await _reader(read_end)
        pipe = asyncio.subprocess.PIPE
        try:
            launcher = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", LAUNCH, str(write_end)),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
                pass_fds=(write_end,),
                start_new_session=True,
                env={},
            )
        finally:
            os.close(write_end)
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        assert launcher.stderr is not None
        launcher.stdin.write(json.dumps(orders).encode())
        launcher.stdin.close()
        drains = (
            asyncio.create_task(_drain(launcher.stdout, "stdout", output)),
            asyncio.create_task(_drain(launcher.stderr, "stderr", output)),
        )
        started = Launcher(launcher, reports, drains)
        first = await started.report()
        if "pid" not in first:
            await started.finish()
            raise CannotStart(first.get("problem", "the launcher of the container ended unexpectedly"))
        return cls(orders, started, first["pid"])

    async def wait(self) -> int:
        """The exit code, 128 plus the signal where one ended it; all output was handed on."""
        return await asyncio.shield(self._ended)

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._ended.done()

    def terminate(self) -> None:
        """Asks the main process to end: SIGTERM."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the main process and those it started: SIGKILL."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._ended.done():
            return
        with contextlib.suppress(ProcessLookupError):
            if number is signal.SIGKILL:
                os.killpg(self.pid, number)
            os.kill(self.pid, number)

    async def _end(self) -> int:
        last = await self._launcher.report()
        if "status" not in last:  # the launcher was killed, and the kernel killed the container with it
            code = LAUNCHER_DIED
        else:
            number = os.waitstatus_to_exitcode(last["status"])
            code = number if number >= 0 else 128 - number
        if not self.orders["isolate"]:  # no process namespace ends what it left behind
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        await self._launcher.finish()
        return code


async def _reader(descriptor: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(descriptor, "rb"))
    return reader


async def _drain(stream: asyncio.StreamReader, name: str, output: Output) -> None:
    while chunk := await stream.read(CHUNK):
        output(name, chunk)

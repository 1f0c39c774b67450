"""
The processes of a cluster's folder, found again by whoever comes later.

`processes.json` holds name, process id and start time. A process id alone is not enough: the system gives it to
another process some day, and that one must never be ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

START_TOLERANCE_S = 2.0
"""The start time is kept relative to the boot, whose time of day moves a little when the clock is set."""
POLL_S = 0.02
GRACE_S = 5.0
"""From SIGTERM to SIGKILL: the API server lets requests finish, etcd closes its files."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A process that was started; `started` in seconds since 1970."""

    name: str
    pid: int
    started: float

    def process(self) -> psutil.Process | None:
        """The process while it lives; None when it is gone or a zombie, also if its id was given away since."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < START_TOLERANCE_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class Processes:
    """The processes that were started in one folder, in the order of their start."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._record = directory / "processes.json"

    def start(self, name: str, command: Sequence[str | Path], environment: dict[str, str] | None = None) -> Recorded:
        """Starts a process that outlives this one; its output goes to NAME.log in the folder."""
        with self.log(name).open("wb") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                cwd=self.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started = Recorded(name, process.pid, start_time(process.pid))
        self._write([*(each for each in self.recorded() if each.name != name), started])
        # It is found again by its record; without this Python warns about a process that nobody waited for.
        process.returncode = 0
        return started

    def log(self, name: str) -> Path:
        """The file that holds a process's output."""
        return self.directory / f"{name}.log"

    def recorded(self) -> list[Recorded]:
        """What was started here and not stopped, alive or not."""
        try:
            return [Recorded(**each) for each in json.loads(self._record.read_text())]
        except FileNotFoundError:
            return []

    def alive(self) -> dict[str, Recorded]:
        """What runs, by name."""
        return {each.name: each for each in self.recorded() if each.process()}

    def stop(self, names: Sequence[str] | None = None, *, grace_s: float = GRACE_S) -> list[str]:
        """
        Ends processes, the last started first, and returns the names of those that were alive.

        Args:
            names: Which; None ends all.
        """
        ended = []
        for each in reversed(self.recorded()):
            if names is None or each.name in names:
                if _end(each, grace_s):
                    ended.append(each.name)
                self._write([other for other in self.recorded() if other.name != each.name])
        return ended

    def _write(self, recorded: Sequence[Recorded]) -> None:
        unfinished = self._record.with_suffix(".unfinished")
        unfinished.write_text(json.dumps([asdict(each) for each in recorded], indent=1))
        unfinished.rename(self._record)


def _end(recorded: Recorded, grace_s: float) -> bool:
    process = recorded.process()
    if process is None:
        return False
    for send in (process.terminate, process.kill):
        with contextlib.suppress(psutil.NoSuchProcess):
            send()
        if _ended(recorded, grace_s):
            break
    return True


def _ended(recorded: Recorded, within_s: float) -> bool:
    """Whether the process ended in time; a zombie has, whoever its parent is."""
    deadline = time.monotonic() + within_s
    while recorded.process():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(recorded.pid, os.WNOHANG)
    return True


def start_time(pid: int) -> float:
    """In seconds since 1970; 0 for a process that has ended."""
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:  # it ended at once: its log says why
        return 0.0

"""Namespaces in which processes run that must not outlive us, nor be seen by the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

HOLD = Path(__file__).with_name("hold.py")
END_WITHIN_S = 30.0


class Room:
    """
    Process ids, mounts, network and host name of its own, for as long as it is open.

    Args:
        folder: For the output of what runs in it.
        inside: The room that this one is a part of, and ends with.
        cgroups: Folders that are removed when it has ended.
    """

    def __init__(self, folder: Path, *, inside: Room | None = None, cgroups: Sequence[Path] = ()) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen[bytes]] = []
        command = ["unshare", "--fork", "--pid", "--kill-child", "--mount", "--mount-proc", "--net", "--uts"]
        command += [sys.executable, "-I", "-S", str(HOLD), *map(str, cgroups)]
        self._holder = subprocess.Popen(
            [*(inside.entering() if inside else ()), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            msg = f"no namespaces of our own: {' '.join(command)} ended with status {self._holder.wait()}"
            raise RuntimeError(msg)
        self.pid = psutil.Process(self._holder.pid).children(recursive=True)[-1].pid

    def entering(self, *kinds: str) -> list[str]:
        """What to put before a command that shall run in here; `kinds` of namespaces, all of them if none."""
        wanted = kinds or ("pid", "mount", "net", "uts")
        return ["nsenter", f"--target={self.pid}", *(f"--{kind}" for kind in wanted)]

    def run(self, *command: str | Path, kinds: Sequence[str] = ()) -> str:
        """The output of a command in here. Raises: RuntimeError: it ended with an error; with what it said."""
        whole = [*self.entering(*kinds), *map(str, command)]
        done = subprocess.run(whole, capture_output=True, text=True, check=False)
        if done.returncode:
            msg = f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stdout}{done.stderr}"
            raise RuntimeError(msg)
        return done.stdout

    def start(
        self, name: str, command: Sequence[str | Path], *, path: Sequence[Path] = (), pass_fds: Sequence[int] = ()
    ) -> subprocess.Popen[bytes]:
        """A process in here, its output in NAME.log; `path` is searched for programs before the system's."""
        searched = ":".join([*map(str, path), "/usr/sbin:/usr/bin:/sbin:/bin"])
        environment = {**os.environ, "PATH": searched}
        # Entering a mount namespace leads to its root folder, which is the machine's: etcd would keep its data there.
        with (self.folder / f"{name}.log").open("wb") as output:
            process = subprocess.Popen(
                [*self.entering(), f"--wdns={self.folder}", *map(str, command)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=pass_fds,
            )
        self._started.append(process)
        return process

    def close(self) -> None:
        """Kills every process in here, and waits until they are gone."""
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(END_WITHIN_S)
        for each in self._started:
            each.wait(END_WITHIN_S)
        assert self._holder.stdout is not None
        self._holder.stdout.close()

"""
`python hold.py [CGROUP …]`: the first process of a room. The room lasts until standard input ends, or this is killed.

Standard input is a pipe from the process that the room belongs to: the system closes it when that one ends, even by
SIGKILL. Then every process in here is killed, and the cgroups that the room had are removed. Imports the standard library only.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

REAP_EVERY_S = 0.2
REMOVE_WITHIN_S = 5.0


def main(cgroups: list[str]) -> None:
    """Says `ready`, and reaps whoever loses its parent until the end."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.stdout.write("ready\n")
    sys.stdout.close()
    while not select.select([0], [], [], REAP_EVERY_S)[0]:
        _reap(os.WNOHANG)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    _reap(0)
    for each in cgroups:
        _remove(each)


def _reap(options: int) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, options) != (0, 0):
            pass


def _remove(cgroup: str) -> None:
    """The kernel lets go of a cgroup some moments after its last process."""
    deadline = time.monotonic() + REMOVE_WITHIN_S
    while os.path.isdir(cgroup) and time.monotonic() < deadline:  # noqa: PTH112 - nothing is imported that is not needed
        for folder, _, _ in os.walk(cgroup, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(folder)  # noqa: PTH106 - as above
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.argv[1:])

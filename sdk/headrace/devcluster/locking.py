"""One process at a time does what others then find done."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.devcluster.progress import Progress


@contextmanager
def one_at_a_time(lock: Path, progress: Progress, waiting: str) -> Iterator[None]:
    """Holds the lock file for the block; says `waiting` if another process holds it, and waits for that one."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.step(waiting)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield  # closing the file gives the lock back

"""What other processes do with a storage: `python -m tests.storages.child WHAT URL …`. They say "ready", and wait for a line."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Final

from headrace.results import Storage, open_storage
from headrace.results.cargo import VALUE, packed

MB: Final = 1 << 20


def race(storage: Storage, name: str, keys: str) -> None:
    """Puts its name under each key, if it is the first one there; prints the keys."""
    _ready()
    won = [key for key in keys.split(",") if storage.put_new(key, name.encode())]
    print(",".join(won), flush=True)


def stall(storage: Storage, key: str) -> None:
    """Writes half of an object, and waits to be killed."""
    with storage.writer(key) as file:
        for _ in range(12):
            file.write(os.urandom(MB))
        print("ready", flush=True)
        time.sleep(600)


def overwrite(storage: Storage, key: str) -> None:
    """Puts one object after the other, of several sizes, until it is killed."""
    for number in range(1_000_000):
        storage.put(key, packed([number, os.urandom(3 * MB + number % 7 * 1000)], VALUE, what="it").sealed())
        if number == 0:
            print("ready", flush=True)


def stream(storage: Storage, key: str, size_mb: str) -> None:
    """Writes and reads a large object; prints its checksum, that of what was read, and how much memory was taken for it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    written, found = hashlib.sha256(), hashlib.sha256()
    with storage.writer(key) as file:
        for number in range(int(size_mb)):
            piece = hashlib.sha256(b"%d" % number).digest() * (MB // 32)
            written.update(piece)
            file.write(piece)
    with storage.reader(key) as source:
        while piece := source.read(MB):
            found.update(piece)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(written.hexdigest(), found.hexdigest(), grown_kb // 1024)


def fork(storage: Storage, key: str) -> None:
    """Forks while it is connected; both go on with the same storage. Prints what each has read, the child first."""
    storage.put(key, b"before")
    child = os.fork()
    if child == 0:
        print(storage.get(key).decode(), flush=True)
        storage.put(key, b"of the child")
        os._exit(0)
    os.waitpid(child, 0)
    print(storage.get(key).decode())


def _ready() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    what, url, *more = sys.argv[1:]
    opened = open_storage(url)
    opened.exists("nothing")  # the library is loaded, and connected
    WORK: dict[str, Callable[..., None]] = {
        "race": race,
        "stall": stall,
        "overwrite": overwrite,
        "stream": stream,
        "fork": fork,
    }
    WORK[what](opened, *more)

"""What every storage promises, on the servers themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import pytest

from headrace import NoSuchResult, flow, task
from headrace.engine.session import LAPTOP, using
from headrace.results import Reference, Storage, store_stream
from headrace.results.cargo import VALUE, Cargo, opened, packed

MB = 1 << 20
PAST, FUTURE = "2000-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
AWKWARD = "run/etl-7/käse & 50% 'quoted'/-- x"


def cargo(content: str, *, expires: str) -> bytes:
    return Cargo(VALUE, "bytes", content.encode(), {"expires": expires}).sealed()


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is ready; killed when the block ends."""
    command = (sys.executable, "-m", "tests.storages.child", *arguments)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("size", [0, 1, 5 * MB + 1], ids=["empty", "small", "5 MB"])
def test_what_was_put_is_there(storage: Storage, size: int) -> None:
    """And put again it is replaced: nothing of a longer one is left."""
    data = os.urandom(size)
    storage.put(AWKWARD, os.urandom(6 * MB))
    storage.put(AWKWARD, data)
    assert storage.get(AWKWARD) == data
    assert storage.exists(AWKWARD)
    assert storage.size(AWKWARD) == size
    with storage.reader(AWKWARD) as file:
        assert file.read() == data


def test_what_was_not_put_is_not_there(storage: Storage) -> None:
    """Reading it is an error of its own; deleting it is none."""
    assert not storage.exists("run/output")
    with pytest.raises(NoSuchResult, match=r'"[^"]*run/output"'):
        storage.get("run/output")
    with pytest.raises(NoSuchResult), storage.reader("run/output"):
        pass
    with pytest.raises(NoSuchResult):
        storage.size("run/output")
    storage.delete("run/output")


def test_what_was_deleted_is_gone(storage: Storage) -> None:
    """All of it, at once."""
    storage.put("output", os.urandom(5 * MB))
    storage.delete("output")
    assert not storage.exists("output")
    assert storage.put_new("output", b"new")
    assert storage.get("output") == b"new"


def test_keys_are_listed_by_folder(storage: Storage) -> None:
    """Whole names of folders, however deep."""
    keys = ["run/a", "run/deep/b", "run-2/a", "run0", "top", AWKWARD]
    for key in keys:
        storage.put(key, b"")
    assert sorted(storage.list()) == sorted(keys)
    assert sorted(storage.list("run")) == sorted(["run/a", "run/deep/b", AWKWARD])
    assert list(storage.list("ru")) == []


def test_many_keys_are_listed(storage: Storage) -> None:
    """More than a page of any store."""
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: storage.put(f"many/{number}", b""), range(1100)))
    assert {*storage.list("many")} == {f"many/{number}" for number in range(1100)}


def test_of_several_processes_one_is_new(storage: Storage, url: str) -> None:
    """For each key exactly one is told so, and what it put is there."""
    keys = [f"key-{number}" for number in range(12)]
    with ExitStack() as stack:
        children = [stack.enter_context(child("race", url, str(number), ",".join(keys))) for number in range(3)]
        for each in children:
            print(file=each.stdin, flush=True)
        won = [(each.stdout.readline().strip() if each.stdout else "").split(",") for each in children]
    assert sorted(key for keys in won for key in keys if key) == sorted(keys)
    for number, keys in enumerate(won):
        assert all(storage.get(key) == str(number).encode() for key in keys if key)


def test_of_several_threads_one_replaces_what_has_expired(storage: Storage) -> None:
    """As if nothing were there."""
    storage.put("output", cargo("old", expires=PAST))
    with ThreadPoolExecutor(6) as threads:
        data = [cargo(str(number), expires=FUTURE) for number in range(12)]
        new = list(threads.map(lambda each: storage.put_new("output", each), data))
    assert new.count(True) == 1
    assert storage.get("output") == data[new.index(True)]


def test_what_has_expired_counts_as_absent(storage: Storage) -> None:
    """However it is asked for; what expires later is there."""
    storage.put("old", cargo("old", expires=PAST))
    storage.put("young", cargo("young", expires=FUTURE))
    assert not storage.exists("old")
    with pytest.raises(NoSuchResult):
        storage.get("old")
    with pytest.raises(NoSuchResult), storage.reader("old"):
        pass
    assert opened(storage.get("young")).content() == b"young"


def test_what_has_expired_is_pruned(storage: Storage) -> None:
    """Once it is meant: nothing else goes."""
    for key, expires in {"a/old": PAST, "b/old": PAST, "a/young": FUTURE}.items():
        storage.put(key, cargo(key, expires=expires))
    with storage.writer("a/large") as file:
        file.write(cargo("x" * (5 * MB), expires=PAST))
    storage.put("a/raw", b"no object of ours")
    assert sorted(storage.prune(dry_run=True)) == ["a/large", "a/old", "b/old"]
    assert sorted(storage.prune("a")) == ["a/large", "a/old"]
    assert sorted(storage.list()) == ["a/raw", "a/young", "b/old"]
    assert list(storage.prune()) == ["b/old"]
    assert list(storage.prune()) == []


class Interrupted(Exception):
    """Raised in the middle of writing."""


@pytest.mark.parametrize("pieces", [1, 12])
def test_what_is_not_written_to_the_end_is_not_there(storage: Storage, pieces: int) -> None:
    """What was there stays; and an error of the writer's is what it was."""
    storage.put("output", b"before")
    with pytest.raises(Interrupted), storage.writer("output") as file:
        for _ in range(pieces):
            file.write(os.urandom(MB))
        raise Interrupted
    assert storage.get("output") == b"before"
    with storage.writer("output") as file:
        file.write(b"after")
    assert storage.get("output") == b"after"


def test_a_writer_that_is_killed_leaves_nothing(storage: Storage, url: str) -> None:
    """Neither a part, nor a lock that others wait for."""
    storage.put("output", b"before")
    with child("stall", url, "output") as process:
        process.kill()
    assert storage.get("output") == b"before"
    assert list(storage.list()) == ["output"]
    storage.put("output", b"after")
    assert storage.get("output") == b"after"


def test_a_put_that_is_killed_leaves_a_whole_object(storage: Storage, url: str) -> None:
    """At whichever moment: the one before, or the new one."""
    for moment in range(3):
        with child("overwrite", url, "output") as process:
            time.sleep(0.03 + 0.04 * moment)
            process.kill()
        assert opened(storage.get("output")).content()[1]


def test_a_large_object_takes_little_memory(url: str) -> None:
    """Written and read in pieces, in one process."""
    command = (sys.executable, "-m", "tests.storages.child", "stream", url, "large", "48")
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    written, found, grown_mb = done.stdout.split()
    assert written == found
    assert int(grown_mb) < 40, f"{grown_mb} MB for an object of 48 MB"


def test_values_come_back(storage: Storage) -> None:
    """As the remote tasks store them."""
    value = {"rows": [[number, str(number)] for number in range(50_000)]}
    storage.put("value", packed(value, VALUE, what="it").sealed())
    assert opened(storage.get("value")).content() == value


def test_a_flow_resumes_from_it_and_passes_references(url: str) -> None:
    """As it does from a folder: the finished task does not run again, and what it has stored is there."""
    ran = []

    @task
    def record() -> Reference:
        ran.append("record")
        return store_stream("numbers", (b"%d\n" % number for number in range(300_000)))

    @task
    def total(numbers: Reference) -> int:
        ran.append("total")
        if ran.count("total") == 1:
            raise ConnectionError
        with numbers.open() as file:
            return sum(map(int, file))

    @flow
    def main() -> int:
        return total(record())

    with using(replace(LAPTOP, flow_run="today", results_url=url)):
        with pytest.raises(ConnectionError):
            main()
        assert main() == sum(range(300_000))
    assert ran == ["record", "total", "total"]

"""Results in an object store (S3, Google Cloud Storage, Azure Blob), through obstore."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, Final

from headrace.errors import NoSuchResult, ResultsError, UsageError
from headrace.results.lifetime import MAX_HEAD, has_expired
from headrace.results.places import without_password
from headrace.results.storage import Sink
from headrace.secrecy.redaction import redacted

CHUNK_BYTES: Final = 5 << 20
"""Of a part of a large object: the least that S3 takes."""
UPLOADS: Final = 2
"""Parts on their way at once: the memory of a writer is a few times CHUNK_BYTES."""


def open_objects(url: str) -> Objects:
    """
    The storage of an object store's URL; credentials and region come from the environment.

    Raises: UsageError: obstore is not installed, or does not understand the URL.
    """
    shown = without_password(url)
    try:
        from obstore.store import from_url  # noqa: PLC0415 - an extra: flows without an object store do without
    except ImportError as error:
        raise UsageError(
            f'results URL "{shown}": the library for object stores is missing; install "headrace[storage]" in the flow\'s image'
        ) from error
    try:
        return Objects(shown, from_url(url))
    except Exception as error:
        raise UsageError(
            f'results URL "{shown}": {_first_line(error)}; check the URL and the variables of the pod'
        ) from error


class Objects:
    """
    Storage over an obstore store; a put of an object store is whole or not at all.

    Args:
        url: As it is shown in errors.
        clock: Seconds since 1970.
    """

    def __init__(self, url: str, store: Any, clock: Callable[[], float] = time.time) -> None:
        self._url = url
        self._store = store
        self._clock = clock

    def put(self, key: str, data: bytes) -> None:
        """As promised by Storage. Raises: ResultsError."""
        with self._told(key):
            self._store.put(key, data)

    def put_new(self, key: str, data: bytes) -> bool:
        """As promised by Storage, by a conditional put, which S3, Google Cloud Storage and Azure Blob have. Raises: ResultsError."""
        from obstore.exceptions import AlreadyExistsError  # noqa: PLC0415 - an extra, there by now

        with self._told(key):
            try:
                self._store.put(key, data, mode="create")
            except AlreadyExistsError:
                return self._replaced_expired(key, data)
            return True

    def get(self, key: str) -> bytes:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        with self._told(key):
            data = bytes(self._store.get(key).bytes())
        if has_expired(data, self._clock()):
            raise NoSuchResult(self._url, key, "it has expired")
        return data

    @contextmanager
    def reader(self, key: str) -> Iterator[BinaryIO]:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        told = partial(self._told, key)
        with told():
            file = BufferedReader(_Stream(self._store.get(key), told), MAX_HEAD)
        if has_expired(file.peek(MAX_HEAD), self._clock()):
            raise NoSuchResult(self._url, key, "it has expired")
        yield file

    @contextmanager
    def writer(self, key: str) -> Iterator[Sink]:
        """As promised by Storage: parts are not an object before the last one is there. Raises: ResultsError."""
        from obstore import open_writer  # noqa: PLC0415 - an extra, there by now

        told = partial(self._told, key)
        with told():
            file = open_writer(self._store, key, buffer_size=CHUNK_BYTES, max_concurrency=UPLOADS)
        yield _Upload(file, told)
        with told():  # not as a context manager: that would store what there is when the block raises
            file.close()

    def exists(self, key: str) -> bool:
        """As promised by Storage. Raises: ResultsError."""
        try:
            with self._told(key):
                return not has_expired(self._start(key)[0], self._clock())
        except NoSuchResult:
            return False

    def size(self, key: str) -> int:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        with self._told(key):
            return int(self._store.head(key)["size"])

    def delete(self, key: str) -> None:
        """As promised by Storage. Raises: ResultsError."""
        try:
            with self._told(key):
                self._store.delete(key)
        except NoSuchResult:
            return

    def list(self, prefix: str = "") -> Iterator[str]:
        """As promised by Storage. Raises: ResultsError."""
        with self._told(prefix):
            for some in self._store.list(prefix or None):
                yield from (each["path"] for each in some)

    def prune(self, prefix: str = "", *, dry_run: bool = False) -> Iterator[str]:
        """
        As promised by Storage, with a request an object: rules of the bucket do it better.

        Stores delete without conditions: what is put anew between the look and the delete is lost, which takes some
        thousandths of a second. Raises: ResultsError.
        """
        for key in self.list(prefix):
            if self._is_expired(key):
                if not dry_run:
                    self.delete(key)
                yield key

    def _is_expired(self, key: str) -> bool:
        try:
            with self._told(key):
                return has_expired(self._start(key)[0], self._clock())
        except NoSuchResult:  # deleted meanwhile
            return False

    def _start(self, key: str) -> tuple[bytes, dict[str, Any]]:
        """The first bytes of the object, its first line among them, and which version of it they are of."""
        found = self._store.get(key)
        version = {name: found.meta[name] for name in ("e_tag", "version") if found.meta.get(name)}
        # Of a stream that is dropped the rest is not fetched; a range would be an error for an empty object.
        return bytes(next(iter(found.stream(min_chunk_size=MAX_HEAD)), b"")), version

    def _replaced_expired(self, key: str, data: bytes) -> bool:
        """Whether it took the place of an object that has expired, and that nobody else has replaced meanwhile."""
        from obstore.exceptions import PreconditionError  # noqa: PLC0415 - as above

        try:
            start, version = self._start(key)
            if not has_expired(start, self._clock()):
                return False
            self._store.put(key, data, mode=version)
        except (FileNotFoundError, PreconditionError):  # somebody was faster: with another object, or deleting it
            return False
        return True

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra, there by now

        try:
            yield
        except FileNotFoundError as error:
            raise NoSuchResult(self._url, key, "there is no such object") from error
        except (BaseError, OSError, ValueError) as error:
            raise ResultsError(self._url, key, _first_line(error)) from error


Told = Callable[[], AbstractContextManager[None]]


class _Upload:
    """What a writer writes to; only what goes wrong with it is an error of the storage."""

    def __init__(self, file: Any, told: Told) -> None:
        self._file = file
        self._told = told

    def write(self, data: bytes, /) -> object:
        with self._told():
            return self._file.write(data)


class _Stream(RawIOBase):
    """The bytes of one answer as a file."""

    def __init__(self, answer: Any, told: Told) -> None:
        self._chunks = iter(answer.stream(min_chunk_size=MAX_HEAD))
        self._told = told
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As of io.RawIOBase."""
        while not self._rest:
            with self._told():
                chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(bytes(chunk))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _first_line(error: Exception) -> str:
    """What the store says, cut: its whole answer may hold what is secret."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return redacted(lines[0])[:200]

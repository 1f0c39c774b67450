"""Results in an object store (S3, Google Cloud Storage, Azure Blob), through obstore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace.errors import NoSuchResult, ResultsError, UsageError


def open_objects(url: str) -> Objects:
    """
    The storage of an object store's URL; credentials and region come from the environment.

    Raises: UsageError: obstore is not installed, or does not understand the URL.
    """
    try:
        from obstore.store import from_url  # noqa: PLC0415 - an extra: flows without an object store do without
    except ImportError as error:
        raise UsageError(
            f'results URL "{url}": the library for object stores is missing; install "headrace[storage]" in the flow\'s image'
        ) from error
    try:
        return Objects(url, from_url(url))
    except Exception as error:
        raise UsageError(
            f'results URL "{url}": {_first_line(error)}; check the URL and the variables of the pod'
        ) from error


class Objects:
    """Storage over an obstore store; a put of an object store is whole or not at all."""

    def __init__(self, url: str, store: Any) -> None:
        self._url = url
        self._store = store

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
                return False
            return True

    def get(self, key: str) -> bytes:
        """As promised by Storage. Raises: NoSuchResult, ResultsError."""
        with self._told(key):
            return bytes(self._store.get(key).bytes())

    def exists(self, key: str) -> bool:
        """As promised by Storage. Raises: ResultsError."""
        try:
            with self._told(key):
                self._store.head(key)
        except NoSuchResult:
            return False
        return True

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

    @contextmanager
    def _told(self, key: str) -> Iterator[None]:
        from obstore.exceptions import BaseError  # noqa: PLC0415 - an extra, there by now

        try:
            yield
        except FileNotFoundError as error:
            raise NoSuchResult(self._url, key, "there is no such object") from error
        except (BaseError, OSError, ValueError) as error:
            raise ResultsError(self._url, key, _first_line(error)) from error


def _first_line(error: Exception) -> str:
    """What the store says, cut: its whole answer may hold what is secret."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200]

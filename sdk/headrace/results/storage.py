"""
From a results URL to the storage behind it.

An object whose first line says that it has expired (`lifetime`) counts as absent, though it lies there until it is pruned.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Final, Protocol
from urllib.parse import unquote, urlsplit

from headrace.errors import UsageError
from headrace.results.places import without_password

OBJECT_STORES: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
DATABASES: Final = ("postgresql", "postgres", "mysql", "mariadb")
EXAMPLES: Final = (
    '"s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix", "postgresql://user@host/database", '
    '"mysql://user@host/database" or "file:///mnt/results"'
)


class Sink(Protocol):
    """Takes the bytes of one object, piece by piece."""

    def write(self, data: bytes, /) -> object:
        """Takes the next piece."""


class Storage(Protocol):
    """
    Bytes by key; keys are paths without a slash in front.

    Every method raises ResultsError if the storage cannot be reached or refuses.
    """

    def put(self, key: str, data: bytes) -> None:
        """Stores it whole or not at all; what was there is replaced."""

    def put_new(self, key: str, data: bytes) -> bool:
        """
        Stores it if nothing is there, whole or not at all. Returns whether it did.

        Of several processes, on several machines, that put one key at once, exactly one is told so. If it raises, it may be
        there or not.
        """

    def get(self, key: str) -> bytes:
        """What was put there. Raises: NoSuchResult."""

    def exists(self, key: str) -> bool:
        """Whether something is there."""

    def size(self, key: str) -> int:
        """Bytes of what lies there, whether it has expired or not. Raises: NoSuchResult."""

    def delete(self, key: str) -> None:
        """Takes it away; that nothing is there is success."""

    def reader(self, key: str) -> AbstractContextManager[BinaryIO]:
        """
        What was put there, as a file to read once from its start, of which a few MB are in memory at a time.

        Raises: NoSuchResult, on entering.
        """

    def writer(self, key: str) -> AbstractContextManager[Sink]:
        """
        Stores what is written, whole when the block ends, or not at all if it raises; a few MB are in memory at a time.

        What was there stays until then.
        """

    def list(self, prefix: str = "") -> Iterator[str]:
        """
        All keys below the folder `prefix`, however deep, in no order; all there are for "".

        "run" is the folder of "run/output", not that of "run-2/output". What others put or delete meanwhile may be
        among them or not; what has expired is among them until it is pruned.
        """

    def prune(self, prefix: str = "", *, dry_run: bool = False) -> Iterator[str]:
        """
        Takes away what has expired, below the folder `prefix`. Returns its keys; they are gone once all were iterated.

        Args:
            dry_run: Leave it there.
        """


def open_storage(url: str) -> Storage:
    """
    The storage of a results URL. Credentials come from the environment.

    Raises: UsageError: there is none for such a URL, or its library is not installed.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        from headrace.results.files import Files  # noqa: PLC0415 - one kind of storage is used, the others cost time

        if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
            raise UsageError(
                f'results URL "{without_password(url)}": a folder has three slashes and a whole path, such as file:///mnt/results'
            )
        return Files(Path(unquote(parts.path)))
    if parts.scheme in OBJECT_STORES:
        from headrace.results.objects import open_objects  # noqa: PLC0415 - as above

        return open_objects(url)
    if parts.scheme in DATABASES:
        from headrace.results.sql import open_rows  # noqa: PLC0415 - as above

        return open_rows(url)
    raise UsageError(
        f'results URL "{without_password(url)}": there is no storage for "{parts.scheme}"; write {EXAMPLES}'
    )

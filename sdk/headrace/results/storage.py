"""From a results URL to the storage behind it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import unquote, urlsplit

from headrace.errors import UsageError

OBJECT_STORES: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")
EXAMPLES: Final = '"s3://bucket/prefix", "gs://bucket/prefix", "az://container/prefix" or "file:///mnt/results"'


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

        Of several processes, on several machines, that put one key at once, exactly one is told so.
        """

    def get(self, key: str) -> bytes:
        """What was put there. Raises: NoSuchResult."""

    def exists(self, key: str) -> bool:
        """Whether something is there."""

    def delete(self, key: str) -> None:
        """Takes it away; that nothing is there is success."""

    def list(self, prefix: str = "") -> Iterator[str]:
        """
        All keys below the folder `prefix`, however deep, in no order; all there are for "".

        "run" is the folder of "run/output", not that of "run-2/output". What others put or delete meanwhile may be
        among them or not.
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
                f'results URL "{url}": a folder has three slashes and a whole path, such as file:///mnt/results'
            )
        return Files(Path(unquote(parts.path)))
    if parts.scheme in OBJECT_STORES:
        from headrace.results.objects import open_objects  # noqa: PLC0415 - as above

        return open_objects(url)
    raise UsageError(f'results URL "{url}": there is no storage for "{parts.scheme}"; write {EXAMPLES}')

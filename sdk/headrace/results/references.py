"""
Large values by reference: a task stores one, returns what names it, and the task that needs it loads it.

    ref = store(table)                       # in one task: the data goes to the storage once
    ref.load()                               # in another one, in whichever process or pod
    ref = store_stream("rows", chunks)       # piece by piece, for what does not fit into memory
    with ref.open() as file: ...

What is stored lies in the folder of the flow run, and expires as its other results do.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from headrace.engine.scope import CURRENT
from headrace.engine.session import current_session
from headrace.errors import ResultsError, UsageError
from headrace.results.cargo import VALUE, Torn, opened, packed
from headrace.results.formats import BYTES
from headrace.results.places import with_password_of, without_password
from headrace.results.storage import Sink, Storage, open_storage
from headrace.results.streaming import PIECE_BYTES, REPLACED, SealedSink, sealed_reader

DIGEST_LENGTH: Final = 32
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True)
class Reference:
    """
    Names a stored object; small, and at home in arguments, results and other processes.

    Attributes: `url` of the storage, without a password; `key` of the object in it; `format` such as "json" or "bytes";
    `size` of its payload as it is stored, in bytes; `sha256` of that payload.
    """

    url: str
    key: str
    format: str
    size: int
    sha256: str

    def load(self) -> Any:
        """
        The value, or the bytes of a stream. It is all in memory, and each call loads it anew.

        Raises: NoSuchResult: it was deleted, or has expired. ResultsError: another object is there, or it is not whole.
        """
        try:
            cargo = opened(_storage(self.url).get(self.key))
        except Torn as error:
            raise ResultsError(self.url, self.key, f"it is not whole: {error}") from error
        if hashlib.sha256(cargo.payload).hexdigest() != self.sha256:
            raise ResultsError(self.url, self.key, REPLACED)
        return cargo.content()

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """
        The bytes of a stream, or those of a value as its format has them, to read once from the start.

        Raises: as load; that it is another object, or not whole, may show at its end only.
        """
        with sealed_reader(_storage(self.url), self.url, self.key, self.sha256) as file:
            yield file


def store(value: Any, *, format: str | None = None) -> Reference:  # noqa: A002 - as the field
    """
    Stores a value in the folder of the flow run, under a key made of its content.

    Args:
        format: "json", "pickle", "arrow" or "parquet". None: the first of JSON, Arrow and pickle that loses nothing.
    Raises: UsageError: it cannot be written so, or there is no results URL. ResultsError.
    """
    url, facts = _results_url(), _facts()
    cargo = packed(value, VALUE, what="the value to store", format=format, **facts)
    digest = hashlib.sha256(cargo.payload).hexdigest()
    key = f"{_folder()}/{digest[:DIGEST_LENGTH]}"
    _storage(url).put(key, cargo.sealed())
    return Reference(without_password(url), key, cargo.format, len(cargo.payload), digest)


class Stream(SealedSink):
    """A file that store_file stores."""

    def __init__(self, sink: Sink, url: str, key: str) -> None:
        super().__init__(sink, _facts())
        self._place = without_password(url), key

    @property
    def reference(self) -> Reference:
        """What names it. Raises: UsageError: the block has not ended."""
        if not self.written:
            raise UsageError("a stream has a reference once its block has ended, and all of it is stored")
        return Reference(*self._place, BYTES, self.written["bytes"], self.written["sha256"])


@contextmanager
def store_file(name: str) -> Iterator[Stream]:
    """
    A file to write bytes to, which is stored when the block ends, and not at all if it raises; a few MB are in memory.

    Args:
        name: For people: letters, digits, ".", "_" and "-". The key has a random end, so that no attempt writes over what
            the reference of an earlier one names.
    Raises: UsageError: there is no such name, or no results URL. ResultsError.
    """
    if not NAME.fullmatch(name):
        raise UsageError(
            f'stream "{name}": a name has at most 100 letters, digits, ".", "_" and "-", such as "rows.csv"'
        )
    url, key = _results_url(), f"{_folder()}/{name}-{secrets.token_hex(4)}"
    with _storage(url).writer(key) as sink:
        file = Stream(sink, url, key)
        yield file
        file.end()


def store_stream(name: str, source: Iterable[bytes] | BinaryIO) -> Reference:
    """
    Stores what comes in pieces, or from a file that is read to its end.

    Args:
        name: As of store_file.
    Raises: as store_file; whatever the source raises, and then nothing is stored.
    """
    with store_file(name) as file:
        for piece in _pieces(source):
            file.write(piece)
    return file.reference


def _pieces(source: Iterable[bytes] | BinaryIO) -> Iterable[bytes]:
    read = getattr(source, "read", None)
    return source if read is None else iter(lambda: read(PIECE_BYTES), b"")


def _results_url() -> str:
    from headrace.engine.keeping.names import results_url  # noqa: PLC0415 - the engine loads this package in turn

    url = results_url(current_session())
    if not url:
        raise UsageError(
            "there is no place to store it: set spec.results.url of the Flow, such as s3://bucket/prefix, or on a laptop "
            "HEADRACE_RESULTS_URL"
        )
    return url


def _folder() -> str:
    """Of what this task run, or this flow run, stores; its attempts share it."""
    from headrace.engine.keeping.names import run_id  # noqa: PLC0415 - as above

    run: Any = CURRENT.get()
    around = run_id(run) if run else ""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", run.name) if run else ""
    return "/".join(part for part in (around or "local", "stored", name) if part)


def _facts() -> dict[str, str]:
    run = CURRENT.get()
    around = run.flow_run if run else None
    named = {"flow_run": around.name if around else "", "task_run": run.name if run and run is not around else ""}
    return {name: value for name, value in named.items() if value}


def _storage(url: str) -> Storage:
    """A reference holds no password."""
    return (current_session().open_storage or open_storage)(with_password_of(current_session().results_url, url))

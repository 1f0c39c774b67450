"""
Objects that are written and read piece by piece, a few MB in memory at a time, as one sealed object each.

    {"headrace": 2, "kind": "stream", "format": "bytes", "tail": true, …}
    …
    {"bytes": …, "sha256": "…", "content_bytes": …}

The size and the checksum are known at the end only, so they are in the last line. A reader that has come to the end
knows that all was as it was written; what it has read of an object that turns out to be torn is not to be used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO, Final

from headrace.errors import ResultsError
from headrace.results import compression
from headrace.results.cargo import STREAM, TAIL_BYTES, Cargo, Torn, checked, first_line, head_of, tail_of
from headrace.results.formats import BYTES
from headrace.results.lifetime import MAX_HEAD
from headrace.results.storage import Sink, Storage

SAMPLE_BYTES: Final = 65536
"""What is looked at to know whether compression pays."""
PIECE_BYTES: Final = 1 << 18
REPLACED: Final = "another object is there than the one that was stored; look who else writes to the storage"


class SealedSink(RawIOBase):
    """
    A file to write to, whose content becomes a sealed object.

    `written` is what is known of it once it has ended: bytes, sha256 (as stored), content_bytes (as written).
    """

    def __init__(self, sink: Sink, facts: Mapping[str, Any]) -> None:
        self._sink = sink
        self._facts = facts
        self._waiting = bytearray()
        self._began = False
        self._compressor: compression.Compressor | None = None
        self._digest = hashlib.sha256()
        self._stored = self._content = 0
        self.written: Mapping[str, Any] = {}

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        """Takes the next piece; small ones are gathered."""
        size = len(data) if type(data) is bytes else memoryview(data).nbytes
        if size <= PIECE_BYTES:
            self._waiting += data
        else:
            view = memoryview(data).cast("B")
            for start in range(0, size, PIECE_BYTES):
                self._waiting += view[start : start + PIECE_BYTES]
                self._pour()
        if len(self._waiting) >= PIECE_BYTES:
            self._pour()
        return size

    def end(self) -> None:
        """Writes what is left; nothing can be written after it."""
        self._pour()
        if self._compressor is not None:
            self._store(self._compressor.flush())
        sizes = {"bytes": self._stored, "sha256": self._digest.hexdigest(), "content_bytes": self._content}
        self.written = sizes
        self._sink.write(b"\n" + json.dumps(sizes, separators=(",", ":")).encode().ljust(TAIL_BYTES - 2) + b"\n")

    def _pour(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        if not self._began:
            self._begin(data)
        self._content += len(data)
        self._store(data if self._compressor is None else self._compressor.compress(data))

    def _begin(self, sample: bytes) -> None:
        """Writes the first line, which says whether the beginning is worth compressing."""
        self._began = True
        packing = compression.compressed(sample[:SAMPLE_BYTES])[1]
        self._compressor = compression.new_compressor() if packing else None
        self._sink.write(first_line(Cargo(STREAM, BYTES, b"", self._facts, packing), {"tail": True}))

    def _store(self, data: bytes) -> None:
        self._digest.update(data)
        self._stored += len(data)
        self._sink.write(data)


@contextmanager
def sealed_reader(storage: Storage, place: str, key: str, sha256: str = "") -> Iterator[BinaryIO]:
    """
    The content of an object, decompressed, as a file to read once.

    Args:
        place: The storage's URL, for errors.
        sha256: Of the payload that is expected. Empty: any.
    Raises: NoSuchResult. ResultsError: it is not whole, which may show at its end only. UsageError: zstd is missing.
    """
    with storage.reader(key) as source:
        try:
            head = head_of(source.readline(MAX_HEAD))
        except Torn as error:
            raise ResultsError(place, key, str(error)) from error
        payload = _Payload(source, head, partial(ResultsError, place, key), sha256)
        content = compression.decompressing(BufferedReader(payload), head.get("compression", compression.NONE))
        yield BufferedReader(_Content(content, payload), PIECE_BYTES)


class _Payload(RawIOBase):
    """The payload as it is stored; at its end it is checked."""

    def __init__(
        self, source: BinaryIO, head: Mapping[str, Any], refused: Callable[[str], ResultsError], expected: str
    ) -> None:
        self._source = source
        self._head = head
        self._refused = refused
        self._expected = expected
        self._kept_back = TAIL_BYTES if head.get("tail") else 0
        self._held = b""
        self._digest = hashlib.sha256()
        self._found = 0
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As of io.RawIOBase. Raises: ResultsError: it is not whole."""
        while not self._ended:
            piece = self._source.read(max(len(buffer) + self._kept_back - len(self._held), 1))
            self._held += piece
            ready = self._held[: len(self._held) - self._kept_back] if len(self._held) > self._kept_back else b""
            if ready:
                ready = ready[: len(buffer)]
                self._held = self._held[len(ready) :]
                self._digest.update(ready)
                self._found += len(ready)
                buffer[: len(ready)] = ready
                return len(ready)
            if not piece:
                self._check()
        return 0

    def _check(self) -> None:
        self._ended = True
        digest = self._digest.hexdigest()
        try:
            checked(tail_of(self._held) if self._kept_back else self._head, self._found, digest)
        except Torn as error:
            raise self._refused(f"it is not whole: {error}") from error
        if self._expected and digest != self._expected:
            raise self._refused(REPLACED)


class _Content(RawIOBase):
    """The content; at its end, the payload is read to its own."""

    def __init__(self, content: BinaryIO, payload: _Payload) -> None:
        self._content = content
        self._payload = payload

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """As of io.RawIOBase. Raises: ResultsError: it is not whole."""
        piece = self._content.read(len(buffer))
        buffer[: len(piece)] = piece
        if not piece:
            while self._payload.read(MAX_HEAD):
                pass
        return len(piece)

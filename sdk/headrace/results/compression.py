"""
Zstandard where it is there: in Python from 3.14, else by the extra "zstd"; without it, nothing is compressed.

Measured on JSON rows, one core of a small cloud machine: zstd at level 1 makes a third of it at 150 to 380 MB/s and
reads it back at 500 MB/s and more; zlib at its fastest makes no less and takes 50 to 100 MB/s, which is slower than
the network that it would spare. Below a few KB a request costs more than its bytes.
"""

from __future__ import annotations

from typing import Any, BinaryIO, Final, Protocol

from headrace.errors import UsageError
from headrace.results.extras import optional

ZSTD: Final = "zstd"
NONE: Final = ""
LEVEL: Final = 1
WORTH_BYTES: Final = 4096
"""What is smaller is stored as it is."""
OF_PYTHON: Final = "compression.zstd"
INSTALLED: Final = "zstandard"
MISSING: Final = (
    'the object is compressed with zstd, which is missing here; install "headrace[zstd]", or use Python 3.14 or later'
)


class Compressor(Protocol):
    """Compresses what comes piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """What there is to write so far."""

    def flush(self) -> bytes:
        """What is left to write once the last piece is in."""


def compressed(data: bytes) -> tuple[bytes, str]:
    """The bytes to store, and how they were compressed: NONE where it would not pay, or zstd is missing."""
    if len(data) < WORTH_BYTES:
        return data, NONE
    compressor = new_compressor()
    if compressor is None:
        return data, NONE
    smaller = compressor.compress(data) + compressor.flush()
    return (smaller, ZSTD) if len(smaller) < len(data) * 9 // 10 else (data, NONE)


def decompressed(data: bytes, compression: str) -> bytes:
    """What was compressed. Raises: UsageError: zstd is missing here."""
    if compression == NONE:
        return data
    python = optional(OF_PYTHON)
    if python:
        return bytes(python.decompress(data))
    return bytes(_installed().ZstdDecompressor().decompressobj().decompress(data))


def new_compressor() -> Compressor | None:
    """One for a stream; None where zstd is missing."""
    python: Any = optional(OF_PYTHON)
    if python:
        of_python: Compressor = python.ZstdCompressor(level=LEVEL)
        return of_python
    installed: Any = optional(INSTALLED)
    found: Compressor | None = installed.ZstdCompressor(level=LEVEL).compressobj() if installed else None
    return found


def decompressing(source: BinaryIO, compression: str) -> BinaryIO:
    """The file that `source` was before; it reads no more than it is asked for. Raises: UsageError: zstd is missing here."""
    if compression == NONE:
        return source
    python = optional(OF_PYTHON)
    opened: BinaryIO = python.ZstdFile(source) if python else _installed().ZstdDecompressor().stream_reader(source)
    return opened


def _installed() -> Any:
    found = optional(INSTALLED)
    if found is None:
        raise UsageError(MISSING)
    return found

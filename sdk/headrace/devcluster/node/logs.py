"""
What containers wrote, a file a run, in the format of container runtimes:

    2026-01-31T07:00:00.123456Z stdout F a whole line
    2026-01-31T07:00:00.123456Z stdout P the first 16 KiB of a longer one
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from headrace.devcluster.node.times import now_precise, parse

LINE_LIMIT = 16 * 1024
FALLBACK_BYTES, FALLBACK_LINES = 2048, 80
"""How much of a log stands in for a termination message, as the kubelet has it."""


class LogWriter:
    """The growing log of one run; `closed` is True when nothing will follow."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.closed = False
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._partial: dict[str, bytes] = {}
        self._waiting: set[asyncio.Future[None]] = set()

    def feed(self, stream: str, chunk: bytes) -> None:
        """Takes what a process wrote on `stdout` or `stderr`."""
        *lines, rest = (self._partial.get(stream, b"") + chunk).split(b"\n")
        stamp = now_precise()
        text = b"".join(_entries(stream, line, stamp, last=b"F") for line in lines)
        while len(rest) >= LINE_LIMIT:
            text += _entry(stream, rest[:LINE_LIMIT], stamp, b"P")
            rest = rest[LINE_LIMIT:]
        self._partial[stream] = rest
        self._file.write(text)
        self._wake()

    def close(self) -> None:
        """Writes what was left without a line feed; nothing follows."""
        if self.closed:
            return
        for stream, rest in self._partial.items():
            if rest:
                self._file.write(_entries(stream, rest, now_precise(), last=b"P"))
        self.closed = True
        self._file.close()
        self._wake()

    async def grown(self) -> None:
        """Returns when more was written or the log was closed since the call."""
        if self.closed:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    Which part of a log, in which form.

    Attributes: `tail` lines from the end, None for all; `since` leaves out what is older; `limit` in bytes.
    """

    follow: bool = False
    timestamps: bool = False
    tail: int | None = None
    since: datetime | None = None
    limit: int | None = None


async def read(path: Path, wanted: Wanted, writer: LogWriter | None) -> AsyncIterator[bytes]:
    """
    The log's text in pieces.

    Args:
        writer: Of a run that may still write; None for one that has ended.
    """
    left = wanted.limit
    async for piece in _pieces(path, wanted, writer):
        cut = piece if left is None else piece[:left]
        if cut:
            yield cut
        if left is not None:
            left -= len(cut)
            if left <= 0:
                return


async def _pieces(path: Path, wanted: Wanted, writer: LogWriter | None) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        entries: Iterable[bytes] = _since(file, wanted.since)
        if wanted.tail is not None:
            entries = _last_lines(entries, wanted.tail)
        for entry in entries:
            yield _shown(entry, timestamps=wanted.timestamps)
        while wanted.follow and writer is not None:
            ended = writer.closed
            waits = asyncio.ensure_future(writer.grown())
            try:
                for entry in file:  # written before the wait began
                    yield _shown(entry, timestamps=wanted.timestamps)
                if ended:
                    return
                await waits
            finally:
                waits.cancel()


def last_words(path: Path) -> str:
    """The end of a log, for a termination message: at most 2,048 bytes and 80 lines."""
    try:
        entries = path.read_bytes().splitlines(keepends=True)[-FALLBACK_LINES:]
    except FileNotFoundError:
        return ""
    text = b"".join(_shown(entry, timestamps=False) for entry in entries)
    return text[-FALLBACK_BYTES:].decode(errors="replace")


def _entries(stream: str, line: bytes, stamp: str, *, last: bytes) -> bytes:
    """One line as entries of at most `LINE_LIMIT`."""
    parts = [line[at : at + LINE_LIMIT] for at in range(0, len(line), LINE_LIMIT)] or [b""]
    return b"".join(_entry(stream, part, stamp, b"P") for part in parts[:-1]) + _entry(stream, parts[-1], stamp, last)


def _entry(stream: str, text: bytes, stamp: str, tag: bytes) -> bytes:
    return b" ".join((stamp.encode(), stream.encode(), tag, text)) + b"\n"


def _shown(entry: bytes, *, timestamps: bool) -> bytes:
    stamp, _, tag, text = entry.rstrip(b"\n").split(b" ", 3)
    return (stamp + b" " if timestamps else b"") + text + (b"\n" if tag == b"F" else b"")


def _since(file: BinaryIO, since: datetime | None) -> Iterator[bytes]:
    for entry in file:
        if since is None or parse(entry.split(b" ", 1)[0].decode()) >= since:
            yield entry


def _last_lines(entries: Iterable[bytes], count: int) -> Iterable[bytes]:
    """The entries of the last `count` lines; a long line has several."""
    kept: deque[list[bytes]] = deque(maxlen=count)
    line: list[bytes] = []
    for entry in entries:
        line.append(entry)
        if entry.split(b" ", 3)[2] == b"F":
            kept.append(line)
            line = []
    if line:
        kept.append(line)
    return [entry for each in kept for entry in each]

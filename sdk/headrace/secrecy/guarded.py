"""
Standard output and standard error without registered values: for processes whose output others read.

A value may come in pieces: what may be the beginning of one is kept until it is clear what it is. What child processes and
C libraries write to the file descriptors does not pass here.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Iterable, Mapping
from io import RawIOBase, TextIOBase, TextIOWrapper
from threading import RLock
from typing import TYPE_CHECKING, Any, TextIO

from headrace.mounts.folders import secret_values
from headrace.secrecy.redaction import SECRETS

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class Guarded(TextIOBase):
    """A text stream in front of another one."""

    def __init__(self, behind: TextIO) -> None:
        self._behind = behind
        self._held = ""
        self._lock = RLock()
        self._bytes = _Bytes(self)

    def write(self, text: str, /) -> int:
        """As of any text stream."""
        with self._lock:
            if self._held or SECRETS.forms:
                known = self._held + text
                sure = SECRETS.until_unsure(known)
                self._behind.write(SECRETS.redacted(known[:sure]))
                self._held = known[sure:]
            else:
                self._behind.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:  # type: ignore[override]  # typeshed allows bytes there
        """As of any text stream."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """What is kept stays: it may be half of a value."""
        with self._lock:
            self._behind.flush()

    def release(self) -> None:
        """Writes what is kept, as nothing follows."""
        with self._lock:
            held, self._held = self._held, ""
            self._behind.write(SECRETS.redacted(held))
            self._behind.flush()

    def close(self) -> None:
        """Does nothing: the stream behind is the process's."""

    @property
    def buffer(self) -> _Bytes:
        """Takes bytes, as UTF-8."""
        return self._bytes

    @property
    def encoding(self) -> str:  # type: ignore[override]  # typeshed has an attribute
        """Of the stream behind."""
        return self._behind.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]  # as above
        """Of the stream behind."""
        return self._behind.errors

    def fileno(self) -> int:
        """Of the stream behind; what is written there is not looked at."""
        return self._behind.fileno()

    def isatty(self) -> bool:
        """As the stream behind says."""
        return self._behind.isatty()

    def writable(self) -> bool:
        """Whether it can be written to: always."""
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._behind, name)


class _Bytes(RawIOBase):
    def __init__(self, stream: Guarded) -> None:
        self._stream = stream

    def write(self, data: ReadableBuffer, /) -> int:
        found = bytes(data)
        self._stream.write(found.decode("utf-8", "backslashreplace"))
        return len(found)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True


def guard(variables: Mapping[str, str]) -> None:
    """Has this process show none of the secrets that its environment gives it; call it before any code of authors runs."""
    for value in secret_values(variables):
        SECRETS.add(value)
    guard_output()


def guard_output() -> None:
    """Puts a guard in front of the standard streams, for the rest of the process; each line goes out when it is written."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, Guarded):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(line_buffering=True)  # a process that is killed takes with it what is in its buffer
            setattr(sys, name, Guarded(stream))
    atexit.register(release_output)


def release_output() -> None:
    """Writes what is kept of both streams: the process ends."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, Guarded):
            stream.release()

"""
What lies in the result storage: one line of JSON, then as many bytes as it says, with the checksum that it says.

    {"headrace": 1, "kind": "value", "format": "json", "bytes": 7, "sha256": "…", "created": "…", …}
    "hello"

So an object that is torn, or is something else, is never taken for a result. Further fields are in docs/results.md;
objects of version 2 may be compressed, or were written as a stream (`streaming`). Whoever may write to the storage may
run code in the pods that read it, as values may be pickles.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import time
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headrace.engine.blame import traceback_text
from headrace.engine.transitions import told
from headrace.results import compression
from headrace.results.formats import KNOWN, PICKLE_PROTOCOL, Encoded, decoded, encoded
from headrace.results.lifetime import MAX_HEAD, stamp, ttl_s
from headrace.results.secrecy import warn_of_secret
from headrace.results.tables import PARQUET

VERSION: Final = 1
COMPRESSED_VERSION: Final = 2
TAIL_BYTES: Final = 192
"""Of the last line of a stream, which says what a first line could not know."""

_JSON: Final = json.JSONEncoder(separators=(",", ":"))

ARGUMENTS: Final = "arguments"
VALUE: Final = "value"
ERROR: Final = "error"
STREAM: Final = "stream"


class Torn(ValueError):
    """The bytes are no such object, or not all of it; the text says how."""


@dataclass(frozen=True, slots=True)
class Cargo:
    """
    One object.

    Args:
        kind: ARGUMENTS, VALUE, ERROR or STREAM.
        format: One of formats.KNOWN.
        payload: As it is stored.
        facts: Further fields of its first line.
        compression: Of the payload, as compression.compressed tells it.
    """

    kind: str
    format: str
    payload: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)
    compression: str = compression.NONE

    def sealed(self, *, now_s: float | None = None) -> bytes:
        """
        The bytes to store; the same cargo differs from second to second, as its first line says when it was made.

        Args:
            now_s: Seconds since 1970. None: by the clock.
        Raises: UsageError: HEADRACE_RESULTS_TTL_SECONDS has no such value.
        """
        digest = hashlib.sha256(self.payload).hexdigest()
        line = first_line(self, {"bytes": len(self.payload), "sha256": digest}, now_s=now_s)
        return line + self.payload

    def content(self) -> Any:
        """The value. Raises: UsageError: a library is missing. Whatever its classes raise when they are unpickled."""
        return decoded(Encoded(self.format, compression.decompressed(self.payload, self.compression), self.facts))


def first_line(cargo: Cargo, sizes: Mapping[str, Any], *, now_s: float | None = None) -> bytes:
    """The line before the payload, its end included; `sizes` is what is known of the payload. Raises: as Cargo.sealed."""
    now_s = time.time() if now_s is None else now_s
    lasts_s = ttl_s()
    head = {
        "created": stamp(now_s),
        **({"expires": stamp(now_s + lasts_s)} if lasts_s else {}),
        **cargo.facts,
        "headrace": COMPRESSED_VERSION if cargo.compression or "tail" in sizes else VERSION,
        "kind": cargo.kind,
        "format": cargo.format,
        **({"compression": cargo.compression} if cargo.compression else {}),
        **sizes,
    }
    return _JSON.encode(head).encode() + b"\n"


def head_of(line: bytes) -> dict[str, Any]:
    """The fields of a first line. Raises: Torn: it is none, or one of a version or format that is not known here."""
    try:
        head = json.loads(line)
        version, format_, _ = head["headrace"], head["format"], head["kind"]
    except (ValueError, KeyError, TypeError):
        raise Torn("it does not begin as an object of headrace does") from None
    known = version in {VERSION, COMPRESSED_VERSION} and head.get("compression", "") in {"", compression.ZSTD}
    if not known or format_ not in KNOWN:
        packing = f", compression {head['compression']}" if head.get("compression") else ""
        raise Torn(
            f"it is of version {version}, format {format_}{packing}; versions up to {COMPRESSED_VERSION} and formats "
            f"{', '.join(KNOWN)} are known here: read it with a newer headrace"
        )
    return dict(head)


def opened(data: bytes) -> Cargo:
    """What was sealed. Raises: Torn."""
    end = data.find(b"\n", 0, MAX_HEAD)
    head = head_of(data[: max(end, 0)])
    payload = data[end + 1 :]
    sizes = head
    if head.get("tail"):
        payload, tail = payload[:-TAIL_BYTES], payload[-TAIL_BYTES:]
        sizes = tail_of(tail)
    checked(sizes, len(payload), hashlib.sha256(payload).hexdigest())
    return Cargo(str(head["kind"]), str(head["format"]), payload, head, head.get("compression", compression.NONE))


def tail_of(line: bytes) -> dict[str, Any]:
    """What the last line of a stream says. Raises: Torn."""
    try:
        return dict(json.loads(line))
    except (ValueError, TypeError):
        raise Torn("its last line is missing: it was not written to the end") from None


def checked(sizes: Mapping[str, Any], found_bytes: int, digest: str) -> None:
    """Nothing, if the payload is the one that was written. Raises: Torn."""
    if found_bytes != sizes.get("bytes"):
        raise Torn(f"it has {found_bytes} bytes where its first line says {sizes.get('bytes')}")
    if digest != sizes.get("sha256"):
        raise Torn("its checksum is not what its first line says")


def packed(value: Any, kind: str, *, what: str, format: str | None = None, **facts: Any) -> Cargo:  # noqa: A002 - as the field
    """
    The value as an object to store.

    Args:
        what: Names the value in the error, such as 'task "train": its result'.
        format: "json", "pickle", "arrow" or "parquet". None: the first of JSON, Arrow and pickle that loses nothing.
        facts: Further fields of its first line; "expires" (RFC 3339) there wins over the lifetime of the Flow's results.
    Raises: UsageError: it cannot be written so.
    """
    found = encoded(value, what, format)
    if kind == VALUE:
        warn_of_secret(found.data, what)
    payload, packing = (found.data, compression.NONE) if found.format == PARQUET else compression.compressed(found.data)
    return Cargo(kind, found.format, payload, {**facts, **found.facts}, packing)


def packed_error(error: BaseException) -> Cargo:
    """An exception: as pickle if it can be raised anew elsewhere, and in words."""
    try:
        pickled = b64encode(pickle.dumps(error, protocol=PICKLE_PROTOCOL)).decode()
    except Exception:  # noqa: BLE001 - it may hold anything; then its words must do
        pickled = None
    content = {"told": told(error), "traceback": traceback_text(error), "pickled": pickled}
    return Cargo(ERROR, "json", json.dumps(content).encode())


@dataclass(frozen=True, slots=True)
class Raised:
    """An exception of another process: `error` where it can be raised here, else None; `told` and `traceback` are text."""

    error: Exception | None
    told: str
    traceback: str


def raised(cargo: Cargo) -> Raised:
    """What was packed as an error. Raises: Torn: it is none."""
    content = cargo.content() if cargo.kind == ERROR and cargo.format == "json" else None
    if not isinstance(content, dict):
        raise Torn("it is no exception")
    error = None
    if content.get("pickled"):
        try:
            error = pickle.loads(b64decode(content["pickled"]))  # noqa: S301 - see the module
        except Exception:  # noqa: BLE001 - its class may be unknown here, or take other arguments
            error = None
    return Raised(
        error if isinstance(error, Exception) else None, str(content.get("told")), str(content.get("traceback"))
    )

"""
What lies in the result storage: one line of JSON, then as many bytes as it says, with the checksum that it says.

    {"headrace": 1, "kind": "value", "format": "json", "bytes": 7, "sha256": "…", …}
    "hello"

So an object that is torn, or is something else, is never taken for a result. Values are JSON where JSON gives them back
as they were, else pickle: whoever may write to the storage may run code in the pods that read it.
"""

from __future__ import annotations

import hashlib
import json
import pickle
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Final

from headrace.engine.blame import traceback_text
from headrace.engine.transitions import told
from headrace.errors import UsageError

VERSION: Final = 1
PICKLE_PROTOCOL: Final = 5
MAX_HEAD: Final = 65536

ARGUMENTS: Final = "arguments"
VALUE: Final = "value"
ERROR: Final = "error"


class Torn(ValueError):
    """The bytes are no such object, or not all of it; the text says how."""


@dataclass(frozen=True, slots=True)
class Cargo:
    """One object: `kind` is ARGUMENTS, VALUE or ERROR, `facts` are further fields of its first line."""

    kind: str
    format: str
    payload: bytes
    facts: Mapping[str, Any] = field(default_factory=dict)

    def sealed(self) -> bytes:
        """The bytes to store."""
        head = {
            **self.facts,
            "headrace": VERSION,
            "kind": self.kind,
            "format": self.format,
            "bytes": len(self.payload),
            "sha256": hashlib.sha256(self.payload).hexdigest(),
        }
        return json.dumps(head, separators=(",", ":")).encode() + b"\n" + self.payload

    def content(self) -> Any:
        """The value. Raises: whatever its classes raise when they are unpickled, which is anything."""
        return json.loads(self.payload) if self.format == "json" else pickle.loads(self.payload)  # noqa: S301 - see above


def opened(data: bytes) -> Cargo:
    """What was sealed. Raises: Torn."""
    end = data.find(b"\n", 0, MAX_HEAD)
    try:
        head = json.loads(data[: max(end, 0)])
        size, digest = head["bytes"], head["sha256"]
        cargo = Cargo(str(head["kind"]), str(head["format"]), data[end + 1 :], head)
    except (ValueError, KeyError, TypeError):
        raise Torn("it does not begin as an object of headrace does") from None
    if head.get("headrace") != VERSION or cargo.format not in {"json", "pickle"}:
        raise Torn(f"it is of version {head.get('headrace')}, format {cargo.format}; this is version {VERSION}")
    if len(cargo.payload) != size:
        raise Torn(f"it has {len(cargo.payload)} bytes where its first line says {size}")
    if hashlib.sha256(cargo.payload).hexdigest() != digest:
        raise Torn("its checksum is not what its first line says")
    return cargo


def packed(value: Any, kind: str, *, what: str, **facts: Any) -> Cargo:
    """
    The value as an object to store.

    Args:
        what: Names the value in the error, such as 'task "train": its result'.
    Raises: UsageError: it cannot be pickled.
    """
    if is_plain(value):
        return Cargo(kind, "json", json.dumps(value, separators=(",", ":")).encode(), facts)
    try:
        return Cargo(kind, "pickle", pickle.dumps(value, protocol=PICKLE_PROTOCOL), facts)
    except Exception as error:
        raise UsageError(
            f"{what} cannot be pickled ({told(error)}), and another process needs it; open files, connections, locks, "
            "lambdas and generators cannot go there: pass what they are made from, such as a path or a URL"
        ) from error


def is_plain(value: Any) -> bool:
    """Whether JSON gives the value back as it is: no tuple, no subclass, no key but text."""
    try:
        return _is_plain(value)
    except RecursionError:
        return False


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if value is None or kind in {bool, int, str}:
        return True
    if kind is float:
        return isfinite(value)
    if kind is list:
        return all(_is_plain(each) for each in value)
    return kind is dict and all(type(key) is str and _is_plain(each) for key, each in value.items())


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

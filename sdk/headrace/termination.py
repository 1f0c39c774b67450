"""
The termination message: how a flow ended, as JSON of at most 4,096 bytes.

Kubernetes cuts a longer one in the middle of the JSON, so what is too long is cut here: the sentence first, then the
result is left out.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from headrace.engine.showcase import Showcase
from headrace.launch import Ending, StoredResult
from headrace.secrecy.redaction import redacted_json

VERSION: Final = 1
LIMIT: Final = 4096
"""Bytes that the kubelet takes."""
RESULT_LIMIT: Final = 1024
"""Bytes of JSON, spaces after commas and colons counted."""
LINEAGE_LIMIT: Final = 1024
"""Bytes of the names of datasets; the others are counted."""
ARTIFACTS_LIMIT: Final = 1536
"""Bytes of the artifacts, the newest; the others are counted."""
SHORTEST: Final = 64
"""Bytes of the sentence below which the result is left out."""

OMITTED: Final = object()
"""Stands for a result that is left out."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the process and its children used: `cpu_s` seconds of user and system time, memory of the largest of them."""

    cpu_s: float
    max_memory_bytes: int


def usage() -> Usage:
    """What this process and its ended children used so far."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    unit = 1 if sys.platform == "darwin" else 1024
    return Usage(
        cpu_s=round(sum(one.ru_utime + one.ru_stime for one in each), 3),
        max_memory_bytes=max(one.ru_maxrss for one in each) * unit,
    )


def termination_message(ending: Ending, used: Usage, *, limit: int = LIMIT) -> bytes:
    """The message as UTF-8, at most `limit` bytes (at least 512)."""
    result = _shown(ending.result)
    fields = _fields(ending, used, result)
    if limit - len(_encoded({**fields, "message": ""})) < SHORTEST:
        fields = _fields(ending, used, OMITTED)
    if limit - len(_encoded({**fields, "message": ""})) < SHORTEST and "lineage" in fields:
        fields = {**fields, "lineage": ending.ledger.summary(0)}
    if limit - len(_encoded({**fields, "message": ""})) < SHORTEST and "artifacts" in fields:
        fields = {**fields, **_artifacts(ending.showcase, 0)}
    spare = limit - len(_encoded({**fields, "message": ""}))
    return _encoded({**fields, "message": _cut(ending.message, spare)})


def write(message: bytes, path: Path, *, create: bool) -> None:
    """
    Puts the message into the file in one write.

    Args:
        create: Whether to make the file; a container runtime has made its own before the process began.
    Raises: OSError: the file is not there, or cannot be written.
    """
    flags = os.O_WRONLY | os.O_TRUNC | (os.O_CREAT if create else 0)
    file = os.open(path, flags, 0o644)
    try:
        os.write(file, message)
    finally:
        os.close(file)


def small_json(value: Any) -> Any:
    """The value as JSON types if it is at most 1,024 bytes of JSON, else a mark that stands for "left out"."""
    if isinstance(value, str | bytes) and len(value) > RESULT_LIMIT:
        return OMITTED
    text = ""
    try:
        # In small pieces: a result of 100 MB is given up after the first kilobyte.
        for piece in json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=jsonable).iterencode(value):
            text += piece
            if len(text.encode()) > RESULT_LIMIT:
                return OMITTED
        return json.loads(text)
    except Exception:  # noqa: BLE001 - a result is foreign: whatever is wrong with it, it is left out
        return OMITTED


def _shown(result: Any) -> Any:
    """The result as far as the message holds it; whoever may read a run may read this, so it is without secrets."""
    if isinstance(result, StoredResult):
        return result
    small = small_json(result)
    return small if small is OMITTED else small_json(redacted_json(small))


def jsonable(value: Any) -> Any:
    """Dates, models, dataclasses, sets, … as JSON has them; not what is used up by looking at it."""
    from pydantic_core import to_jsonable_python  # noqa: PLC0415 - only a result that is no plain JSON needs it

    if hasattr(value, "__next__"):
        raise TypeError("an iterator is no result")
    return to_jsonable_python(value)


def _fields(ending: Ending, used: Usage, result: Any) -> Mapping[str, Any]:
    fields: dict[str, Any] = {
        "version": VERSION,
        "state": ending.phase,
        "reason": ending.reason,
        "message": "",
        "tasks": {name: count for name, count in asdict(ending.tasks).items() if count or name != "subflows"},
        "usage": {"cpuSeconds": used.cpu_s, "maxMemoryBytes": used.max_memory_bytes},
    }
    if lineage := ending.ledger.summary(LINEAGE_LIMIT):
        fields["lineage"] = redacted_json(lineage)
    fields.update(_artifacts(ending.showcase, ARTIFACTS_LIMIT))
    if ending.retry_delay_s is not None:
        fields["retryDelaySeconds"] = ending.retry_delay_s
    if ending.pause is not None:
        fields["pause"] = redacted_json(ending.pause.told())
    if result is OMITTED:
        fields["resultOmitted"] = True
    elif isinstance(result, StoredResult):
        fields["resultUrl"] = result.url
    elif result is not None:
        fields["result"] = result
    return fields


def _artifacts(showcase: Showcase, limit: int) -> Mapping[str, Any]:
    """The newest artifacts that take at most `limit` bytes, and how many others there are; nothing if there are none."""
    found = showcase.newest()
    told: list[Mapping[str, str]] = []
    for each in reversed(found):
        fields = {"name": each.key, "kind": each.kind, "url": each.url, "description": each.description}
        told.insert(0, {name: text for name, text in fields.items() if text})
        if len(_encoded({"": told})) > limit:
            told.pop(0)
            break
    omitted = len(found) - len(told) + showcase.left_out
    return {**({"artifacts": told} if found else {}), **({"artifactsOmitted": omitted} if omitted else {})}


def _encoded(fields: Mapping[str, Any]) -> bytes:
    # Half a surrogate pair has no UTF-8.
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _cut(text: str, spare: int) -> str:
    """As much of the text as takes at most `spare` bytes inside a JSON string, with "…" where it was cut."""
    if _cost(text) <= spare:
        return text
    spare -= _cost("…")
    kept = 0
    for character in text[: max(spare, 0)]:
        spare -= _cost(character)
        if spare < 0:
            break
        kept += 1
    return text[:kept] + "…"


def _cost(text: str) -> int:
    return len(_encoded({"": text})) - len(_encoded({"": ""}))

"""
What a flow's process says about its end: the termination message of its container, JSON of at most 4,096 bytes.

It is foreign input: a part that is missing, of the wrong type or out of range counts as absent, and text that is no
report at all is no error. What comes out can be written to a status as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from math import isfinite
from typing import Any

from headrace.api.flowrun import PAUSE_NAME, PauseKind
from headrace_operator.decide.artifacts import artifacts_from
from headrace_operator.decide.lineage import reported

VERSION = 1
STATES = frozenset({"Succeeded", "Failed", "Cancelled", "Retrying", "Paused"})
TASK_COUNTS = ("total", "succeeded", "failed", "cached", "retried", "subflows")

SIZE_LIMIT = 64 * 1024
"""More than any container runtime passes on; longer text is not read as JSON."""
RESULT_LIMIT = 1024
"""Bytes of JSON that `status.result.value` takes."""
URL_LIMIT = 2048
"""Characters that `status.result.url` takes."""
TEXT_LIMIT = 600
"""Of a message or a log's tail, so that the sentence around it fits into a condition."""
MAX_COUNT = 2**31 - 1
MAX_BYTES = 2**62
MAX_SECONDS = 7 * 24 * 3600.0
"""Longest delay that a flow can ask for: a week, as in the retry policies."""
INT64_DIGITS = 18
SCHEMA_LIMIT = 2560
"""Bytes of JSON that `status.pause.schema` takes; the SDK sends 2,048 at most."""
MAX_WAIT_SECONDS = 10 * 366 * 24 * 3600.0
MAX_PAUSE_NAME = 63


@dataclass(frozen=True, slots=True)
class PauseReport:
    """
    What a flow pauses for.

    Args:
        schema: Of the input that it asks for; None: none.
        timeout_s: How long an approval is waited for, from the end of the attempt. None: without end.
        until: When a sleep is over.
        problem: Why the flow cannot use the answer that it was given. None: it was given none.
    """

    kind: PauseKind
    name: str
    message: str = ""
    schema: Mapping[str, Any] | None = None
    timeout_s: float | None = None
    until: datetime | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """
    The report of an SDK flow.

    Args:
        state: One of STATES.
        reason: CamelCase, such as "TimedOut".
        result: What the flow returned, None also where it returned None, or more than RESULT_LIMIT.
        result_url: Where a larger result is stored.
        result_omitted: There was a larger one, and it was not stored.
        tasks: Counts by the names in TASK_COUNTS.
        usage: `cpuSeconds` and `maxMemoryBytes`.
        lineage: `inputs` and `outputs`, URIs; `more` of them were left out.
        retry_delay_seconds: How long the flow asks to wait before the next attempt.
        artifacts: What it left for people to look at, as the status holds it, newest last.
        pause: What it waits for, where `state` is "Paused"; None also where that cannot be understood.
    """

    state: str
    reason: str | None = None
    message: str = ""
    result: Any = None
    result_url: str | None = None
    result_omitted: bool = False
    tasks: Mapping[str, int] | None = None
    usage: Mapping[str, float] | None = None
    lineage: Mapping[str, Any] | None = None
    retry_delay_seconds: float | None = None
    artifacts: tuple[Mapping[str, str], ...] = ()
    pause: PauseReport | None = None


def parse_report(text: str | None) -> Report | None:
    """The report in a termination message; None when the text is something else."""
    fields = _json_object(text or "")
    state = fields.get("state")
    if fields.get("version") != VERSION or not isinstance(state, str) or state not in STATES:
        return None
    return Report(
        state=state,
        reason=_word(fields.get("reason")),
        message=one_line(fields.get("message")),
        result=_result(fields.get("result")),
        result_url=_url(fields.get("resultUrl")),
        result_omitted=fields.get("resultOmitted") is True,
        tasks=_tasks(fields.get("tasks")),
        usage=_usage(fields.get("usage")),
        lineage=reported(fields.get("lineage")),
        retry_delay_seconds=_number(fields.get("retryDelaySeconds"), MAX_SECONDS),
        artifacts=artifacts_from(fields.get("artifacts")),
        pause=_pause(fields.get("pause")) if state == "Paused" else None,
    )


def one_line(text: object) -> str:
    """The text on one line, printable, its end cut off; empty for anything but a string."""
    line = _printable(text)
    return line if len(line) <= TEXT_LIMIT else line[: TEXT_LIMIT - 1] + "…"


def tail(text: object) -> str:
    """The last line that says something: where a log tells what went wrong."""
    lines = text.splitlines() if isinstance(text, str) else []
    last = next((line for raw in reversed(lines) if (line := _printable(raw))), "")
    return last if len(last) <= TEXT_LIMIT else "…" + last[1 - TEXT_LIMIT :]


def _printable(text: object) -> str:
    if not isinstance(text, str):
        return ""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _json_object(text: str) -> Mapping[str, Any]:
    if len(text) > SIZE_LIMIT:
        return {}
    try:
        # NaN and integers beyond 64 bits are no JSON that the API could take.
        value = json.loads(text, parse_constant=lambda _: None, parse_int=_integer)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= INT64_DIGITS else float(digits)


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and value.isascii() and value.isalpha() and len(value) <= 64 else None


def _number(value: object, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isfinite(value) and 0 <= value <= most else None


def _count(value: object, most: int) -> int | None:
    number = _number(value, most)
    return number if isinstance(number, int) else None


def _result(value: object) -> object:
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except (ValueError, RecursionError):  # half a surrogate pair, a number beyond floats
        return None
    return value if size <= RESULT_LIMIT else None


def _url(value: object) -> str | None:
    is_one = isinstance(value, str) and value.isprintable() and 0 < value.find("://") < len(value) <= URL_LIMIT
    return str(value) if is_one else None


def _tasks(value: object) -> Mapping[str, int] | None:
    if not isinstance(value, dict):
        return None
    counts = {name: _count(value.get(name), MAX_COUNT) for name in TASK_COUNTS}
    return {name: count for name, count in counts.items() if count is not None} or None


def _pause(value: object) -> PauseReport | None:
    fields = value if isinstance(value, dict) else {}
    kind, name, until = fields.get("kind"), fields.get("name"), _instant(fields.get("until"))
    if not isinstance(name, str) or len(name) > MAX_PAUSE_NAME or not re.fullmatch(PAUSE_NAME, name):
        return None
    if kind not in tuple(PauseKind) or (kind == PauseKind.SLEEP and until is None):
        return None
    return PauseReport(
        kind=PauseKind(kind),
        name=name,
        message=one_line(fields.get("message")),
        schema=_schema(fields.get("schema")),
        timeout_s=_number(fields.get("timeoutSeconds"), MAX_WAIT_SECONDS),
        until=until if kind == PauseKind.SLEEP else None,
        problem=one_line(fields.get("problem")) or None,
    )


def _instant(value: object) -> datetime | None:
    """In UTC; None for what is no certain instant, or at an end of the calendar, where some zone has no date for it."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if found is None or found.tzinfo is None or not MINYEAR < found.year < MAXYEAR:
        return None
    return found.astimezone(UTC)


def _schema(value: object) -> Mapping[str, Any] | None:
    if not isinstance(value, dict):
        return None
    return value if len(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")) <= SCHEMA_LIMIT else None


def _usage(value: object) -> Mapping[str, float] | None:
    if not isinstance(value, dict):
        return None
    numbers = {
        "cpuSeconds": _number(value.get("cpuSeconds"), MAX_COUNT),
        "maxMemoryBytes": _count(value.get("maxMemoryBytes"), MAX_BYTES),
    }
    return {name: number for name, number in numbers.items() if number is not None} or None

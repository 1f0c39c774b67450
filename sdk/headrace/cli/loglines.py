"""Lines of a pod's log: what they say, for people, and which task they belong to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from headrace.cli.printing import painted
from headrace.terminal_text import harmless

PLACES: Final = ("run_title", "task_run", "subflow", "flow_run")
"""What a person is told of where a line comes from, the first that there is."""


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line.

    Args:
        raw: As the pod wrote it, without its end.
        facts: Of a line that the SDK wrote; empty for any other.
    """

    raw: str
    facts: Mapping[str, Any]

    def is_of(self, task: str) -> bool:
        """Whether it belongs to a task of that name, or to the task run of that name."""
        return task in {self.facts.get("task"), self.facts.get("task_run")}

    def readable(self, *, colours: bool) -> str:
        """Time of day (UTC), level, place, message, and a traceback below; any other line as it is. Colours alone stay of what commands a terminal."""
        if not self.facts:
            return harmless(self.raw)
        level = str(self.facts.get("level", ""))
        shown = painted(f"{level:<7}", level) if colours else f"{level:<7}"
        place = next((str(self.facts[key]) for key in PLACES if self.facts.get(key)), str(self.facts.get("logger", "")))
        text = f"{_time_of_day(str(self.facts['time']))} {shown} {place:<20} {self.facts['message']}"
        return harmless(f"{text}\n{self.facts['exception']}" if self.facts.get("exception") else text)


def line_from(text: str) -> Line:
    """What a line says; only JSON objects with time and message are of the SDK."""
    raw = text.rstrip("\r\n")
    if raw.startswith("{"):
        try:
            facts = json.loads(raw)
        except (ValueError, RecursionError):
            return Line(raw, {})
        if isinstance(facts, dict) and "time" in facts and "message" in facts:
            return Line(raw, facts)
    return Line(raw, {})


def stamped(text: str) -> tuple[str, str]:
    """The API server's stamp of a line, and the line."""
    stamp, _, rest = text.partition(" ")
    return stamp, rest


def _time_of_day(stamp: str) -> str:
    try:
        return f"{datetime.fromisoformat(stamp):%H:%M:%S.%f}"[:12]
    except ValueError:
        return stamp

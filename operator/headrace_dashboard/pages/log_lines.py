"""Lines of a pod's log, as docs/pod-contract.md has them, and the tasks that they tell of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import orjson

from headrace_dashboard.pages.timeline import Bar

MAX_TEXT: Final = 8192
MAX_TASKS: Final = 2000
STAMP_ENDS: Final = " "
STAMP: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
Moment = tuple[datetime, str]
"""A second and its fraction."""
ENDS: Final[Mapping[str, str]] = {
    "task_succeeded": "succeeded",
    "task_failed": "failed",
    "task_crashed": "crashed",
    "task_cancelled": "cancelled",
    "task_retrying": "retrying",
    "task_cached": "cached",
}


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line.

    Attributes: `stamp` is when the node read it, to the nanosecond; `facts` is what else it says, empty where it is no JSON of ours.
    """

    stamp: str
    time: str
    level: str
    task: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def is_later_than(self, moment: Moment) -> bool:
        """Whether it was read after that; so is one without a stamp, lest it be lost."""
        own = moment_of(self.stamp)
        return own is None or own > moment

    def shown(self) -> dict[str, str]:
        """As the page's script takes it."""
        return {"time": self.time, "level": self.level, "task": self.task, "message": self.message}


def moment_of(stamp: str) -> Moment | None:
    """What a stamp says, for comparison: nodes stamp lines in their own time zone, whose offset may change. None: it is no stamp."""
    found = STAMP.fullmatch(stamp)
    if found is None:
        return None
    try:
        return datetime.fromisoformat(found[1] + found[3]), found[2] or ""
    except ValueError:
        return None


def line_from(text: str) -> Line:
    """A line as the API server gives it with `timestamps=true`."""
    stamp, _, rest = text.rstrip("\n").partition(STAMP_ENDS)
    facts = _facts(rest)
    if facts is None:
        return Line(stamp, stamp[11:23], "", "", rest[:MAX_TEXT])
    message = str(facts.get("message") or facts.get("event") or "")
    error = facts.get("exception") or ""
    return Line(
        stamp,
        str(facts.get("time") or stamp)[11:23],
        str(facts.get("level") or ""),
        str(facts.get("task_run") or ""),
        (f"{message}\n{error}" if error else message)[:MAX_TEXT],
        facts,
    )


class Tasks:
    """The task runs that the lines of one attempt told of so far."""

    def __init__(self) -> None:
        self._bars: dict[str, Bar] = {}

    def take(self, line: Line) -> bool:
        """Whether the line tells anything new of a task."""
        event, task, written = line.facts.get("event"), line.task, line.facts.get("time")
        if not task or not isinstance(event, str) or not isinstance(written, str):
            return False
        try:
            moment = datetime.fromisoformat(written)
        except ValueError:
            return False
        if moment.tzinfo is None:
            return False
        return self._take(
            event, f"{line.facts.get('subflow')}/{task}" if line.facts.get("subflow") else task, moment, line
        )

    def _take(self, event: str, task: str, moment: datetime, line: Line) -> bool:
        known = self._bars.get(task)
        if event == "task_started":
            note = f"attempt {line.facts.get('attempt')}" if line.facts.get("attempt") not in {None, 1} else ""
            if known is None and len(self._bars) < MAX_TASKS:
                self._bars[task] = Bar(task, moment, None, "running", note)
            elif known is not None:
                self._bars[task] = Bar(task, known.started, None, "running", note)
            return True
        if event not in ENDS or (known is None and len(self._bars) >= MAX_TASKS):
            return False
        started = known.started if known else moment
        finished = None if event == "task_retrying" else moment
        self._bars[task] = Bar(task, started, finished, ENDS[event], ENDS[event])
        return True

    def are_going(self) -> bool:
        """Whether any has not ended."""
        return any(bar.finished is None for bar in self._bars.values())

    def bars(self) -> list[Bar]:
        """In the order in which they began."""
        return sorted(self._bars.values(), key=lambda bar: bar.started)


def _facts(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) and ("event" in found or "message" in found) else None

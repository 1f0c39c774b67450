"""How spans of time, conditions and Events are told to people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

Object = Mapping[str, Any]
MOST_EVENTS: Final = 8


def span(length: timedelta) -> str:
    """As kubectl tells it: "50s", "12m", "5h", "3d"; "0s" where it is negative."""
    seconds = max(0, int(length.total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def ago(instant: str, now: datetime) -> str:
    """Since an instant as the API writes it, such as "5m ago"."""
    return f"{span(now - datetime.fromisoformat(instant))} ago"


def condition(found: Object, kind: str) -> Object:
    """One condition of an object, empty where it has none of that kind."""
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def event_lines(events: Sequence[Object], now: datetime) -> Iterator[str]:
    """The latest, oldest first: each reason once, with what it said last."""
    latest: dict[str, Object] = {}
    for event in sorted(events, key=_when):
        latest.pop(str(event.get("reason")), None)
        latest[str(event.get("reason"))] = event
    for event in list(latest.values())[-MOST_EVENTS:]:
        at = _when(event)
        since = f"{ago(at, now)} " if at else ""
        yield f"{since}{event.get('reason')}: {' '.join(str(event.get('message') or event.get('note') or '').split())}"


def _when(event: Object) -> str:
    series = event.get("series") or {}
    stamps = (
        event.get("lastTimestamp"),
        series.get("lastObservedTime"),
        event.get("eventTime"),
        event.get("firstTimestamp"),
    )
    return str(next((stamp for stamp in stamps if stamp), ""))

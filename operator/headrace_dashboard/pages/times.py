"""Instants and durations for people; the exact instant is always at hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from headrace.instants import stamp
from headrace_dashboard.pages.html import Html, tag, text

MINUTE_S = 60
HOUR_S = 3600
DAY_S = 86400
NONE = Html('<span class="none">-</span>')


def ago(written: str | None, now: datetime) -> Html:
    """How long since, as a `time` element whose title is the instant; a dash for none."""
    if not written:
        return NONE
    then = datetime.fromisoformat(written)
    seconds = (now - then).total_seconds()
    words = f"{duration(int(seconds))} ago" if seconds >= 0 else f"in {duration(int(-seconds))}"
    return tag("time", words, datetime=written, title=exact(then))


def exact(then: datetime) -> str:
    """To the second, in UTC."""
    return f"{then.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float) -> str:
    """With its two largest units: 45s, 3m 20s, 2h 5m, 4d 1h."""
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole}s" if seconds >= 10 or seconds == whole else f"{max(seconds, 0):.1f}s"
    if whole < HOUR_S:
        return _two(whole, (MINUTE_S, "m"), (1, "s"))
    if whole < DAY_S:
        return _two(whole, (HOUR_S, "h"), (MINUTE_S, "m"))
    return _two(whole, (DAY_S, "d"), (HOUR_S, "h"))


def lasted(started: str | None, finished: str | None, now: datetime) -> Html:
    """How long something took, or takes so far; a dash for what never began."""
    if not started:
        return NONE
    end = datetime.fromisoformat(finished) if finished else now
    words = duration((end - datetime.fromisoformat(started)).total_seconds())
    return text(words) if finished else tag("span", words, class_="going")


def before(now: datetime, seconds: float) -> str:
    """The instant so long ago, as the API writes it."""
    return stamp(now - timedelta(seconds=seconds))


def _two(whole: int, *units: tuple[int, str]) -> str:
    (unit, name), (part, part_name) = units
    rest = whole % unit // part
    return f"{whole // unit}{name} {rest}{part_name}" if rest else f"{whole // unit}{name}"

"""
Prefect's schedules as ours.

The differences: without an anchor Prefect's intervals count from when they were deployed, and its recurrence rules from
the first of January 2020; intervals of a day and more follow the wall clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from headrace.api.deployment import MAX_SCHEDULE_NAME
from headrace.errors import shown
from headrace.migration.checking import schedule_problems
from headrace.migration.cronlines import translated
from headrace.migration.names import Names
from headrace.migration.report import Notes
from headrace.migration.yamlfiles import line_of, plain

DAY_S = 24 * 3600
RULE_START = (2020, 1, 1)
"""Source: DEFAULT_ANCHOR_DATE in prefect's server/schemas/schedules.py."""
KNOWN = {"cron", "interval", "rrule", "anchor_date", "timezone", "day_or", "active", "slug", "parameters"}
IN_TIME = "no run is started before its time, so there is nothing to bound"
PHASE = (
    "it counts from 1970-01-01T00:00:00Z, where Prefect counts from when it was deployed; write an anchor to shift it"
)


@dataclass(frozen=True, slots=True)
class Written:
    """A schedule in the source: what it says, and how findings name it."""

    raw: Mapping[str, Any]
    part: str
    notes: Notes
    fallback_line: int = 0

    def line(self, key: str) -> int:
        """The line of this key."""
        return line_of(self.raw, key, self.fallback_line)


def schedules(written: list[Written]) -> list[dict[str, Any]]:
    """Our schedules of one Deployment; those that cannot be said are left out, with a finding."""
    names = Names()
    found = []
    for each in written:
        times = _times(each)
        if times is None:
            continue
        kind = next(key for key in ("cron", "intervalSeconds", "rrule") if key in times)
        name = str(each.raw.get("slug") or kind.removesuffix("Seconds"))
        found.append({"name": names.take(name, "Schedule", "", MAX_SCHEDULE_NAME), **times, **_extras(each)})
    return found


def _times(each: Written) -> dict[str, Any] | None:
    given = [key for key in ("cron", "interval", "rrule") if each.raw.get(key) is not None]
    if len(given) != 1:
        found = ", ".join(given) or "none of them"
        each.notes.left(
            each.line(""), each.part, f"it has {found}, expected one of cron, interval and rrule; write it anew"
        )
        return None
    times = {"cron": _cron, "interval": _interval, "rrule": _rule}[given[0]](each)
    problem = next(schedule_problems(times), None) if times else None
    if problem:
        each.notes.left(each.line(given[0]), f"{each.part}.{given[0]}", problem)
        return None
    if times:
        kind = next(iter(times))
        each.notes.carried(each.line(given[0]), f"{each.part}.{given[0]}", f"schedules[].{kind}")
    return times


def _cron(each: Written) -> dict[str, Any] | None:
    line = str(each.raw["cron"])
    times = translated(line, both_days=each.raw.get("day_or") is False)
    if times.problem:
        each.notes.left(each.line("cron"), f"{each.part}.cron", times.problem)
        return None
    return {"cron": times.cron, **_zone(each)} if times.cron else {"rrule": times.rrule, **_zone(each)}


def _interval(each: Written) -> dict[str, Any] | None:
    seconds = _seconds(each.raw["interval"])
    if seconds is None or seconds < 1:
        text = f"{shown(each.raw['interval'])} is no whole number of seconds; write intervalSeconds"
        each.notes.left(each.line("interval"), f"{each.part}.interval", text)
        return None
    zone = _zone(each).get("timeZone", "Etc/UTC")
    anchor = _anchor(each, zone)
    if seconds % DAY_S == 0 and zone != "Etc/UTC":
        return _days_on_the_clock(each, seconds // DAY_S, anchor, zone)
    if seconds > DAY_S and zone != "Etc/UTC":
        each.notes.changed(
            each.line("interval"), f"{each.part}.interval", "it counts elapsed time, and does not shift with the clock"
        )
    if anchor is None:
        each.notes.changed(each.line("interval"), f"{each.part}.interval", PHASE)
    return {"intervalSeconds": seconds, **({"anchor": _stamp(anchor)} if anchor else {})}


def _days_on_the_clock(each: Written, days: int, anchor: datetime | None, zone: str) -> dict[str, Any]:
    """Whole days keep their hour when the clock changes, in Prefect; a daily rule does that here."""
    if anchor is None:
        each.notes.changed(
            each.line("interval"), f"{each.part}.interval", "it fires at midnight; write an anchor for another hour"
        )
        anchor = _rule_start(zone)
    every = f";INTERVAL={days}" if days > 1 else ""
    return {"rrule": f"FREQ=DAILY{every}", "anchor": _stamp(anchor), "timeZone": zone}


def _rule(each: Written) -> dict[str, Any] | None:
    text = " ".join(str(each.raw["rrule"]).split())
    for word, advice in _refused(text):
        each.notes.left(each.line("rrule"), f"{each.part}.rrule", f"{word} is not taken; {advice}")
        return None
    zone = _zone(each)
    start = {} if "DTSTART" in text else {"anchor": _stamp(_rule_start(zone.get("timeZone", "Etc/UTC")))}
    return {"rrule": text, **start, **zone}


def _refused(text: str) -> Iterator[tuple[str, str]]:
    for word, advice in (
        ("EXDATE", "write the dates that are left out into the flow"),
        ("RDATE", "write a schedule for each of these dates"),
        ("TZID", "take it out of DTSTART and set timezone beside rrule"),
        ("FREQ=SECONDLY", "write an interval"),
        ("EXRULE", "write the times that are left out into the flow"),
    ):
        if word in text:
            yield word, advice
    if text.count("FREQ=") > 1:
        yield "a set of rules", "write a schedule for each"


def _zone(each: Written) -> dict[str, str]:
    zone = str(each.raw.get("timezone") or "UTC")
    return {} if zone in {"UTC", "Etc/UTC"} else {"timeZone": zone}


def _anchor(each: Written, zone: str) -> datetime | None:
    raw = each.raw.get("anchor_date")
    if raw is None:
        return None
    try:
        moment = _moment(raw)
    except ValueError:
        text = f"{shown(raw)} is no time; write RFC 3339, such as 2026-01-01T07:00:00Z"
        each.notes.left(each.line("anchor_date"), f"{each.part}.anchor_date", text)
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=ZoneInfo(zone) if zone in available_timezones() else UTC)
    each.notes.carried(each.line("anchor_date"), f"{each.part}.anchor_date", "schedules[].anchor")
    return moment.astimezone(UTC)


def _moment(raw: Any) -> datetime:
    if isinstance(raw, datetime):
        return raw
    if isinstance(raw, date):
        return datetime(raw.year, raw.month, raw.day)  # noqa: DTZ001 - on the wall clock of the schedule's zone
    return datetime.fromisoformat(str(raw))


def _rule_start(zone: str) -> datetime:
    known = ZoneInfo(zone) if zone in available_timezones() else UTC
    return datetime(*RULE_START, tzinfo=known).astimezone(UTC)


def _seconds(raw: Any) -> int | None:
    """None if it is no whole number of seconds."""
    value = raw.total_seconds() if isinstance(raw, timedelta) else raw
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return int(seconds) if seconds.is_integer() else None


def _extras(each: Written) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    if each.raw.get("active") is False:
        extras["suspend"] = True
        each.notes.carried(each.line("active"), f"{each.part}.active", "schedules[].suspend")
    if each.raw.get("parameters"):
        extras["parameters"] = plain(each.raw["parameters"])
        each.notes.carried(each.line("parameters"), f"{each.part}.parameters")
    if each.raw.get("max_scheduled_runs") is not None:
        each.notes.changed(each.line("max_scheduled_runs"), f"{each.part}.max_scheduled_runs", IN_TIME)
    for key in each.raw.keys() - KNOWN - {"max_scheduled_runs"}:
        each.notes.left(each.line(key), f"{each.part}.{key}", "there is no such field here; see docs/schedules.md")
    return extras


def _stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")

"""
The shape of a cron line, as CEL rules: one for the line, one for each field, so that the refusal names the field.

They let through a little more than the operator takes (a range that runs backwards, the 31st of February); it says
so in a condition. A contract test holds the two readings together.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace.api.common import Rule

MACROS = ("@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually")
MACRO = rf"^\s*(?i:{'|'.join(MACROS)})\s*$"
LINE = r"^\s*[^@\s]\S*(\s+\S+){4}\s*$"
_MONTHS = "(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)"
_WEEKDAYS = "(?i:SUN|MON|TUE|WED|THU|FRI|SAT)"


class _Field(NamedTuple):
    """One field: what a value looks like, what may follow an item, what else may stand for one."""

    name: str
    values: str
    value: str
    suffix: str = ""
    special: str = ""


_FIELDS = (
    _Field("minute", "0-59", r"[0-5]?[0-9]"),
    _Field("hour", "0-23", r"([01]?[0-9]|2[0-3])"),
    _Field("day-of-month", "1-31 or L (the last day)", r"(0?[1-9]|[12][0-9]|3[01])", special="|[lL]"),
    _Field("month", "1-12 or JAN-DEC", rf"(0?[1-9]|1[0-2]|{_MONTHS})"),
    _Field(
        "day-of-week",
        "0-7 or SUN-SAT (7 is Sunday, MON#2 the second Monday, 5L the last Friday)",
        rf"(0?[0-7]|{_WEEKDAYS})",
        suffix="(#[1-5]|[lL])?",
    ),
)


def field_pattern(position: int) -> str:
    """What matches a line whose field at `position` (0-4) is as it must be, whatever the others are."""
    field = _FIELDS[position]
    item = rf"(([*]|{field.value}(-{field.value})?)(/[1-9][0-9]*)?{field.suffix}{field.special})"
    return rf"^\s*(\S+\s+){{{position}}}{item}(,{item})*(\s|$)"


def _field_rule(position: int) -> Rule:
    field = _FIELDS[position]
    return Rule(
        f"!self.matches(r'{LINE}') || self.matches(r'{field_pattern(position)}')",
        f"cron: {field.name} takes {field.values}, as single values, lists (1,2), ranges (1-5) and steps (*/15)",
    )


CRON_RULES = (
    Rule(
        f"self.matches(r'{MACRO}') || self.matches(r'{LINE}')",
        'cron: five fields (minute, hour, day-of-month, month, day-of-week), such as "0 7 * * MON-FRI", or one of '
        + ", ".join(MACROS),
    ),
    *map(_field_rule, range(len(_FIELDS))),
)

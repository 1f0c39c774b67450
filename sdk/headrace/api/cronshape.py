"""
The shape of a cron line, as CEL rules: one for the line, one for each field, so that the refusal names the field.

They let through a little more than cron takes (a range that runs backwards, the 31st of February); the operator
says so in a condition.
"""

from __future__ import annotations

from headrace.api.common import Rule

MACROS = ("hourly", "daily", "midnight", "weekly", "monthly", "yearly", "annually")
LINE = r"^\s*\S+(\s+\S+){4}\s*$"
MONTHS = "(?i:JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)"
WEEKDAYS = "(?i:SUN|MON|TUE|WED|THU|FRI|SAT)"
FIELDS = (
    ("minute", "0-59", r"[0-5]?[0-9]", r"[*]"),
    ("hour", "0-23", r"([01]?[0-9]|2[0-3])", r"[*]"),
    ("day of month", "1-31", r"(0?[1-9]|[12][0-9]|3[01])", r"[*?lL]"),
    ("month", "1-12 or JAN-DEC", rf"(0?[1-9]|1[0-2]|{MONTHS})", r"[*]"),
    ("day of week", "0-7 or SUN-SAT (0 and 7 are Sunday)", rf"([0-7]|{WEEKDAYS})(#[1-5]|[lL])?", r"[*?lL]"),
)


def field_rule(position: int) -> Rule:
    """The rule for one of the five fields, counted from 0."""
    name, values, value, wildcard = FIELDS[position]
    item = rf"({wildcard}|{value}(-{value})?)(/[1-9][0-9]*)?"
    pattern = rf"^\s*(\S+\s+){{{position}}}{item}(,{item})*(\s|$)"
    return Rule(
        f"!self.matches(r'{LINE}') || self.matches(r'{pattern}')",
        f"cron: {name} takes {values}, as single values, lists (1,2), ranges (1-5) and steps (*/15)",
    )


CRON_RULES = (
    Rule(
        f"self.matches(r'^@({'|'.join(MACROS)})$') || self.matches(r'{LINE}')",
        'cron: five fields (minute, hour, day of month, month, day of week), such as "0 7 * * MON-FRI", or one of '
        + ", ".join(f"@{macro}" for macro in MACROS),
    ),
    *map(field_rule, range(len(FIELDS))),
)

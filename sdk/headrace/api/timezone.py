"""The name of a time zone, as CEL rules."""

from __future__ import annotations

from headrace.api.common import Rule

TIME_ZONE = r"^[A-Za-z][-+A-Za-z0-9_]*(/[-+A-Za-z0-9_]+)*$"

TIME_ZONE_RULES = (
    Rule(
        f"self != 'Local' && self.matches(r'{TIME_ZONE}')",
        "timeZone: must be an IANA name, such as Europe/London; offsets are refused, "
        "as they do not follow clock changes",
    ),
    Rule(
        f"self == 'Local' || !self.matches(r'{TIME_ZONE}') || timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0",
        "timeZone: must be an IANA name that the API server knows, such as Europe/London or Etc/UTC",
    ),
)

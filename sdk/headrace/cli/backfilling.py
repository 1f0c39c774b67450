"""Backfills from what was typed, and how far one is."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from headrace.api import keys
from headrace.cli.outputs import Column, Object
from headrace.cli.printing import painted
from headrace.diagnose.wording import span
from headrace.errors import UsageError
from headrace.json_values import json_or_text

CALENDAR: Final = {"day": "0 0 * * *", "week": "0 0 * * 1", "month": "0 0 1 * *"}
"""As cron lines: days and months are not of one length."""
UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
ENDED: Final = frozenset({"Succeeded", "Failed", "Cancelled"})
MONEY: Final = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(?: ([A-Z]{3}))?")


@dataclass(frozen=True, slots=True)
class Range:
    """A stretch of time as it was typed."""

    start: str
    end: str
    step: str
    time_zone: str

    def partitions(self) -> dict[str, Any]:
        """As spec.partitions has it. Raises: UsageError."""
        bounds = {"from": self._instant("--from", self.start), "to": self._instant("--to", self.end)}
        zone = {} if self.time_zone == "Etc/UTC" else {"timeZone": self.time_zone}
        return {"range": {**bounds, **self._steps(), **zone}}

    def _steps(self) -> dict[str, Any]:
        length = re.fullmatch(r"(\d{1,6})([smhd])", self.step)
        if self.step == "hour":
            return {"intervalSeconds": 3600}
        if length:
            return {"intervalSeconds": int(length[1]) * UNIT_S[length[2]]}
        if self.step in CALENDAR:
            return {"cron": CALENDAR[self.step]}
        if len(self.step.split()) == 5:
            return {"cron": self.step}
        raise UsageError(f'--step "{self.step}": expected hour, day, week, month, a span such as 15m, or a cron line')

    def _instant(self, option: str, text: str) -> str:
        """Midnight there for a date; with its offset, as the API wants it."""
        try:
            found = datetime.fromisoformat(text)
            zone = UTC if self.time_zone == "Etc/UTC" else ZoneInfo(self.time_zone)  # slim images have no zone files
        except ZoneInfoNotFoundError as error:
            raise UsageError(f'--time-zone "{self.time_zone}": no zone is called so; Europe/London is one') from error
        except ValueError as error:
            raise UsageError(
                f'{option} "{text}": expected a date or a time, such as 2026-01-01 or 2026-01-01T06:00'
            ) from error
        return (found if found.tzinfo else found.replace(tzinfo=zone)).isoformat()


def matrix(axes: Sequence[str]) -> dict[str, Any]:
    """The partitions of --each shop=north,south. Raises: UsageError."""
    found = []
    for axis in axes:
        name, equals, values = axis.partition("=")
        if not equals or not name or not values:
            raise UsageError(f'--each "{axis}": expected NAME=A,B,C, such as --each shop=north,south')
        found.append({"name": name, "values": [json_or_text(value) for value in values.split(",")]})
    return {"matrix": found}


def manifest(
    name: str,
    deployment: str,
    partitions: Mapping[str, Any],
    *,
    parameters: Mapping[str, str],
    bounds: Mapping[str, Any],
    budget: str | None,
) -> dict[str, Any]:
    """The Backfill. Raises: UsageError: the budget is none."""
    given = {key: value for key, value in bounds.items() if value is not None}
    values = {key: json_or_text(text) for key, text in parameters.items()}
    optional = {"parameters": values or None, "budget": _budget(budget) if budget else None}
    spec = {
        "deploymentRef": {"name": deployment},
        "partitions": dict(partitions),
        **{key: value for key, value in optional.items() if value is not None},
        **given,
    }
    return {"apiVersion": keys.API_VERSION, "kind": keys.BACKFILLS.kind, "metadata": {"name": name}, "spec": spec}


def percent(found: Object) -> str:
    """What is over, of all; "" before they are counted."""
    return str((found.get("status") or {}).get("progress") or "")


def over(found: Object) -> bool:
    """Whether it has ended, and has seen what its spec asks for now."""
    status, metadata = found.get("status") or {}, found["metadata"]
    return status.get("phase") in ENDED and status.get("observedGeneration") == metadata.get("generation")


def status_line(found: Object) -> str:
    """How far it is, in a line."""
    status = found.get("status") or {}
    counts = [f"{status.get(name) or 0} {name}" for name in ("succeeded", "failed", "active", "pending")]
    counts += [f"{status['cancelled']} cancelled"] if status.get("cancelled") else []
    rate = f"{status['ratePerMinute']:g}/min" if status.get("ratePerMinute") else ""
    eta = f"until {status['eta']}" if status.get("eta") else ""
    price = f"{status['cost']['amount']} {status['cost']['currency']}" if status.get("cost") else ""
    phase, reason = status.get("phase") or "Pending", status.get("reason")
    why = f" ({reason})" if reason and reason != phase else ""
    head = " ".join(part for part in (found["metadata"]["name"], percent(found)) if part)
    return ", ".join(part for part in (f"{head} {phase}{why}", *counts, rate, eta, price) if part)


def columns(now: datetime, *, namespaces: bool, colours: bool) -> list[Column]:
    """Those of a list."""

    def count(name: str) -> Column:
        return Column(name.upper(), lambda found: str((found.get("status") or {}).get(name) or 0))

    def phase(found: Object) -> str:
        word = (found.get("status") or {}).get("phase") or "Pending"
        return painted(word, word) if colours else word

    def created(found: Object) -> str:
        return span(now - datetime.fromisoformat(found["metadata"]["creationTimestamp"]))

    head = [Column("NAMESPACE", lambda found: found["metadata"]["namespace"])] if namespaces else []
    return [
        *head,
        Column("NAME", lambda found: found["metadata"]["name"]),
        Column("DEPLOYMENT", lambda found: found["spec"]["deploymentRef"]["name"]),
        Column("PHASE", phase),
        Column("PROGRESS", percent),
        *map(count, ("total", "succeeded", "failed", "active")),
        Column("AGE", created),
        Column("REASON", lambda found: (found.get("status") or {}).get("reason") or "", wide=True),
        Column("ETA", lambda found: (found.get("status") or {}).get("eta") or "", wide=True),
        Column("COST", lambda found: ((found.get("status") or {}).get("cost") or {}).get("amount") or "", wide=True),
    ]


def _budget(text: str) -> dict[str, Any]:
    found = MONEY.fullmatch(text)
    if found is None:
        raise UsageError(f'--budget "{text}": expected an amount, such as 250, or "250 EUR"')
    return {"amount": found[1], **({"currency": found[2]} if found[2] else {})}

"""What an audit log tells of a contender: how often it asks for what, and how long runs waited for their pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

Entry = dict[str, Any]


def entries(audit_log: Path, since: int) -> Iterator[Entry]:
    """The answered requests from byte `since` on, without watches."""
    with audit_log.open("rb") as lines:
        lines.seek(since)
        for line in lines:
            entry: Entry = orjson.loads(line) if line.endswith(b"\n") else {"stage": "unfinished"}
            if entry["stage"] == "ResponseComplete" and entry["verb"] != "watch":
                yield entry


def requests(audit_log: Path, since: int, agent: str, lease: str) -> Counter[str]:
    """Requests of those whose user agent begins so, by verb and resource; those for the lease, which come by the clock, left out."""
    return Counter(
        " ".join(filter(None, (entry["verb"], target.get("resource"), target.get("subresource"))))
        for entry in entries(audit_log, since)
        if entry.get("userAgent", "").startswith(agent)
        and not ((target := entry.get("objectRef") or {}).get("name", "").startswith(lease) and lease)
    )


def waits_s(audit_log: Path, since: int, run_of: Callable[[Entry], str]) -> list[float]:
    """Seconds from the answer to each run's creation to the answer to that of its pod, ascending."""
    runs: dict[str, float] = {}
    pods: dict[str, float] = {}
    for entry in entries(audit_log, since):
        target = entry.get("objectRef") or {}
        if entry["verb"] != "create" or target.get("subresource") or entry["responseStatus"]["code"] != 201:
            continue
        at = datetime.fromisoformat(entry["stageTimestamp"]).timestamp()
        if target["resource"] == "pods":
            pods.setdefault(run_of(entry["responseObject"]), at)
        elif target["resource"] in {"flowruns", "workflows"}:
            runs[target.get("name") or entry["responseObject"]["metadata"]["name"]] = at
    return sorted(pods[name] - at for name, at in runs.items() if name in pods)

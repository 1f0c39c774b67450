"""What a run has read and written: as its process reports it, and over all its attempts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.api.flowrun import MAX_DATASET, MAX_DATASETS

DIRECTIONS = ("inputs", "outputs")
MAX_MORE = 1_000_000


def reported(value: object) -> Mapping[str, Any] | None:
    """The lineage in a report, which is foreign input; None where there is none, or none that can be read."""
    if not isinstance(value, dict):
        return None
    return _bounded({name: _datasets(value.get(name)) for name in DIRECTIONS}, _more(value.get("more")))


def merged(before: Mapping[str, Any] | None, report: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Of earlier attempts and of this one: a task that was not run again has told what it did in its own attempt."""
    if before is None or report is None:
        return report or before
    both = {name: [*before.get(name, ()), *report.get(name, ())] for name in DIRECTIONS}
    return _bounded(both, max(_more(before.get("more")), _more(report.get("more"))))


def _bounded(datasets: Mapping[str, list[str]], more: int) -> Mapping[str, Any] | None:
    each = {name: list(dict.fromkeys(found)) for name, found in datasets.items()}
    more += sum(max(0, len(found) - MAX_DATASETS) for found in each.values())
    fields = {name: found[:MAX_DATASETS] for name, found in each.items() if found}
    return {**fields, **({"more": min(more, MAX_MORE)} if more else {})} or None


def _datasets(value: object) -> list[str]:
    if not isinstance(value, list):
        return []
    return [each for each in value if isinstance(each, str) and each.isprintable() and 0 < len(each) <= MAX_DATASET]


def _more(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_MORE else 0

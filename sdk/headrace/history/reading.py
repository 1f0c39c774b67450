"""What people ask of a history store: which runs there were, and all that is kept of one. The same on either database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import orjson

from headrace.history.records import stamp
from headrace.history.schema import COLUMNS, DOCUMENTS, TABLE
from headrace.history.store import HistoryStore

SHORT: Final = (
    *("namespace", "name", "uid", "flow", "deployment", "backfill", "partition", "phase", "reason", "pool"),
    *("created_at", "started_at", "finished_at", "duration_s", "attempt_count", "cost_amount", "cost_currency"),
)
"""What a list tells of each run."""
CLOCKS_DIFFER: Final = timedelta(hours=1)
"""By no more than this a run ends before it was created: one is told by the API server, the other by a node or the operator."""
MONEY: Final = frozenset({"cost_amount", "amount"})


@dataclass(frozen=True, slots=True)
class Question:
    """
    Which runs; None leaves a condition out.

    Attributes: `since` and `until` are of their ends, `until` itself is left out; `created_since` is of when they were created.
    """

    namespace: str | None = None
    name: str | None = None
    deployment: str | None = None
    flow: str | None = None
    backfill: str | None = None
    phase: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    created_since: datetime | None = None


def listed(store: HistoryStore, question: Question, limit: int) -> list[dict[str, Any]]:
    """The fields of SHORT of at most `limit` runs, the last that ended first. Raises: HistoryError."""
    return _rows(store, SHORT, question, limit)


def told(store: HistoryStore, namespace: str, name: str) -> list[dict[str, Any]]:
    """All that is kept of the runs of this name, the last that ended first: a name may be used again. Raises: HistoryError."""
    return _rows(store, (*COLUMNS, "recorded_at"), Question(namespace=namespace, name=name), limit=100)


def _rows(store: HistoryStore, columns: Sequence[str], question: Question, limit: int) -> list[dict[str, Any]]:
    exact = ("namespace", "name", "deployment", "flow", "backfill", "phase")
    given = {f"{field} = %s": getattr(question, field) for field in exact}
    given["finished_at >= %s"] = stamp(question.since) if question.since else None
    given["finished_at < %s"] = stamp(question.until) if question.until else None
    if question.created_since:
        given["created_at >= %s"] = stamp(question.created_since)
        given["%s <= finished_at"] = stamp(
            question.created_since - CLOCKS_DIFFER
        )  # an index has ends, and none has this
    asked = {condition: value for condition, value in given.items() if value is not None}
    where = f"where {' and '.join(asked)}" if asked else ""
    query = f"select {', '.join(columns)} from {TABLE} {where} order by finished_at desc, uid limit %s"  # noqa: S608 - constants
    return [plain(row) for row in store.rows(query, (*asked.values(), limit))]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """As JSON has it: instants as texts, money with all its digits, documents taken apart."""
    return {name: _value(name, value) for name, value in row.items()}


def _value(name: str, value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value)
    if name in MONEY and value is not None:
        return f"{Decimal(str(value)):f}"
    if isinstance(value, Decimal):
        return str(value)
    return orjson.loads(value) if name in DOCUMENTS and isinstance(value, str) else value

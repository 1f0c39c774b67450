"""
What a page asks of a history store: runs by filters, a page of them at a time, one of them, and what they have cost.

The same statements on either database, each bound by a limit, a group or a range of time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from headrace.history.reading import plain
from headrace.history.records import stamp
from headrace.history.schema import COLUMNS, TABLE
from headrace.history.store import HistoryStore

LISTED: Final = (
    *("uid", "namespace", "name", "flow", "deployment", "backfill", "phase", "reason", "message"),
    *("started_at", "finished_at", "duration_s", "attempt_count", "cost_amount", "cost_currency"),
)
GroupBy = Literal["flow", "deployment", "backfill", "pool", "namespace"]
OF_A_NAMESPACE: Final = frozenset({"flow", "deployment", "backfill"})
"""What may have the same name in two namespaces."""
LABEL_KEY: Final = re.compile("([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""As Kubernetes has it."""


@dataclass(frozen=True, slots=True)
class Search:
    """
    Which runs; what is empty or None leaves a condition out.

    Attributes: `namespaces` are those that may be told, None all of them, and none at all where it is empty. `since` and `until` are of
    their ends, `until` itself is left out. `label` is `key=value` or `key`. `after` is the end and the uid of the last run of the page before.
    """

    namespaces: tuple[str, ...] | None = None
    phases: tuple[str, ...] = ()
    flow: str = ""
    deployment: str = ""
    label: str = ""
    part_of_name: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: tuple[datetime, str] | None = None


def page(store: HistoryStore, search: Search, limit: int) -> list[dict[str, Any]]:
    """The fields of LISTED of at most `limit` runs, the last that ended first. Raises: HistoryError."""
    where, values = _where(search)
    query = f"select {', '.join(LISTED)} from {TABLE} {where} order by finished_at desc, uid limit %s"  # noqa: S608 - constants
    return [plain(row) for row in store.rows(query, (*values, limit))]


def one(store: HistoryStore, namespace: str, name: str, uid: str = "") -> dict[str, Any] | None:
    """All that is kept of a run, of several of the name the one of the uid or else the last that ended; None: nothing. Raises: HistoryError."""
    condition, values = (" and uid = %s", (namespace, name, uid)) if uid else ("", (namespace, name))
    query = (
        f"select {', '.join((*COLUMNS, 'recorded_at'))} from {TABLE} "  # noqa: S608 - constants
        f"where namespace = %s and name = %s{condition} order by finished_at desc, uid limit 1"
    )
    found = store.rows(query, values)
    return plain(found[0]) if found else None


def namesakes(store: HistoryStore, namespace: str, name: str, limit: int) -> list[dict[str, Any]]:
    """`uid` and `finished_at` of the runs of a name, the last that ended first. Raises: HistoryError."""
    query = f"select uid, finished_at from {TABLE} where namespace = %s and name = %s order by finished_at desc, uid limit %s"  # noqa: S608 - constants
    return [plain(row) for row in store.rows(query, (namespace, name, limit))]


def namespaces(store: HistoryStore) -> list[str]:
    """Those that any run is of, by name: as many steps through an index, however many runs there are. Raises: HistoryError."""
    query = (
        f"with recursive found(name) as (select min(namespace) from {TABLE} union all "  # noqa: S608 - constants
        f"select (select min(namespace) from {TABLE} where namespace > found.name) from found where found.name is not null) "
        "select name from found where name is not null"
    )
    return [str(row["name"]) for row in store.rows(query)]


def spent(store: HistoryStore, search: Search, by: GroupBy) -> list[dict[str, Any]]:
    """
    What the runs have cost, by name and currency: `namespace` (None but for what is of one), `name`, `currency`, `amount`, `runs`, `unpriced`.

    Raises: HistoryError.
    """
    where, values = _where(search)
    place = "namespace" if by in OF_A_NAMESPACE else "null"
    query = (
        f"select {place} as namespace, {by} as name, {SUMS} from {TABLE} {where} "  # noqa: S608 - constants
        f"group by {'namespace, ' if by in OF_A_NAMESPACE else ''}{by}, cost_currency"
    )
    return [plain(row) for row in store.rows(query, values)]


def spent_between(
    store: HistoryStore, search: Search, spans: Sequence[tuple[datetime, datetime]]
) -> list[dict[str, Any]]:
    """As `spent`, of each span of time as a whole: `span` is its place among them. Raises: HistoryError."""
    parts, values = [], []
    for number, (since, until) in enumerate(spans):
        where, given = _where(search, ("finished_at >= %s", stamp(since)), ("finished_at < %s", stamp(until)))
        parts.append(f"select {number} as span, {SUMS} from {TABLE} {where} group by cost_currency")  # noqa: S608 - constants
        values += given
    return [plain(row) for row in store.rows(" union all ".join(parts), values)] if parts else []


SUMS: Final = (
    "cost_currency as currency, sum(cost_amount) as amount, count(cost_amount) as runs, "
    "sum(case when cost_amount is null then 1 else 0 end) as unpriced"
)


def _where(search: Search, *more: tuple[str, str]) -> tuple[str, list[Any]]:
    """The conditions with their values."""
    given: list[tuple[str, Sequence[Any]]] = [(condition, (value,)) for condition, value in more]
    if search.namespaces is not None:
        given.append(_among("namespace", search.namespaces))
    if search.phases:
        given.append(_among("phase", search.phases))
    given += [(f"{name} = %s", (value,)) for name, value in _exact(search) if value]
    if search.label:
        given.append(_labelled(*search.label.partition("=")))
    if search.part_of_name:
        given.append(("name like %s escape '!'", (f"%{_escaped(search.part_of_name)}%",)))
    if search.since:
        given.append(("finished_at >= %s", (stamp(search.since),)))
    if search.until:
        given.append(("finished_at < %s", (stamp(search.until),)))
    if search.after:
        end, uid = stamp(search.after[0]), search.after[1]
        given.append(("(finished_at < %s or (finished_at = %s and uid > %s))", (end, end, uid)))
    conditions = " and ".join(condition for condition, _ in given)
    return f"where {conditions}" if given else "", [value for _, values in given for value in values]


def _exact(search: Search) -> Iterable[tuple[str, str]]:
    return ("flow", search.flow), ("deployment", search.deployment)


def _among(column: str, values: Sequence[str]) -> tuple[str, Sequence[str]]:
    return (f"{column} in ({', '.join(['%s'] * len(values))})", values) if values else ("1 = 0", ())


def _labelled(key: str, equals: str, value: str) -> tuple[str, Sequence[str]]:
    # `->>` takes a key in PostgreSQL and a path in SQLite: a key in quotes is a path too, and no key of any label. What else means something in a
    # path is an error there, and can be no key.
    if not LABEL_KEY.fullmatch(key):
        return "1 = 0", ()
    found = "coalesce(labels ->> cast(%s as text), labels ->> cast(%s as text))"
    keys = (key, f'"{key}"')
    return (f"{found} = %s", (*keys, value)) if equals else (f"{found} is not null", keys)


def _escaped(text: str) -> str:
    """Each character of it stands for itself."""
    return text.replace("!", "!!").replace("%", "!%").replace("_", "!_")

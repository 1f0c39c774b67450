"""Which runs are meant: filters as they stand in the address, and the page of a list that they give."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from headrace.api.conditions import ACTIVE, FINISHED, Phase
from headrace_dashboard.pages.times import before
from headrace_dashboard.watching.records import RunRecord, newest_run

SPANS: Final[Mapping[str, int]] = {"1h": 3600, "24h": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
LONGER_SPANS: Final[Mapping[str, int]] = {**SPANS, "90d": 90 * 86400, "365d": 365 * 86400}
"""Of what is in a history store."""
GROUPS: Final[Mapping[str, frozenset[str]]] = {
    "active": frozenset(str(phase) for phase in ACTIVE),
    "finished": frozenset(str(phase) for phase in FINISHED),
    "dead": frozenset({"Failed", "Crashed"}),
}
MAX_TEXT: Final = 253
CURSOR: Final = re.compile(r"[^~]{1,32}~[^~]{1,253}~[^~]{1,253}")


@dataclass(frozen=True, slots=True)
class Query:
    """
    Which runs, as an address says it; what is empty leaves a condition out.

    Attributes: `phase` is a phase or a name of GROUPS; `label` is `key=value` or `key`; `since` is of SPANS, by creation; `q` is a part of the
    name; `after` is the last run of the page before.
    """

    namespace: str = ""
    phase: str = ""
    flow: str = ""
    deployment: str = ""
    label: str = ""
    since: str = ""
    q: str = ""
    after: str = ""

    def address(self, path: str, **changes: str) -> str:
        """That of the list with these filters."""
        changed = replace(self, **changes) if changes else self
        given = {field.name: getattr(changed, field.name) for field in fields(changed)}
        text = urlencode({name: value for name, value in given.items() if value})
        return f"{path}?{text}" if text else path


@dataclass(frozen=True, slots=True)
class Selected:
    """
    One page of the runs that match.

    Attributes: `total` is how many match on all pages, `first` the number of the first one here, from 1; `following` is the cursor of the next
    page, empty on the last. `phases` counts those that match but for their phase.
    """

    runs: tuple[RunRecord, ...]
    total: int
    first: int
    following: str
    phases: Mapping[str, int]


def query_from(given: Mapping[str, str], spans: Mapping[str, int] = SPANS) -> Query:
    """The filters of an address; what they cannot mean is left out. `spans` are those that `since` may name."""
    texts = {field.name: without_nul(given.get(field.name, "")) for field in fields(Query)}
    known = {name: text.strip()[:MAX_TEXT] for name, text in texts.items()}
    query = Query(**{**known, "after": texts["after"]})
    if query.phase not in {*map(str, Phase), *GROUPS}:
        query = replace(query, phase="")
    if query.since not in spans:
        query = replace(query, since="")
    return query if CURSOR.fullmatch(query.after) else replace(query, after="")


def without_nul(text: str) -> str:
    """The text as databases take it: no name has this character, and PostgreSQL refuses it."""
    return text.replace("\0", "")


def selected(
    runs: Sequence[RunRecord], query: Query, visible: Callable[[str], bool], *, now: datetime, size: int
) -> Selected:
    """
    The page that the query asks for.

    Args:
        runs: All there are, newest first.
        visible: Whether runs of a namespace may be shown.
        size: Runs on a page.
    """
    allowed = {namespace: visible(namespace) for namespace in {run.namespace for run in runs}}
    matching = [run for run in runs if allowed[run.namespace]]
    for condition in _conditions(query, now):
        matching = list(filter(condition, matching))
    phases = Counter(run.phase for run in matching)
    wanted = GROUPS.get(query.phase, frozenset({query.phase}) if query.phase else frozenset())
    shown = [run for run in matching if run.phase in wanted] if wanted else matching
    start = _position(shown, query.after)
    page = tuple(shown[start : start + size])
    more = len(shown) > start + size
    return Selected(page, len(shown), start + 1 if page else 0, cursor(page[-1]) if more else "", phases)


def cursor(run: RunRecord) -> str:
    """Names a run's place in the order; it keeps its place whatever is created or deleted."""
    return "~".join(newest_run(run))


def _position(runs: Sequence[RunRecord], after: str) -> int:
    """Of the first run that comes after the cursor; runs are sorted newest first."""
    if not after:
        return 0
    created, namespace, name = after.split("~")
    last = (created, namespace, name)
    return bisect_left(runs, True, key=lambda run: newest_run(run) < last)  # noqa: FBT003 - False sorts before True


def _conditions(query: Query, now: datetime) -> list[Callable[[RunRecord], bool]]:
    """What a run must satisfy; conditions that are left out cost nothing, as there may be many runs."""
    conditions: list[Callable[[RunRecord], bool]] = []
    if query.namespace:
        conditions.append(lambda run: run.namespace == query.namespace)
    if query.flow:
        conditions.append(lambda run: run.flow == query.flow)
    if query.deployment:
        conditions.append(lambda run: run.deployment == query.deployment)
    if query.q:
        part = query.q.lower()
        conditions.append(lambda run: part in run.name)
    if query.since:
        earliest = before(now, SPANS[query.since])
        conditions.append(lambda run: run.created >= earliest)
    if query.label:
        conditions.append(lambda run: _has_label(run, query.label))
    return conditions


def _has_label(run: RunRecord, wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return any(name == key and (not equals or each == value) for name, each in run.labels)

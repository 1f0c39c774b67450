"""Questions to a history store with their answers, which are the same on every database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.history import HistoryRefused, HistoryStore, record_of
from headrace.history.reading import Question, listed
from headrace.history.searching import Search, namesakes, namespaces, one, page, spent, spent_between
from tests.unit.headrace.history.finished import a_finished_run

Check = Callable[[HistoryStore], None]
DAYS = 6


def day(number: int) -> datetime:
    return datetime(2026, 3, number, 12, tzinfo=UTC)


def a_run(name: str, ended: int, *, uid: str = "", labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """One that ended at noon of a day in March."""
    run = a_finished_run(name, **{"finishedAt": f"2026-03-{ended:02}T12:00:00Z", **more})
    run["metadata"]["namespace"] = "team-b" if name.startswith("b") else "team-a"
    run["metadata"]["uid"] = uid or f"uid-of-{name}"
    run["metadata"]["labels"] = {"headrace.dev/schedule": "nightly", **(labels or {})}
    return run


def price(amount: str, currency: str = "USD") -> dict[str, str]:
    return {"amount": amount, "currency": currency}


def fill(store: HistoryStore) -> None:
    """A run a day of two teams; one name was used twice."""
    runs = [
        a_run("a-1", 1, cost=price("0.25")),
        a_run("a-2", 2, cost=price("0.5"), labels={"example.org/tier": "gold"}),
        a_run("a-3", 3, phase="Failed", reason="FlowFailed"),
        a_run("b-4", 4, cost=price("2", "EUR")),
        a_run("b_5%", 5, phase="Crashed"),
        a_run("a-1", DAYS, uid="uid-of-another", cost=price("1")),
    ]
    store.write([record_of(run, flow="etl" if run["metadata"]["namespace"] == "team-a" else "load") for run in runs])


def names(store: HistoryStore, limit: int = 100, **search: Any) -> list[str]:
    return [each["name"] for each in page(store, Search(**search), limit)]


def the_last_that_ended_comes_first(store: HistoryStore) -> None:
    assert names(store) == ["a-1", "b_5%", "b-4", "a-3", "a-2", "a-1"]


def nothing_of_other_namespaces_is_told(store: HistoryStore) -> None:
    assert names(store, namespaces=("team-b",)) == ["b_5%", "b-4"]
    assert names(store, namespaces=()) == []
    assert spent(store, Search(namespaces=()), "flow") == []
    assert [each["name"] for each in spent(store, Search(namespaces=("team-b",)), "flow")] == ["load", "load"]


def filters_narrow_it_down(store: HistoryStore) -> None:
    assert names(store, phases=("Failed", "Crashed")) == ["b_5%", "a-3"]
    assert names(store, flow="load", namespaces=("team-a", "team-b")) == ["b_5%", "b-4"]
    assert names(store, deployment="daily", until=day(3)) == ["a-2", "a-1"]
    assert names(store, since=day(5)) == ["a-1", "b_5%"]
    assert names(store, deployment="none") == []


def a_part_of_a_name_means_itself(store: HistoryStore) -> None:
    assert names(store, part_of_name="-1") == ["a-1", "a-1"]
    assert names(store, part_of_name="%") == names(store, part_of_name="_5") == ["b_5%"]
    assert names(store, part_of_name="!") == []


def labels_are_found_by_key_and_value(store: HistoryStore) -> None:
    assert names(store, label="example.org/tier=gold") == names(store, label="example.org/tier") == ["a-2"]
    assert names(store, label="example.org/tier=silver") == []


def a_filter_that_no_label_can_match_finds_nothing(store: HistoryStore) -> None:
    for label in (*'"$[.#/ ', "=x", "$.a=b", "[x]", "a b", "a.", "/a"):
        assert names(store, label=label) == [], label


def a_value_that_the_database_has_no_place_for_is_refused_alone(store: HistoryStore) -> None:
    """The connection stays, and so does who asks for something else."""
    with pytest.raises(HistoryRefused):
        store.rows("select name from headrace_runs where attempt_count = cast(%s as smallint) limit %s", (2**70, 2**70))
    assert names(store, limit=1) == ["a-1"]


def pages_follow_each_other_without_a_gap(store: HistoryStore) -> None:
    seen: list[str] = []
    after = None
    while found := page(store, Search(after=after), 2):
        seen += [each["uid"] for each in found]
        after = (datetime.fromisoformat(found[-1]["finished_at"]), found[-1]["uid"])
    assert seen == [each["uid"] for each in page(store, Search(), 100)]
    assert len(seen) == len(set(seen)) == DAYS


def of_a_name_that_was_used_twice_each_run_is_told(store: HistoryStore) -> None:
    last = one(store, "team-a", "a-1")
    assert last
    assert (last["uid"], last["cost_amount"], last["parameters"]) == (
        "uid-of-another",
        "1",
        {"day": "2026-03-03", "rows": 10},
    )
    first = one(store, "team-a", "a-1", "uid-of-a-1")
    assert first
    assert first["finished_at"] == "2026-03-01T12:00:00.000Z"
    assert [each["uid"] for each in namesakes(store, "team-a", "a-1", 10)] == ["uid-of-another", "uid-of-a-1"]
    assert one(store, "team-b", "a-1") is None
    assert one(store, "team-b", "a-1", "uid-of-a-1") is None


def namespaces_are_told_once_each(store: HistoryStore) -> None:
    assert namespaces(store) == ["team-a", "team-b"]


def costs_are_added_up_by_what_is_asked_and_by_currency(store: HistoryStore) -> None:
    def told(by: Any, **search: Any) -> list[tuple[Any, ...]]:
        rows = spent(store, Search(**search), by)
        fields = ("namespace", "name", "currency", "amount", "runs", "unpriced")
        found = [tuple(row[field] for field in fields) for row in rows]
        return sorted(found, key=str)

    of_a = [("team-a", "etl", "USD", "1.75", 3, 0), ("team-a", "etl", None, None, 0, 1)]
    assert told("flow", namespaces=("team-a",)) == of_a
    assert told("namespace", since=day(4), until=day(5)) == [(None, "team-b", "EUR", "2", 1, 0)]
    assert told("pool", phases=("Failed",)) == [(None, None, None, None, 0, 1)]


def spans_of_time_are_added_up_each(store: HistoryStore) -> None:
    spans = [(day(1), day(3)), (day(3), day(4)), (day(20), day(21))]
    rows = spent_between(store, Search(namespaces=("team-a",)), spans)
    told = [(row["span"], row["currency"], row["amount"], row["runs"], row["unpriced"]) for row in rows]
    assert sorted(told, key=str) == [(0, "USD", "0.75", 2, 0), (1, None, None, 0, 1)]
    assert spent_between(store, Search(), []) == []


def a_list_may_be_of_runs_created_since(store: HistoryStore) -> None:
    """Whenever they started and ended, by a clock that may differ; `since` narrows it down further."""

    def created(hour: int, name: str, ended: int, **status: Any) -> dict[str, Any]:
        run = a_run(name, ended, **status)
        run["metadata"] |= {"namespace": "team-c", "creationTimestamp": f"2026-03-10T{hour:02}:00:00Z"}
        return run

    waited = created(11, "waited", 11, startedAt="2026-03-11T11:00:00Z")
    runs = [waited, created(12, "at-once", 10), created(13, "by-a-slow-clock", 10, finishedAt="2026-03-10T12:59:58Z")]
    store.write([record_of(run) for run in runs])

    def told(created_since: datetime, **question: Any) -> list[str]:
        rows = listed(store, Question(namespace="team-c", created_since=created_since, **question), 10)
        return [row["name"] for row in rows]

    noon = day(10)
    assert told(noon - timedelta(hours=1)) == ["waited", "by-a-slow-clock", "at-once"]
    assert told(noon) == ["by-a-slow-clock", "at-once"]
    assert told(noon + timedelta(hours=1)) == ["by-a-slow-clock"]
    assert told(noon - timedelta(hours=1), since=day(11)) == ["waited"]
    assert listed(store, Question(name="waited"), 1)[0]["created_at"] == "2026-03-10T11:00:00.000Z"


CHECKS: tuple[Check, ...] = (
    the_last_that_ended_comes_first,
    nothing_of_other_namespaces_is_told,
    filters_narrow_it_down,
    a_part_of_a_name_means_itself,
    labels_are_found_by_key_and_value,
    a_filter_that_no_label_can_match_finds_nothing,
    a_value_that_the_database_has_no_place_for_is_refused_alone,
    pages_follow_each_other_without_a_gap,
    of_a_name_that_was_used_twice_each_run_is_told,
    namespaces_are_told_once_each,
    costs_are_added_up_by_what_is_asked_and_by_currency,
    spans_of_time_are_added_up_each,
    a_list_may_be_of_runs_created_since,
)

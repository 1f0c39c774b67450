"""What runs have cost, added up."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest

from headrace.costs import Total
from headrace_dashboard.pages.cost import Asked, Past, added_up, asked_from, cost_page, counted, name_of
from headrace_dashboard.pages.layout import Frame
from headrace_dashboard.routes.cost import months_before
from headrace_dashboard.watching.records import RunRecord, kept_flow, run_record

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
FRAME = Frame(person="ann", csrf="", assets="x")


def a_run(
    name: str,
    cost: str = "",
    *,
    flow: str = "etl",
    namespace: str = "a",
    created: str = "2026-03-04T11:00:00Z",
    currency: str = "USD",
) -> RunRecord:
    status = {"phase": "Succeeded", **({"cost": {"amount": cost, "currency": currency}} if cost else {})}
    metadata = {"uid": name, "namespace": namespace, "name": name, "resourceVersion": "1", "creationTimestamp": created}
    return run_record({"metadata": metadata, "spec": {"flowRef": {"name": flow}}, "status": status})


RUNS = (
    a_run("one", "0.10"),
    a_run("two", "0.20"),
    a_run("free"),
    a_run("euro", "0.05", currency="EUR"),
    a_run("dear", "7", flow="train"),
    a_run("old", "100", created="2026-01-01T00:00:00Z"),
    a_run("theirs", "1000", namespace="b"),
)


def added(by: str, since: str = "30d", past: Past | None = None) -> list[Total]:
    def name(run: RunRecord) -> str:
        return {"train": "research"}.get(run.flow, "") if by == "team" else name_of(by, run.namespace, getattr(run, by))

    runs = counted(RUNS, Asked(by, since), lambda namespace: namespace == "a", past=past, now=NOW)
    return added_up([(name(run), run) for run in runs], past.spent if past else ())


def test_each_flow_is_added_up_by_currency() -> None:
    """To the last digit; runs without a price are counted with their name once; nothing of others, nothing older."""
    assert added("flow") == [
        Total("a/train", "USD", Decimal(7), 1, 0),
        Total("a/etl", "USD", Decimal("0.30"), 2, 0),
        Total("a/etl", "EUR", Decimal("0.05"), 1, 0),
        Total("a/etl", "", Decimal(0), 0, 1),
    ]


def test_teams_are_those_of_the_flows() -> None:
    """Flows without one are together."""
    assert [(each.name, each.amount) for each in added("team")][:2] == [("research", Decimal(7)), ("", Decimal("0.30"))]


def test_all_that_is_there_may_be_asked_for() -> None:
    """However old."""
    assert added("namespace", since="")[0] == Total("a", "USD", Decimal("107.30"), 4)


class TestWithAHistoryStore:
    """What it has counts in the place of what is in the cluster."""

    def test_a_run_that_is_in_both_counts_once(self) -> None:
        """Of the store, which has it by the time of its end."""
        etl = Total("a/etl", "USD", Decimal("0.30"), 2, 0)
        past = Past([etl, Total("a/etl", "", Decimal(0), 0, 3)], frozenset({"one", "two", "old"}))
        assert added("flow", past=past)[1:] == [
            Total("a/etl", "USD", Decimal("0.30"), 2, 0),
            Total("a/etl", "EUR", Decimal("0.05"), 1, 0),
            Total("a/etl", "", Decimal(0), 0, 4),
        ]

    def test_what_has_not_ended_counts_however_long_ago_it_began(self) -> None:
        """It ends in the time that is asked for, or later."""
        assert added("namespace", past=Past())[0].amount == Decimal("107.30")

    def test_names_that_only_the_store_knows_are_told(self) -> None:
        gone = Total("a/gone", "USD", Decimal(50), 10, 0)
        assert added("flow", past=Past([gone]))[1] == Total("a/gone", "USD", Decimal(50), 10, 0)

    def test_the_page_has_months_and_says_of_what(self) -> None:
        months = [("2026-03", [Total("", "USD", Decimal("12.5"), 40, 0), Total("", "", Decimal(0), 0, 2)])]
        page = cost_page(FRAME, Asked("flow", "365d"), [], past=Past(months=months), now=NOW)
        assert '<td data-of="Month">2026-03</td><td data-of="Cost">12.5000 USD</td><td data-of="Runs">40</td>' in page
        assert "Last 365 days" in page
        assert "still in the cluster" not in page

    def test_a_store_that_is_away_is_told_and_hides_nothing_else(self) -> None:
        page = cost_page(FRAME, Asked("flow", "30d"), added("flow"), past=Past(problem="It is away."), now=NOW)
        assert "It is away. What has left the cluster is missing." in page
        assert "a/train" in page


def test_months_begin_in_utc_and_follow_each_other() -> None:
    """This one first, over the turn of the year."""
    found = months_before(datetime(2026, 2, 28, 23, 59, tzinfo=UTC))
    assert found[0] == (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC))
    assert found[2] == (datetime(2025, 12, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))
    assert len(found) == 12
    assert all(since == until for (since, _), (_, until) in pairwise(found))


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ({}, Asked("team", "30d")),
        ({"by": "flow", "since": ""}, Asked("flow", "")),
        ({"by": "uid", "since": "1y"}, Asked("team", "30d")),
    ],
)
def test_an_address_asks_for_what_there_is(given: dict[str, str], asked: Asked) -> None:
    """And never for another field of a run."""
    assert asked_from(given) == asked


def test_the_page_tells_the_whole_in_each_currency() -> None:
    """Flows with and without prices, and which link is the one that was taken."""
    page = cost_page(FRAME, Asked("flow", "30d"), added("flow"), past=None, now=NOW)
    assert "<strong>0.0500 EUR, 7.3000 USD</strong> for 4 runs" in page
    assert "1 runs have no price" in page
    assert '<a href="/cost?by=flow&amp;since=30d" aria-current="true">Flow</a>' in page


def test_the_team_of_a_flow_is_kept_and_its_code_is_not() -> None:
    """As cost asks for it."""
    metadata = {
        "uid": "u",
        "namespace": "a",
        "name": "etl",
        "resourceVersion": "1",
        "creationTimestamp": "2026-03-04T11:00:00Z",
    }
    source = {"inline": {"files": {"etl.py": "print()"}}}
    flow = kept_flow({"metadata": {**metadata, "labels": {"headrace.dev/team": "orders"}}, "spec": {"source": source}})
    assert (flow.team, flow.spec) == ("orders", {"source": {"inline": {}}})

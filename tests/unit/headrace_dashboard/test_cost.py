"""What runs have cost, added up."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from headrace_dashboard.pages.cost import Asked, Total, asked_from, cost_page, totals
from headrace_dashboard.pages.layout import Frame
from headrace_dashboard.watching.records import RunRecord, kept_flow, run_record

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


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


def added(by: str, since: str = "30d") -> list[Total]:
    def team_of(run: RunRecord) -> str:
        return {"train": "research"}.get(run.flow, "")

    return totals(RUNS, Asked(by, since), lambda namespace: namespace == "a", team_of=team_of, now=NOW)


def test_each_flow_is_added_up_by_currency() -> None:
    """To the last digit; runs without a price are counted with their name once; nothing of others, nothing older."""
    assert added("flow") == [
        Total("a/train", "USD", Decimal(7), 1, 0),
        Total("a/etl", "USD", Decimal("0.30"), 2, 1),
        Total("a/etl", "EUR", Decimal("0.05"), 1, 0),
    ]


def test_teams_are_those_of_the_flows() -> None:
    """Flows without one are together."""
    assert [(each.name, each.amount) for each in added("team")][:2] == [("research", Decimal(7)), ("", Decimal("0.30"))]


def test_all_that_is_there_may_be_asked_for() -> None:
    """However old."""
    assert added("namespace", since="")[0] == Total("a", "USD", Decimal("107.30"), 4, 1)


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
    page = cost_page(Frame(person="ann", csrf="", assets="x"), Asked("flow", "30d"), added("flow"), NOW)
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

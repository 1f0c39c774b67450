"""Which runs a list shows, and its pages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from urllib.parse import parse_qsl, urlsplit

import pytest

from headrace_dashboard.pages.dead_letters import dead_letters
from headrace_dashboard.pages.selecting import Query, query_from, selected
from headrace_dashboard.watching.records import RunRecord, newest_run, run_record

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def a_run(name: str, **changes: object) -> RunRecord:
    """A run that succeeded an hour ago."""
    obj = {
        "metadata": {
            "uid": f"uid-{name}",
            "namespace": "team-a",
            "name": name,
            "resourceVersion": "7",
            "creationTimestamp": "2026-03-04T11:00:00Z",
            "labels": {"team": "orders"},
        },
        "spec": {"flowRef": {"name": "etl"}},
        "status": {"phase": "Succeeded"},
    }
    return replace(run_record(obj), **changes)


def names(runs: list[RunRecord], query: Query, *, visible: frozenset[str] = frozenset({"team-a"})) -> list[str]:
    found = selected(sorted(runs, key=newest_run, reverse=True), query, visible.__contains__, now=NOW, size=50)
    return [run.name for run in found.runs]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param(Query(), ["odd", "even"], id="all that may be shown, newest first"),
        pytest.param(Query(q="EV"), ["even"], id="a part of the name, however it is written"),
        pytest.param(Query(phase="Failed"), ["odd"], id="a phase"),
        pytest.param(Query(phase="finished"), ["odd", "even"], id="a group of phases"),
        pytest.param(Query(phase="active"), [], id="a group that nobody is in"),
        pytest.param(Query(flow="etl"), ["even"], id="a flow"),
        pytest.param(Query(deployment="nightly"), ["odd"], id="a deployment"),
        pytest.param(Query(label="team"), ["odd", "even"], id="a label that is there"),
        pytest.param(Query(label="team=other"), [], id="a label of another value"),
        pytest.param(Query(since="1h"), ["odd", "even"], id="created within an hour, the hour itself included"),
        pytest.param(Query(namespace="team-b"), [], id="a namespace that may not be seen shows nothing"),
    ],
)
def test_filters(query: Query, expected: list[str]) -> None:
    """Each by itself, on two runs of ours and one of another team."""
    runs = [
        a_run("even"),
        a_run("odd", phase="Failed", flow="other", deployment="nightly", created="2026-03-04T11:30:00Z"),
        a_run("theirs", namespace="team-b"),
    ]
    assert names(runs, query) == expected


def test_an_older_run_is_left_out_by_since() -> None:
    """By its creation."""
    assert names([a_run("old", created="2026-03-04T10:59:59Z"), a_run("new")], Query(since="1h")) == ["new"]


def test_phases_are_counted_over_all_pages_and_phases_of_what_may_be_seen() -> None:
    """A filter by phase does not hide that there are others; other teams are not counted."""
    runs = [a_run("a"), a_run("b", phase="Failed"), a_run("c", phase="Failed", namespace="team-b")]
    found = selected(runs, Query(phase="Failed"), {"team-a"}.__contains__, now=NOW, size=1)
    assert (found.phases, found.total) == ({"Succeeded": 1, "Failed": 1}, 1)


def test_pages_have_each_run_once_though_runs_come_and_go_meanwhile() -> None:
    """The cursor is a place in the order, not a number: what is created or deleted shifts nothing."""
    runs = [a_run(f"run-{number:03}", created=f"2026-03-04T10:00:{number // 4:02}Z") for number in range(200)]
    seen: list[str] = []
    query = Query()
    for turn in range(100):
        ordered = sorted(runs, key=newest_run, reverse=True)
        found = selected(ordered, query, lambda _: True, now=NOW, size=7)
        assert found.first == ordered.index(found.runs[0]) + 1
        seen += [run.name for run in found.runs]
        if not found.following:
            break
        query = Query(after=found.following)
        runs.append(a_run(f"new-{turn}", created="2026-03-04T11:59:59Z"))
        runs.remove(found.runs[-1])
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == len(set(seen)) == 200


def test_what_an_address_cannot_mean_is_left_out() -> None:
    """No error for a link that somebody has cut off."""
    given = {"phase": "Nonsense", "since": "yesterday", "after": "x", "q": "a" * 999, "evil": "1"}
    assert query_from(given) == Query(q="a" * 253)


def test_no_text_has_a_character_that_databases_refuse() -> None:
    """PostgreSQL has no NUL."""
    after = "2026-03-04T11:00:00Z~team-a~x"
    assert query_from({"q": "\0", "label": "a\0=b\0", "flow": "\0 x", "after": f"{after}\0"}) == Query(
        label="a=b", flow="x", after=after
    )


def test_a_query_survives_its_address() -> None:
    """A link is what somebody sends to a colleague."""
    query = Query(namespace="team-a", phase="dead", label="a=b c", q="&x", after="2026-03-04T11:00:00Z~team-a~x")
    address = query.address("/runs")
    assert query_from(dict(parse_qsl(urlsplit(address).query))) == query


def test_runs_are_in_one_order() -> None:
    """Two that were created in the same second have an order of their own."""
    runs = sorted([a_run("a"), a_run("b"), a_run("c", namespace="z")], key=newest_run)
    assert all(newest_run(one) < newest_run(two) for one, two in pairwise(runs))


def test_dead_letters_are_those_that_nobody_has_run_again() -> None:
    """A task of another run is that run's matter; a go of an earlier run of the same name does not count."""
    runs = [
        a_run("failed", phase="Failed"),
        a_run("crashed", phase="Crashed"),
        a_run("fine"),
        a_run("task", phase="Failed", is_task=True),
        a_run("done", phase="Failed"),
        a_run("done-r1", rerun_of="done", created="2026-03-04T11:10:00Z"),
        a_run("reused", phase="Failed"),
        a_run("reused-r1", rerun_of="reused", created="2026-03-04T10:00:00Z"),
        a_run("theirs", phase="Failed", namespace="team-b"),
    ]
    found = dead_letters(runs, {"team-a"}.__contains__)
    assert [run.name for run in found] == ["failed", "crashed", "reused"]

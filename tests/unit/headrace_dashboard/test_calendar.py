"""The calendar of a Backfill's partitions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from headrace.backfills.outcomes import Outcomes
from headrace.backfills.ranges import Ranges
from headrace_dashboard.pages.backfills import picture
from headrace_dashboard.pages.calendar import Calendar, Cell, calendar

HOUR_S = 3600


def a_range(start: str, end: str, **changes: Any) -> dict[str, Any]:
    """A spec of hours, unless `changes` say otherwise."""
    return a_spec({"range": {"from": start, "to": end, "intervalSeconds": HOUR_S, **changes}})


def a_spec(partitions: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {"deploymentRef": {"name": "orders"}, "partitions": partitions, **changes}


def a_status(**sets: list[int]) -> dict[str, Any]:
    outcomes = Outcomes(**{name: Ranges.of(positions) for name, positions in sets.items()})
    return {"outcomes": outcomes.encoded().to_api()}


def cell(found: Calendar, label: str) -> Cell:
    (one,) = [each for each in found.cells if each.label == label]
    return one


def test_hours_are_gathered_in_the_days_of_the_time_zone() -> None:
    """The day on which clocks go forward has 23; rows are months, columns days."""
    spec = a_range("2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z", timeZone="Europe/London")
    found = calendar(spec, {}, ())
    assert [(each.label, each.row, each.column, each.total) for each in found.cells] == [
        ("2026-03-28", 0, 27, 24),
        ("2026-03-29", 0, 28, 23),
        ("2026-03-30", 0, 29, 24),
        ("2026-03-31", 0, 30, 1),
    ]
    assert found.rows == ["2026-03"]


@pytest.mark.parametrize("order", ["Oldest", "Newest", "Random"])
def test_outcomes_are_shown_on_their_day_whatever_the_order_of_running(order: str) -> None:
    """The partition in the first place is the one that the operator runs first."""
    spec = a_range("2026-01-30T00:00:00Z", "2026-02-02T00:00:00Z") | {"order": order}
    everything = set(range(72))
    found = calendar(spec, a_status(succeeded=sorted(everything - {0, 71}), failed=[0], cancelled=[71]), ())
    failed = [each for each in found.cells if each.failed]
    assert len(failed) == 1
    day = found.failed[0][:8]
    assert failed[0].label == f"{day[:4]}-{day[4:6]}-{day[6:]}"
    if order != "Random":
        first, last = ("2026-01-30", "2026-02-01") if order == "Oldest" else ("2026-02-01", "2026-01-30")
        assert cell(found, first) == Cell(first, int(first == "2026-02-01"), int(first[-2:]) - 1, 24, 23, 1, 0, 0)
        assert cell(found, last).cancelled == 1
    assert sum(each.succeeded for each in found.cells) == 70
    assert found.rows == ["2026-01", "2026-02"]


@pytest.mark.parametrize(
    ("counts", "word"),
    [
        pytest.param((24, 0, 0, 0), "succeeded", id="all of them succeeded"),
        pytest.param((23, 0, 0, 0), "running", id="some have, the others wait"),
        pytest.param((0, 0, 0, 1), "running", id="one is under way"),
        pytest.param((0, 0, 0, 0), "pending", id="none is"),
        pytest.param((22, 0, 1, 1), "cancelled", id="one was cancelled"),
        pytest.param((22, 1, 1, 0), "failed", id="one failed, which counts most"),
    ],
)
def test_the_worst_of_a_cell_is_its_colour(counts: tuple[int, int, int, int], word: str) -> None:
    """So that one failure in a day of a thousand is seen."""
    assert Cell("2026-01-01", 0, 0, 24, *counts).word == word


def test_a_long_range_is_shown_by_months() -> None:
    """A row for each year; the last month is not whole."""
    found = calendar(a_range("2020-11-01T00:00:00Z", "2026-02-02T00:00:00Z", intervalSeconds=86_400), {}, ())
    assert found.rows == [str(year) for year in range(2020, 2027)]
    assert [(each.label, each.row, each.column, each.total) for each in found.cells][:2] == [
        ("2020-11", 0, 10, 30),
        ("2020-12", 0, 11, 31),
    ]
    assert cell(found, "2024-02").total == 29
    assert (found.cells[-1].label, found.cells[-1].total) == ("2026-02", 1)
    assert (
        sum(each.total for each in found.cells)
        == (datetime(2026, 2, 2, tzinfo=UTC) - datetime(2020, 11, 1, tzinfo=UTC)).days
    )


def test_a_weekly_line_has_cells_on_its_days_alone() -> None:
    """The other days are empty."""
    within = {"from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z", "cron": "0 0 * * 1"}
    found = calendar(a_spec({"range": within}), {}, (1,))
    assert [each.label[-2:] for each in found.cells] == ["05", "12", "19", "26"]
    assert [each.word for each in found.cells] == ["pending", "running", "pending", "pending"]


def test_a_matrix_is_shown_in_the_order_of_its_spec() -> None:
    """The last axis changes fastest."""
    axes = [{"name": "shop", "values": ["north", "south"]}, {"name": "size", "values": ["s", "l"]}]
    found = calendar(a_spec({"matrix": axes}), a_status(failed=[2]), ())
    assert [each.label for each in found.cells] == ["north-s", "north-l", "south-s", "south-l"]
    assert [each.word for each in found.cells] == ["pending", "pending", "failed", "pending"]
    assert found.failed == ["south-s"]


def test_300_000_partitions_are_as_many_cells_as_their_days() -> None:
    """Every one is counted, and failures far beyond those that are named."""
    spec = a_range("2026-01-01T00:00:00Z", "2026-04-01T00:00:00Z", intervalSeconds=26)
    failed = list(range(0, 299_000, 7))
    found = calendar(spec, a_status(failed=failed), ())
    assert len(found.cells) == 90
    assert sum(each.total for each in found.cells) == 299_077
    assert sum(each.failed for each in found.cells) == len(failed)
    assert len(found.failed) == 50


def test_so_many_in_random_order_are_shown_as_they_run() -> None:
    """Their places in time would be computed one by one."""
    spec = a_range("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", intervalSeconds=60) | {"order": "Random"}
    found = calendar(spec, a_status(succeeded=list(range(100))), ())
    assert found.by_running
    assert found.cells[0].label == "0 to 49"
    assert [each.word for each in found.cells[:3]] == ["succeeded", "succeeded", "pending"]


@pytest.mark.parametrize(
    ("spec", "status"),
    [
        pytest.param(a_range("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", cron="0 0 31 2 *", intervalSeconds=None), {}, id="no time in it"),
        pytest.param(a_range("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), {"outcomes": {"packed": "rubbish"}}, id="a status that is no text of ours"),
        pytest.param(a_range("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", timeZone="Mars/Olympus"), {}, id="a zone that is nowhere"),
    ],
)  # fmt: skip
def test_what_has_no_calendar_says_so(spec: dict[str, Any], status: dict[str, Any]) -> None:
    """In an error that the page tells, not one that breaks it."""
    with pytest.raises(ValueError, match=r"\w"):
        calendar(spec, status, ())


def test_colour_is_not_all_that_tells() -> None:
    """Failed cells have a sign, every cell its numbers, the whole a sentence."""
    found = calendar(a_range("2026-01-01T00:00:00Z", "2026-01-03T00:00:00Z"), a_status(failed=[0]), ())
    text = picture(found)
    assert '<text x="91" y="16" class="sign">!</text>' in text
    assert "<title>2026-01-01: 1 failed of 24</title>" in text
    assert 'aria-label="2 cells: 1 failed, 1 pending"' in text

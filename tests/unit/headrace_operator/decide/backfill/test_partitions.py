"""A spec as partitions: which there are, what they are called, what their runs get."""

from __future__ import annotations

import itertools
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.api.backfill import BackfillSpec
from headrace_operator.decide.backfill.errors import InvalidBackfill
from headrace_operator.decide.backfill.partitions import MOST, Partition, Partitions

QUARTER = {"from": "2026-01-01T00:00:00Z", "to": "2026-04-01T00:00:00Z"}


def a_spec(partitions: dict[str, Any], **fields: Any) -> BackfillSpec:
    return BackfillSpec.model_validate({"deploymentRef": {"name": "etl"}, "partitions": partitions, **fields})


def ranged(**fields: Any) -> dict[str, Any]:
    return {"range": {**QUARTER, **fields}}


def all_of(partitions: dict[str, Any], **fields: Any) -> list[Partition]:
    found = Partitions.of(a_spec(partitions, **fields))
    return [found.at(position) for position in range(found.total)]


def refused(partitions: dict[str, Any], **fields: Any) -> str:
    with pytest.raises(InvalidBackfill) as caught:
        Partitions.of(a_spec(partitions, **fields))
    return str(caught.value)


def test_days_of_a_zone_follow_its_clock():
    """Each begins at midnight in London; the one on which the clock is put forward has 23 hours."""
    days = all_of(ranged(cron="@daily", timeZone="Europe/London"))

    assert len(days) == 91
    assert days[0] == Partition(
        index=0,
        name="20260101",
        parameters={"start": "2026-01-01T00:00:00+00:00", "end": "2026-01-02T00:00:00+00:00"},
        start=datetime(2026, 1, 1, tzinfo=UTC),
        end=datetime(2026, 1, 2, tzinfo=UTC),
    )
    changed = days[87]
    assert changed.name == "20260329"
    assert changed.parameters == {"start": "2026-03-29T00:00:00+00:00", "end": "2026-03-30T00:00:00+01:00"}
    assert changed.end - changed.start == timedelta(hours=23)


def test_no_partition_reaches_beyond_the_range():
    """In April London's midnight is before that of the range's end: the last one is cut there."""
    last = all_of(ranged(cron="@daily", timeZone="Europe/London"))[-1]

    assert (last.name, last.end) == ("20260401", datetime(2026, 4, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"cron": "@daily"}, ["20260101", "20260102", "20260331"]),
        ({"intervalSeconds": 86400}, ["20260101", "20260102", "20260331"]),
        (
            {"intervalSeconds": 86400, "from": "2026-01-01T06:00:00Z"},
            ["20260101t0600z", "20260102t0600z", "20260331t0600z"],
        ),
        (
            {"intervalSeconds": 86400, "timeZone": "Europe/London"},
            ["20260101t0000z", "20260102t0000z", "20260331t0000z"],
        ),
        ({"cron": "0 7 * * *", "timeZone": "Europe/London"}, ["20260101t0700z", "20260102t0700z", "20260331t0600z"]),
        ({"intervalSeconds": 6 * 3600}, ["20260101t0000z", "20260101t0600z", "20260331t1800z"]),
        ({"intervalSeconds": 90}, ["20260101t0000z", "20260101t000130z", "20260331t235830z"]),
    ],
)
def test_a_partition_of_time_is_named_for_its_start(fields, names):
    found = Partitions.of(a_spec(ranged(**fields)))

    assert [found.at(position).name for position in (0, 1, found.total - 1)] == names


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from(
        [{"cron": "*/20 * * * *"}, {"cron": "30 1 * * *"}, {"cron": "0 0 * * *"}, {"intervalSeconds": 5400}]
    ),
    st.sampled_from(["Etc/UTC", "Europe/London", "Australia/Lord_Howe", "America/Nuuk", "Pacific/Apia"]),
    st.sampled_from(["2026-03-27T13:00:00Z", "2026-10-23T00:00:00Z", "2024-03-29T22:10:00Z", "2011-12-28T10:00:00Z"]),
)
def test_partitions_of_time_cover_it_without_overlap_under_names_of_their_own(step, zone, start):
    end = (datetime.fromisoformat(start) + timedelta(days=5)).isoformat()
    found = all_of({"range": {"from": start, "to": end, "timeZone": zone, **step}})

    assert all(before.end == after.start for before, after in itertools.pairwise(found))
    assert found[-1].end == datetime.fromisoformat(end)
    assert len({partition.name for partition in found}) == len(found)
    assert all(
        datetime.fromisoformat(partition.parameters["start"]) == partition.start < partition.end for partition in found
    )


def test_times_go_to_the_parameters_that_are_named():
    (only,) = all_of(
        {
            "range": {
                "from": "2026-01-01T00:00:00Z",
                "to": "2026-01-02T00:00:00Z",
                "cron": "@daily",
                "parameterNames": {"start": "day", "end": "until"},
            }
        }
    )

    assert only.parameters == {"day": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}


def test_a_matrix_is_every_combination_the_last_axis_fastest():
    found = all_of(
        {
            "matrix": [
                {"name": "shop", "values": ["eu-west", "us"]},
                {"name": "day", "values": ["2026-01-01", "2026-01-02"]},
            ]
        }
    )

    assert [(partition.index, partition.name, partition.parameters) for partition in found] == [
        (0, "euwest-20260101", {"shop": "eu-west", "day": "2026-01-01"}),
        (1, "euwest-20260102", {"shop": "eu-west", "day": "2026-01-02"}),
        (2, "us-20260101", {"shop": "us", "day": "2026-01-01"}),
        (3, "us-20260102", {"shop": "us", "day": "2026-01-02"}),
    ]


SCALARS = st.text("ab-. ", max_size=12) | st.integers(-20, 20) | st.booleans() | st.floats(-2, 2)


@given(st.lists(st.lists(SCALARS, min_size=1, max_size=6, unique_by=repr), min_size=1, max_size=4))
def test_names_of_a_matrix_are_never_the_same(axes):
    matrix = [{"name": f"axis{number}", "values": values} for number, values in enumerate(axes)]
    found = all_of({"matrix": matrix})

    assert len({partition.name for partition in found}) == len(found)
    assert max(len(partition.name) for partition in found) <= 22
    assert len({repr(partition.parameters) for partition in found}) == len(found)


def test_a_list_has_what_it_names():
    found = all_of(
        {"list": [{"name": "Big Customer", "parameters": {"id": 7}}, {"parameters": {"id": 8, "dry": True}}]}
    )

    assert [(partition.name, partition.parameters) for partition in found] == [
        ("big-customer", {"id": 7}),
        ("8-true", {"id": 8, "dry": True}),
    ]


def test_a_partitions_parameters_win_over_those_of_all():
    (only,) = all_of({"list": [{"name": "a", "parameters": {"id": 7}}]}, parameters={"id": 1, "dry": True})

    assert only.parameters == {"id": 7, "dry": True}


def test_places_and_partitions_are_told_apart():
    found = Partitions.of(a_spec(ranged(cron="@daily"), order="Newest"))

    assert (found.at(0).name, found.at(0).index) == ("20260331", 89)
    assert found.position_of(89) == 0


@pytest.mark.parametrize("position", [-1, 90])
def test_there_is_no_partition_beyond_the_last(position):
    with pytest.raises(IndexError, match=f"^{position} is no position; expected 0 to 89$"):
        Partitions.of(a_spec(ranged(cron="@daily"))).at(position)


def test_a_runs_name_is_that_of_its_partition():
    partition = Partitions.of(a_spec(ranged(cron="@daily"))).at(0)

    assert Partitions.run_name("q1", partition, 1) == "q1-20260101"
    assert Partitions.run_name("q1", partition, 2, rerun=1) == "q1-20260101--r1-2"


def test_a_million_partitions_take_little_memory():
    """A list of their times would take a hundred times as much."""
    spec = a_spec(
        {"range": {"from": "2026-01-01T00:00:00Z", "to": "2027-11-26T10:40:00Z", "cron": "* * * * *"}}, order="Random"
    )
    Partitions.of(spec).at(5)  # what is cached once for all does not count
    tracemalloc.start()
    found = Partitions.of(spec)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert found.total == MOST
    assert held < 256 * 1024


EVERY_MINUTE = {"cron": "* * * * *", "to": "2029-01-01T00:00:00Z"}
LONG = list(range(1001))
REFUSED = {
    "a cron line that cannot be read": (
        ranged(cron="0 25 * * *"),
        'spec.partitions.range.cron: "0 25 * * *": hour "25" is out of range; expected 0-23',
    ),
    "a cron line that fires elsewhere": (
        ranged(cron="0 0 1 12 *"),
        (
            'spec.partitions.range.cron: "0 0 1 12 *" has no time between from and to (Etc/UTC); choose another line or a '
            "longer range"
        ),
    ),
    "an unknown zone": (
        ranged(cron="@daily", timeZone="Europe/Londn"),
        (
            'spec.partitions.range.timeZone: "Europe/Londn": is no known time zone; did you mean Europe/London or '
            "Europe/Lisbon or Europe/Vienna?"
        ),
    ),
    "a range that ends before it begins": (
        ranged(cron="@daily", to="2025-01-01T00:00:00Z"),
        "spec.partitions.range.to: 2025-01-01T00:00:00Z is not later than from; choose a later time",
    ),
    "a range from long ago": (
        ranged(cron="@daily", **{"from": "0001-01-01T00:00:00Z"}),
        (
            'spec.partitions.range.from: "0001-01-01T00:00:00+00:00" is not between the years 1970 and 2199; choose a nearer '
            "time"
        ),
    ),
    "a range from half a second": (
        ranged(intervalSeconds=1, **{"from": "2026-01-01T00:00:00.5Z"}),
        'spec.partitions.range.from: "2026-01-01T00:00:00.500000+00:00" has fractions of a second; leave them out',
    ),
    "too many minutes": (
        ranged(**EVERY_MINUTE),
        "spec.partitions: has at least 1,000,800 partitions; expected 1,000,000 at most: make several Backfills",
    ),
    "too many combinations": (
        {"matrix": [{"name": "a", "values": LONG}, {"name": "b", "values": LONG}]},
        "spec.partitions: has at least 1,002,001 partitions; expected 1,000,000 at most: make several Backfills",
    ),
    "a value that is a list": (
        {"matrix": [{"name": "a", "values": ["x", [1]]}]},
        "spec.partitions.matrix[0].values: [1] is no text, number, true or false; write it as a text",
    ),
    "a value twice": (
        {"matrix": [{"name": "a", "values": [1, "x", 1]}]},
        "spec.partitions.matrix[0].values: 1 is there twice, at 0 and 2; leave one of them out",
    ),
    "a partition twice": (
        {"list": [{"parameters": {"id": 1}}, {"parameters": {"id": 1}}]},
        'spec.partitions.list: ["", {"id": 1}] is there twice, at 0 and 1; leave one of them out',
    ),
    "a name twice": (
        {"list": [{"name": "a", "parameters": {"id": 1}}, {"name": "a", "parameters": {"id": 2}}]},
        'spec.partitions.list: "a" is there twice, at 0 and 1; leave one of them out',
    ),
    "nothing": ({}, "spec.partitions: is empty; set one of range, list and matrix"),
}


@pytest.mark.parametrize(("partitions", "message"), REFUSED.values(), ids=REFUSED)
def test_a_spec_that_makes_no_sense_is_told_in_a_sentence(partitions, message):
    assert refused(partitions) == message


def test_the_windows_zone_is_looked_at_with_the_partitions():
    window = {"from": "22:00", "to": "06:00", "timeZone": "Mars/Olympus"}

    assert refused(ranged(cron="@daily"), window=window).startswith('spec.window.timeZone: "Mars/Olympus" is no known')

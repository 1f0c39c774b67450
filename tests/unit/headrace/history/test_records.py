"""What is kept of a finished run."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.history import record_of
from headrace.history.records import BARE
from headrace.history.schema import COLUMNS
from tests.unit.headrace.history.finished import a_finished_run, a_record


def fields(name: str = "daily-1", **status: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(a_record(name, **status).document)
    return found


def test_a_record_tells_who_it_was_and_how_it_ended() -> None:
    """In the columns that people ask by."""
    record = fields(cost={"amount": "0.0125", "currency": "EUR"})
    assert (record["namespace"], record["name"], record["flow"], record["deployment"], record["schedule"]) == (
        *("team-a", "daily-1", "etl", "daily"),
        "nightly",
    )
    assert (record["phase"], record["finished_at"], record["duration_s"]) == (
        "Succeeded",
        "2026-03-04T12:00:01.500Z",
        1.5,
    )
    assert (record["cost_amount"], record["cost_currency"], record["attempt_count"]) == ("0.0125", "EUR", 1)
    assert record["spec"] == {"deploymentRef": {"name": "daily"}, "priority": 5}


def test_it_has_a_column_for_each_field() -> None:
    """And no field that no column takes."""
    assert fields().keys() | {"log_tail", "refused"} == set(COLUMNS)


def test_it_says_who_did_what() -> None:
    """And nothing where nothing is noted."""
    assert fields()["audit"] == [{"time": "2026-03-04T12:00:01Z", "user": "ada", "what": "changed priority"}]
    run = a_finished_run()
    del run["metadata"]["annotations"]
    assert json.loads(record_of(run).document)["audit"] is None


def test_parameters_are_the_effective_ones_where_the_status_has_them() -> None:
    """Else those of the run: it ended before they were merged."""
    assert fields()["parameters"] == {"day": "2026-03-03", "rows": 10}
    assert fields(parameters=None)["parameters"] == {"day": "2026-03-03"}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-03-04T12:00:00+05:30", "2026-03-04T06:30:00.000Z"),
        ("2026-03-04T12:00:00.123456-02:00", "2026-03-04T14:00:00.123Z"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_a_time_is_kept_in_utc(given: str, kept: str) -> None:
    """Whatever its zone; one that UTC has no date for is the nearest that it has."""
    run = a_finished_run()
    run["spec"]["scheduledTime"] = given
    assert json.loads(record_of(run).document)["scheduled_for"] == kept


def test_a_run_that_never_started_has_no_duration() -> None:
    """Its end is known all the same, at worst by its creation."""
    record = fields(startedAt=None, attempts=None, finishedAt=None)
    assert (record["duration_s"], record["attempt_count"], record["finished_at"]) == (
        None,
        0,
        "2026-03-04T11:59:00.000Z",
    )
    assert a_record(attempts=None).pod is None


@pytest.mark.parametrize(
    "status",
    [{"message": "a\x00b"}, {"result": {"value": ["\x00"]}}, {"parameters": {"\x00": "x"}}],
    ids=["in a text", "in a document", "in a key"],
)
def test_a_nul_which_no_database_takes_is_replaced(status: dict[str, Any]) -> None:
    """Wherever it is."""
    assert b"\\u0000" not in a_record(**status).document
    assert "\ufffd" in a_record(**status).document.decode()


def test_a_text_that_only_looks_like_one_stays() -> None:
    """A backslash, and what follows it."""
    assert fields(message="\\u0000")["message"] == "\\u0000"


def test_the_end_of_a_log_is_added() -> None:
    """And nothing else is changed."""
    added = json.loads(a_record().with_log_tail('line\n"last"\x00').document)
    assert added == {**fields(), "log_tail": 'line\n"last"\ufffd'}


def test_a_bare_record_says_why_there_is_no_more() -> None:
    """It keeps who it was and how it ended."""
    bare = json.loads(a_record().bare("too large").document)
    assert bare == {name: fields()[name] for name in BARE} | {"refused": "too large"}


def test_a_run_that_goes_on_has_no_record() -> None:
    """It would be a fault of ours."""
    with pytest.raises(KeyError):
        record_of({**a_finished_run(), "status": {}})

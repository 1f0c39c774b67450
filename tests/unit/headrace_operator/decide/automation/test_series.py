"""Series of a metric: what an answer says, since when each is beyond the threshold, and when that is an event."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.api.automation import MAX_SERIES, Series
from headrace.api.automation_sources import OnMetric
from headrace_operator.decide.automation.series import (
    LARGEST,
    InvalidAnswer,
    Reading,
    Sample,
    followed,
    reading,
    samples_of,
    series_occurrences,
)
from tests.unit.headrace_operator.decide.automation.builders import T0


def a_metric(**fields: Any) -> OnMetric:
    return OnMetric.model_validate({"url": "http://prometheus", "query": "lag", "above": 5, **fields})


def an_answer(*result: Any, kind: str = "vector") -> bytes:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": list(result)}}).encode()


def a_series(value: str = "7", **labels: str) -> dict[str, Any]:
    return {"metric": labels, "value": [1.5, value]}


def seen(after_s: float, on: OnMetric | None = None, **values: float) -> Reading:
    """A reading of series by their topic."""
    samples = [Sample({"__name__": "lag", "topic": topic}, value) for topic, value in values.items()]
    return reading(on or a_metric(), samples, T0 + timedelta(seconds=after_s))


def test_an_answer_has_series_with_labels_and_values():
    """A number alone is one without labels."""
    assert samples_of(an_answer(a_series("7.5", topic="orders"))) == [Sample({"topic": "orders"}, 7.5)]
    assert samples_of(an_answer(1.5, "3", kind="scalar")) == [Sample({}, 3.0)]
    assert samples_of(an_answer()) == []


@pytest.mark.parametrize(
    ("series", "values"),
    [
        (a_series("+Inf"), [LARGEST]),
        (a_series("-Inf"), [-LARGEST]),
        (a_series("NaN"), []),
        ({"metric": {}, "histogram": [1.5, {"count": "1"}]}, []),
    ],
)
def test_values_that_json_does_not_have_are_none_or_the_largest(series, values):
    """So that they can be compared, and stored."""
    assert [each.value for each in samples_of(an_answer(series))] == values


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"<html>sign in</html>", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "none of Prometheus' API"),
        (b'{"status": "success", "data": [1]}', "none of Prometheus' API"),
        (b'{"kind": "Secret", "data": {"password": "aHVudGVyMg=="}}', "none of Prometheus' API"),
        (b'{"status": "error", "error": "parse \\u001b[31m error"}', "the query is refused: parse  [31m error"),
        (an_answer(kind="matrix"), "no instant vector"),
        (an_answer(kind="string"), "no instant vector"),
        (an_answer({"value": [1, "2"]}), "no labels and value"),
        (an_answer({"metric": {}, "value": 3}), "no labels and value"),
        (an_answer({"metric": {}, "value": [1, "two"]}), "no labels and value"),
        (an_answer({"metric": {"topic": {"a": 1}}, "value": [1, "2"]}), "are no texts"),
        (an_answer({"metric": {"topic": "\ud800"}, "value": [1, "2"]}), "are no texts"),
        (an_answer("x"), "no labels and value"),
    ],
)
def test_what_is_no_answer_of_prometheus_is_told_and_not_shown(body, told):
    """Whoever writes an Automation learns nothing of what other servers answer."""
    with pytest.raises(InvalidAnswer, match=told.replace("[", r"\[")) as error:
        samples_of(body)
    assert "aHVudGVyMg" not in str(error.value)


@pytest.mark.parametrize(
    ("threshold", "value", "is_beyond"),
    [
        ({"above": 5}, 5.0, False),
        ({"above": 5}, 5.1, True),
        ({"above": None, "below": 5}, 5.0, False),
        ({"above": None, "below": 5}, 4.9, True),
        ({"above": 0}, 0.5, True),
    ],
)
def test_a_series_is_beyond_a_threshold(threshold, value, is_beyond):
    """At the threshold it is not."""
    assert bool(seen(0, a_metric(**threshold), orders=value).beyond) is is_beyond


def test_a_series_is_an_event_once_it_has_been_beyond_for_long_enough():
    """Since the first answer that said so; the event is of that time, whoever sees it when."""
    on = a_metric(forSeconds=60)
    series = followed((), seen(0.7, on, orders=9))
    assert series_occurrences(on, series, seen(0.7, on, orders=9)) == []
    series = followed(series, seen(60, on, orders=6))
    (event,) = series_occurrences(on, series, seen(60, on, orders=6))
    (later,) = series_occurrences(on, followed(series, seen(600, on, orders=8)), seen(600, on, orders=8))
    assert (later.id, later.at, later.group) == (event.id, T0 + timedelta(seconds=60), event.group)
    assert event.about == 'lag{topic="orders"} is 6, above 5'
    assert event.event["metric"] == {
        "labels": {"__name__": "lag", "topic": "orders"},
        "value": 6,
        "since": "2026-03-01T07:00:00Z",
    }


def test_a_series_that_has_recovered_is_another_event_when_it_crosses_again():
    """Of the same group."""
    on = a_metric()
    (first,) = series_occurrences(on, followed((), seen(0, orders=9)), seen(0, orders=9))
    recovered = followed(followed((), seen(0, orders=9)), seen(60, orders=1))
    assert recovered == ()
    (second,) = series_occurrences(on, followed(recovered, seen(120, orders=9)), seen(120, orders=9))
    assert second.id != first.id
    assert second.group == first.group


def test_series_of_another_question_are_others():
    """A threshold that was changed asks anew."""
    assert set(seen(0, orders=9).beyond).isdisjoint(seen(0, a_metric(above=6), orders=9).beyond)


def test_as_many_series_as_a_status_holds_are_followed_and_those_that_were_stay():
    """What is above that gets a place when one has recovered."""
    values = {f"t{number}": 9.0 for number in range(MAX_SERIES)}
    series = followed((), seen(0, **values))
    more = followed(series, seen(60, **values, **{f"n{number}": 9.0 for number in range(MAX_SERIES)}))
    assert more == series
    assert len(followed(series, seen(60, **{**values, "t0": 0.0}, new=9))) == MAX_SERIES


@given(st.lists(st.sets(st.sampled_from("abcde")), min_size=1, max_size=8))
def test_each_crossing_is_one_event_however_often_it_is_looked_at(readings: list[set[str]]) -> None:
    """A reading that is looked at twice, as when its write was refused, comes to the same."""
    on, series, events = a_metric(), tuple[Series, ...](), set[str]()
    crossings, before = 0, set[str]()
    for number, topics in enumerate(readings):
        told = seen(60 * number, **dict.fromkeys(topics, 9.0))
        series = followed(series, told)
        assert followed(series, told) == series
        events |= {each.id for each in series_occurrences(on, series, told)}
        crossings += len(topics - before)
        before = topics
    assert len(events) == crossings

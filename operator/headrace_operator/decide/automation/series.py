"""
Which series of a metric are beyond an Automation's threshold, since when, and for long enough.

    answer ──> samples ──> beyond the threshold ──(status.series)──> long enough ──> occurrence

`status.series` says since when each has been so. An occurrence's id derives from that: whoever reads the status, after a restart or on another
replica, comes to the same one, so nothing is told twice while a series stays where it is.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from headrace.api.automation import MAX_SERIES, Series
from headrace.api.automation_sources import OnMetric
from headrace.instants import stamp
from headrace_operator.decide.automation.occurrences import Occurrence, fingerprint

LARGEST: Final = sys.float_info.max
"""JSON has no infinite numbers."""
TOLD_LIMIT: Final = 200
"""Characters of a foreign text that people are shown."""


class InvalidAnswer(ValueError):
    """What was answered cannot be used; its text is for people."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A series of an answer, and its value, which is finite."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What an answer said.

    Attributes:
        at: When it was asked for.
        beyond: By id: the series that are beyond the threshold.
    """

    at: datetime
    beyond: Mapping[str, Sample]


def samples_of(body: bytes) -> list[Sample]:
    """The series of an answer of Prometheus' query API. Raises: InvalidAnswer."""
    data = _data(body)
    result = data.get("result")
    match data.get("resultType"):
        case "vector" if isinstance(result, list):
            return [sample for each in result if (sample := _sample(each)) is not None]
        case "scalar":
            sample = _sample({"metric": {}, "value": result})
            return [] if sample is None else [sample]
    raise InvalidAnswer("the query comes to no instant vector and no scalar; ask for values of now, without a range")


def refusal_of(body: bytes) -> str | None:
    """What Prometheus says against a query; None where this is no such answer."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(answer, dict) or answer.get("status") != "error":
        return None
    return f"the query is refused: {_shown(answer.get('error'))}"


def _data(body: bytes) -> Mapping[str, Any]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise InvalidAnswer("the answer is no JSON; name the URL of an API of Prometheus") from None
    data = answer.get("data") if isinstance(answer, dict) and answer.get("status") == "success" else None
    if not isinstance(data, dict):
        raise InvalidAnswer(refusal_of(body) or "the answer is none of Prometheus' API; name its URL")
    return data


def _sample(told: Any) -> Sample | None:
    """None for a histogram, and for what is no number. Raises: InvalidAnswer."""
    if isinstance(told, dict) and "histogram" in told and "value" not in told:
        return None
    try:
        labels, (_, text) = told["metric"], told["value"]
        value = float(text) if isinstance(text, str) else math.nan
    except (KeyError, TypeError, ValueError):
        raise InvalidAnswer("a series has no labels and value; name the URL of an API of Prometheus") from None
    if not isinstance(labels, dict) or not all(_is_unicode(part) for pair in labels.items() for part in pair):
        raise InvalidAnswer("the labels of a series are no texts; name the URL of an API of Prometheus")
    return None if math.isnan(value) else Sample(labels, max(-LARGEST, min(LARGEST, value)))


def _is_unicode(value: Any) -> bool:
    """Whether it is a text that can be stored."""
    try:
        return isinstance(value, str) and value.encode() is not None
    except UnicodeEncodeError:
        return False


def _shown(text: Any) -> str:
    told = "".join(letter if letter.isprintable() else " " for letter in str(text or "it does not say why"))
    return told[:TOLD_LIMIT]


def reading(on: OnMetric, samples: Iterable[Sample], at: datetime) -> Reading:
    """What the samples of an answer come to."""
    question = (on.query, str(on.above), str(on.below))
    beyond = {
        fingerprint("series", *question, json.dumps(sample.labels, sort_keys=True)): sample
        for sample in samples
        if (on.above is not None and sample.value > on.above) or (on.below is not None and sample.value < on.below)
    }
    return Reading(at.replace(microsecond=0), beyond)


def followed(series: Sequence[Series], seen: Reading) -> tuple[Series, ...]:
    """
    What is beyond the threshold now: what was stays as it is, what is new has been so since this reading.

    At most MAX_SERIES: those that were are kept first. Of the very same reading it comes to the same a second time.
    """
    kept = [each for each in series if each.id in seen.beyond]
    known = {each.id for each in kept}
    fresh = [Series(id=found, since=seen.at) for found in sorted(seen.beyond) if found not in known]
    return (*kept, *fresh[: MAX_SERIES - len(kept)])


def series_occurrences(on: OnMetric, series: Sequence[Series], seen: Reading) -> list[Occurrence]:
    """Those that were beyond the threshold for long enough when they were read."""
    long_enough = timedelta(seconds=on.for_seconds)
    return [
        _occurrence(on, each, seen.beyond[each.id], each.since + long_enough)
        for each in series
        if each.id in seen.beyond and each.since + long_enough <= seen.at
    ]


def _occurrence(on: OnMetric, series: Series, sample: Sample, at: datetime) -> Occurrence:
    bound = f"above {on.above:g}" if on.above is not None else f"below {on.below:g}"
    labels = {name: value for name, value in sample.labels.items() if name != "__name__"}
    told = ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    about = f"{sample.labels.get('__name__', '')}{{{told}}} is {sample.value:g}, {bound}"
    facts = {"labels": dict(sample.labels), "value": sample.value, "since": stamp(series.since)}
    occurrence = fingerprint("metric", series.id, stamp(series.since))
    return Occurrence(occurrence, at, about, {"type": "metric", "metric": facts}, series.id)

"""TRACEPARENT of a run's pods."""

from dataclasses import replace

import pytest

from headrace_operator.decide.trace import traceparent
from headrace_operator.observe.parse import run_from
from tests.builders import a_run

UID = "6f0c4a52-3d0b-4c1f-9d58-0a4f5f0e9b11"
GIVEN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_the_trace_of_a_run_is_found_by_its_uid() -> None:
    """All attempts have the UID in common, and nothing else has it."""
    run = replace(a_run(), uid=UID)
    trace, span = traceparent(run).split("-")[1:3]
    assert trace == UID.replace("-", "")
    assert traceparent(run) == f"00-{trace}-{span}-01"
    assert traceparent(replace(run, uid=UID.replace("6f", "7f"))).split("-")[2] != span


def test_a_uid_that_is_none_makes_a_trace_all_the_same() -> None:
    """The id of a trace has 32 hexadecimal digits, whatever the UID looks like."""
    trace = traceparent(replace(a_run(), uid="x")).split("-")[1]
    assert len(trace) == 32
    assert int(trace, 16)


def test_the_annotation_of_a_run_puts_it_into_a_trace_that_is_there() -> None:
    """Whoever creates a run may have begun one."""
    assert traceparent(replace(a_run(), traceparent=GIVEN)) == GIVEN


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (GIVEN, GIVEN),
        (GIVEN.upper(), None),
        (f"{GIVEN}\n", None),
        ("00-00000000000000000000000000000000-b7ad6b7169203331-01", None),
        ("$(TOKEN)", None),
        (7, None),
    ],
)
def test_an_annotation_that_is_no_traceparent_counts_as_absent(written, read) -> None:
    """It is written by people, and goes into an environment."""
    obj = {
        "metadata": {
            "name": "etl-1",
            "namespace": "team-a",
            "uid": UID,
            "resourceVersion": "1",
            "annotations": {"headrace.dev/traceparent": written},
        },
        "spec": {"flowRef": {"name": "etl"}},
    }
    assert run_from(obj).traceparent == read

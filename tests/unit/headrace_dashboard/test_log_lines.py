"""Lines of a log, and the tasks that they tell of."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace_dashboard.pages.log_lines import Tasks, line_from, moment_of

STAMP = "2026-03-04T12:00:00.123456789Z"


def a_line(event: str, second: int, task: str | None = "load-0", **facts: Any) -> str:
    """As the node gives it."""
    named = {"task_run": task} if task else {}
    body = {
        "time": f"2026-03-04T12:00:{second:02}.000Z",
        "level": "info",
        "event": event,
        "message": event,
        **named,
        **facts,
    }
    return f"{STAMP} {json.dumps(body)}\n"


def bars(*lines: str) -> list[tuple[str, str, float | None, str]]:
    tasks = Tasks()
    for line in lines:
        tasks.take(line_from(line))
    return [
        (bar.label, bar.kind, (bar.finished - bar.started).total_seconds() if bar.finished else None, bar.note)
        for bar in tasks.bars()
    ]


def test_a_line_of_ours_is_taken_apart() -> None:
    """Its traceback comes behind its message."""
    line = line_from(a_line("task_failed", 5, exception="Traceback: x"))
    assert line.shown() == {
        "time": "12:00:05.000",
        "level": "info",
        "task": "load-0",
        "message": "task_failed\nTraceback: x",
    }
    assert line.stamp == STAMP


@pytest.mark.parametrize("text", ["plain words", "{no json", "[1]", '{"a": 1}', "", '{"event": '])
def test_any_other_line_is_shown_as_it_is(text: str) -> None:
    """Other images print what they like."""
    assert line_from(f"{STAMP} {text}\n").message == text


@pytest.mark.parametrize(
    ("stamp", "seen", "is_later"),
    [
        ("2026-03-04T12:00:00.000000002Z", "2026-03-04T12:00:00.000000001Z", True),
        ("2026-03-04T12:00:00.000000001Z", "2026-03-04T12:00:00.000000001Z", False),
        ("2026-03-04T12:00:01Z", "2026-03-04T12:00:00.9Z", True),
        ("2026-03-04T20:00:00.2+08:00", "2026-03-04T20:00:00.1+08:00", True),
        ("2026-03-04T20:00:00.1+08:00", "2026-03-04T20:00:00.1+08:00", False),
        ("2026-10-25T02:10:00+01:00", "2026-10-25T02:50:00+02:00", True),
        ("2026-10-25T02:50:00+02:00", "2026-10-25T02:10:00+01:00", False),
        ("no stamp", "2026-03-04T12:00:00Z", True),
    ],
)
def test_a_browser_that_connects_again_gets_what_is_later(stamp: str, seen: str, is_later: bool) -> None:
    """In the time zone of the node, and when its clock is put back."""
    moment = moment_of(seen)
    assert moment is not None
    assert line_from(f"{stamp} x\n").is_later_than(moment) is is_later


@pytest.mark.parametrize(
    "text", ["", "x", "2026-03-04", "2026-03-04T12:00:00", "2026-99-04T12:00:00Z", "2026-03-04T12:00:00+99:99"]
)
def test_what_a_browser_says_may_be_no_stamp(text: str) -> None:
    assert moment_of(text) is None


def test_tasks_take_as_long_as_their_lines_say() -> None:
    """From their first start to their end; one that has no end goes on."""
    told = bars(
        a_line("task_started", 1, attempt=1),
        a_line("task_started", 2, "slow-0", attempt=1),
        a_line("task_succeeded", 4),
        a_line("task_cached", 5, "cached-0"),
    )
    assert told == [
        ("load-0", "succeeded", 3.0, "succeeded"),
        ("slow-0", "running", None, ""),
        ("cached-0", "cached", 0.0, "cached"),
    ]


def test_a_task_that_is_tried_again_is_one_bar() -> None:
    """With the number of the attempt while it runs."""
    first = (a_line("task_started", 1, attempt=1), a_line("task_retrying", 2))
    assert bars(*first) == [("load-0", "retrying", None, "retrying")]
    again = (*first, a_line("task_started", 3, attempt=2))
    assert bars(*again) == [("load-0", "running", None, "attempt 2")]
    assert bars(*again, a_line("task_failed", 6)) == [("load-0", "failed", 5.0, "failed")]


def test_tasks_of_flows_within_the_flow_have_their_names() -> None:
    """Two subflows call the same task."""
    lines = [a_line("task_started", each, subflow=f"part-{each}") for each in (1, 2)]
    assert [label for label, *_ in bars(*lines)] == ["part-1/load-0", "part-2/load-0"]


@pytest.mark.parametrize("time", [None, 5, "yesterday", "2026-03-04T12:00:00"])
def test_a_line_without_a_time_tells_of_no_task(time: Any) -> None:
    """A flow may print what looks like ours."""
    assert bars(f"{STAMP} {json.dumps({'event': 'task_started', 'task_run': 'x', 'time': time})}\n") == []

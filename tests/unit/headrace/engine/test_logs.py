"""The log's two shapes."""

import json
import logging
import math
import sys

import pytest

from headrace import flow, get_run_logger, task
from headrace.engine.logs import JsonLines, Readable
from headrace.engine.session import using
from tests.unit.headrace.runs import Collected, a_session, log_of_runs


def a_record(message="loaded %d", args=(3,), **facts):
    record = logging.LogRecord("headrace.run", logging.WARNING, "x.py", 1, message, args, None)
    record.created, record.msecs = 1767225600.0419, 41.9
    record.__dict__.update(facts)
    return record


def as_json(record):
    line = JsonLines().format(record)
    assert "\n" not in line
    return json.loads(line, parse_constant=pytest.fail)


def test_a_json_line_has_its_keys_in_a_fixed_order():
    """Time, level, event, message, run, facts."""
    facts = {
        "event": "task_failed",
        "flow": "etl",
        "flow_run": "etl-1",
        "task": "load",
        "task_run": "load-0",
        "rows": 3,
    }
    line = as_json(a_record(**facts))
    assert line == {"time": "2026-01-01T00:00:00.041Z", "level": "warning", "message": "loaded 3", **facts}
    assert list(line)[:4] == ["time", "level", "event", "message"]


def test_a_line_of_another_logger_gets_the_run_it_is_written_in():
    """And the name of its logger."""
    library, handler = logging.getLogger("library"), Collected()

    @flow
    def main():
        library.warning("slow")
        return as_json(handler.records[-1])

    library.addHandler(handler)
    with using(a_session(flow_run="etl-7")):
        line = main()
    library.removeHandler(handler)
    assert {key: line[key] for key in ("event", "flow", "flow_run", "logger", "message")} == {
        "event": "log",
        "flow": "main",
        "flow_run": "etl-7",
        "logger": "library",
        "message": "slow",
    }


def test_facts_that_json_has_no_word_for_are_told_as_text():
    """A line is written whatever it carries."""
    cycle = []
    cycle.append(cycle)
    assert as_json(a_record(event="log", path=math))["path"].startswith("<module")
    for odd in (math.nan, {(1, 2): 3}, cycle):
        assert as_json(a_record(event="log", odd=odd, rows=3)) == {
            **as_json(a_record(event="log", rows=3)),
            "odd": repr(odd),
        }


def test_a_fact_cannot_stand_in_for_what_it_is_not():
    """Time, level and message are the record's own."""
    line = as_json(a_record(event="log", time="never", level="nice"))
    assert (line["time"], line["level"]) == ("2026-01-01T00:00:00.041Z", "warning")


def test_an_exception_is_told_with_its_traceback():
    """In one field of the same line."""
    try:
        int("no")
    except ValueError:
        record = a_record(event="log")
        record.exc_info = sys.exc_info()
    assert as_json(record)["exception"].endswith("int() with base 10: 'no'")
    assert Readable(colours=False).format(record).endswith("int() with base 10: 'no'")


def test_a_readable_line_names_the_task_run():
    """Or the flow run, or the logger."""
    plain = Readable(colours=False)
    assert plain.format(a_record(event="log", flow_run="etl-1", task_run="load-0")).endswith(
        ".041 warning load-0               loaded 3"
    )
    assert " etl-1 " in plain.format(a_record(event="log", flow_run="etl-1"))
    assert " headrace.run " in plain.format(a_record(event="log"))
    assert "\x1b[33mwarning\x1b[0m" in Readable(colours=True).format(a_record(event="log"))


def test_the_logger_of_authors_works_outside_of_a_run():
    """Its lines name no run."""
    with log_of_runs() as log:
        get_run_logger().info("hello", extra={"rows": 3})
    (record,) = log.records
    assert (record.event, record.rows, hasattr(record, "flow")) == ("log", 3, False)


def test_a_line_of_the_engine_carries_the_run_and_what_others_add():
    """In the same order as every line; a filter of the program, and other formatters, may write into the record."""
    with using(a_session(flow_run="etl-7")), log_of_runs() as log:

        @task(tags=["nightly"])
        def load():
            pass

        @flow(name="etl")
        def main():
            load()

        main()
    (record,) = [record for record in log.records if record.event == "task_started"]
    logging.Formatter("%(asctime)s %(message)s").format(record)
    record.host = "node-1"
    line = as_json(record)
    assert list(line) == [
        "time", "level", "event", "message", "flow", "flow_run", "task", "task_run", "tags", "attempt", "host",
    ]  # fmt: skip
    assert (line["message"], line["task_run"], line["host"]) == ("started", "load-0", "node-1")


def test_readable_lines_tell_the_time_of_each():
    """Also when many are written in one second."""
    plain, times = Readable(colours=False), []
    for created in (0.25, 0.5, 1.125):
        record = a_record(event="log")
        record.created, record.msecs = 1767225600 + created, created % 1 * 1000
        times.append(plain.format(record).split()[0])
    assert [moment[-7:] for moment in times] == [":00.250", ":00.500", ":01.125"]

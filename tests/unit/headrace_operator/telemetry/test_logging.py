"""Lines say what they are about, whoever writes them, and none that is below the level is written."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from headrace_operator.settings import Settings
from headrace_operator.telemetry.logging import AT_WORK, configure_logging


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> Iterator[StringIO]:
    """What a process at level info writes; the logging of the tests is put back afterwards."""
    root, kopf, access = (logging.getLogger(name) for name in ("", "kopf", "aiohttp.access"))
    handlers, levels = root.handlers, [logger.level for logger in (root, kopf, access)]
    written = StringIO()
    monkeypatch.setattr(sys, "stdout", written)
    configure_logging(Settings(log_format="json"))
    yield written
    structlog.reset_defaults()
    root.handlers = handlers
    for logger, level in zip((root, kopf, access), levels, strict=True):
        logger.setLevel(level)


def lines(output: StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.getvalue().splitlines()]


def test_a_line_says_what_its_pass_is_about(output: StringIO) -> None:
    """Kind, namespace and name; values that are no JSON as text."""
    AT_WORK.set(("FlowRun", "team-a", "etl-1"))
    structlog.get_logger().info("run_decided", reason="Launched", at={1})
    AT_WORK.set(None)
    structlog.get_logger().info("caches_synced")
    first, second = lines(output)
    assert first.pop("time")
    assert first == {
        "event": "run_decided",
        "level": "info",
        "kind": "FlowRun",
        "namespace": "team-a",
        "name": "etl-1",
        "flow_run": "etl-1",
        "reason": "Launched",
        "at": "{1}",
    }
    assert "kind" not in second


def test_lines_below_the_level_are_not_written(output: StringIO) -> None:
    """Neither ours nor those of libraries."""
    structlog.get_logger().debug("reconciled")
    logging.getLogger("asyncio").debug("polled")
    logging.getLogger("kopf").info("probed")
    assert output.getvalue() == ""


def test_what_libraries_say_has_the_same_shape(output: StringIO) -> None:
    """With the name of their logger."""
    logging.getLogger("asyncio").warning("slow: %s", "it was")
    (line,) = lines(output)
    assert (line["event"], line["level"], line["logger"]) == ("slow: it was", "warning", "asyncio")


def test_an_error_tells_where_it_came_from(output: StringIO) -> None:
    """The traceback is in its line."""
    try:
        int("no such pool \udc80")
    except ValueError:
        structlog.get_logger().exception("reconcile_failed")
    (line,) = lines(output)
    assert line["level"] == "error"
    assert "ValueError: invalid literal" in line["exception"]

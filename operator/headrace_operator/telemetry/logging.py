"""
Structured logs: JSON in a pod, colours on a terminal; kopf's and asyncio's records in the same shape.

Our own lines do not go through the standard library: what they carry is rendered and written as it is, at a quarter of the CPU, and a line below
the level costs a call and no more.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

from headrace_operator.settings import Settings

AT_WORK: ContextVar[tuple[str, str, str] | None] = ContextVar("at_work", default=None)
"""What the present pass is about: kind, namespace and name, which each of its lines says. Each worker has its own."""


def configure_logging(settings: Settings) -> None:
    """Send every record of this process to standard output, one line each."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stdout.isatty())
    shared: list[Any] = [
        with_work,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, *shared, *_rendering(as_json=as_json)],
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    _take_in_foreign_records(shared, level, as_json=as_json)
    # kopf tells of every probe and every request that it retries; what matters of it is a warning.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, level))
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _take_in_foreign_records(shared: list[Any], level: int, *, as_json: bool) -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendering(as_json=as_json)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)


def with_work(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The line, with what the pass is about."""
    work = AT_WORK.get()
    if work is not None:
        event["kind"], event["namespace"], event["name"] = work
        if work[0] == "FlowRun":
            event["flow_run"] = work[2]  # as the lines of its pods have it
    return event


def _rendering(*, as_json: bool) -> list[Any]:
    if not as_json:
        return [structlog.dev.ConsoleRenderer()]
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]


def _json(event: MutableMapping[str, Any], **_: object) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # text that is no Unicode, such as half of a pair of surrogates
        return json.dumps(event, default=str)

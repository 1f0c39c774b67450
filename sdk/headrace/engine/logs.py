"""
The log of runs, over the standard library's logging: JSON lines in a pod, readable lines on a terminal.

Every record of the logger `headrace.run` carries `event`, and the run that it belongs to: `flow`, `flow_run`, `task`,
`task_run`. Lines of other loggers get these when they are written from inside a run.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterable, Mapping, MutableMapping
from itertools import islice
from typing import IO, Any, Final

from headrace.engine.lines import LineHandler
from headrace.engine.scope import CURRENT, Run
from headrace.secrecy.redaction import SECRETS, redacted, redacted_json

LOGGER: Final = logging.getLogger("headrace.run")
LEVEL_ENV: Final = "HEADRACE_LOG_LEVEL"
FORMAT_ENV: Final = "HEADRACE_LOG_FORMAT"

_TEMPLATE: Final = vars(LOGGER.makeRecord(LOGGER.name, logging.INFO, "", 0, "", (), None))
_NAMES: Final = frozenset(("time", "level", "flow", "flow_run", "subflow", "parent_run", "task", "task_run"))
"""What a line is found by. It holds names that everybody may read, also where a secret, such as a user, has the same."""
_STANDARD: Final = frozenset((*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"))
_RUN_KEYS: Final = ("event", "flow", "flow_run", "subflow", "task", "task_run")
_PLACES: Final = ("run_title", "task_run", "subflow", "flow_run")
"""What a person is told of a run, the first that there is."""
_COLOURS: Final = {"debug": "2", "info": "36", "warning": "33", "error": "31", "critical": "31;1"}


class _RunRecord(logging.LogRecord):
    """Made of the template: what a line tells of the run stands behind that, in its order."""


def emit(level: int, run: Run, event: str, message: str, **facts: Any) -> None:
    """Writes one event of the engine; the caller has asked whether the level is wanted."""
    record = _record(level, message)
    record.__dict__.update({"event": event, **run.fields, **facts})
    LOGGER.handle(record)


def _record(level: int, message: str) -> logging.LogRecord:
    """A record of ours. The standard one asks for much that no line tells, such as the source file."""
    if logging.getLogRecordFactory() is not logging.LogRecord:
        return LOGGER.makeRecord(LOGGER.name, level, "", 0, message, (), None)
    record = _RunRecord.__new__(_RunRecord)
    now_s = time.time()
    record.__dict__.update(
        _TEMPLATE,
        levelno=level,
        levelname=logging.getLevelName(level),
        msg=message,
        created=now_s,
        msecs=now_s % 1 * 1000,
        relativeCreated=_TEMPLATE["relativeCreated"] + (now_s - _TEMPLATE["created"]) * 1000,
        process=os.getpid(),
        thread=threading.get_ident(),
        threadName=threading.current_thread().name,
    )
    return record


def run_logger() -> RunLogger:
    """The logger of authors."""
    prepare()
    return RunLogger(LOGGER)


class RunLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records carry the run that the caller belongs to at that moment; `extra` adds facts."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Adds the run's fields."""
        run = CURRENT.get()
        kwargs["extra"] = {"event": "log", **(run.fields if run else {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def prepare() -> None:
    """
    Gives the log a way out, if it has none: readable lines on standard error.

    A program that has set up logging itself keeps its setup.
    """
    if not LOGGER.hasHandlers():
        as_text = os.environ.get(FORMAT_ENV) != "json"
        _install(LOGGER, Readable(colours=_wants_colours(sys.stderr)) if as_text else JsonLines(), sys.stderr)


def use_json_lines() -> None:
    """Writes the records of all loggers to standard output, as JSON lines (as text if HEADRACE_LOG_FORMAT=text)."""
    as_text = os.environ.get(FORMAT_ENV) == "text"
    _install(logging.getLogger(), Readable(colours=False) if as_text else JsonLines(), sys.stdout)


def _install(logger: logging.Logger, formatter: logging.Formatter, stream: IO[str]) -> None:
    handler = LineHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    LOGGER.setLevel(_level())
    if logger is LOGGER:
        logger.propagate = False


def _level() -> str:
    asked = os.environ.get(LEVEL_ENV, "INFO").upper()
    if asked in logging.getLevelNamesMapping():
        return asked
    LOGGER.warning(
        '%s="%s" is no level; INFO is used. Known: DEBUG, INFO, WARNING, ERROR',
        LEVEL_ENV,
        asked,
        extra={"event": "log"},
    )
    return "INFO"


def _wants_colours(stream: IO[str]) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ


class JsonLines(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC, milliseconds), level, event, message, the run, facts."""

    _encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str).encode

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line; what JSON has no word for is given as text."""
        ours = {"time": self._time(record.created), "level": record.levelname.lower(), "event": "log"}
        line = {**ours, "message": "", **run_and_facts(record)}
        # A fact of one of these names must not stand in for what it is not.
        line.update(time=ours["time"], level=ours["level"], message=record.getMessage())
        try:
            text = self._encode(line)
        except (TypeError, ValueError, RecursionError):  # a fact with keys, numbers or cycles that JSON has not
            text = self._encode(
                {key: value if isinstance(value, str | int) else repr(value) for key, value in line.items()}
            )
        if not SECRETS.forms or not SECRETS.found_in(text):
            return text
        return self._encode(redacted_json(json.loads(text), keep=_NAMES.__contains__))

    def _time(self, created: float) -> str:
        second = int(created)
        if self._second[0] != second:
            self._second = (second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)))
        return f"{self._second[1]}.{int(created % 1 * 1000):03d}Z"


class Readable(logging.Formatter):
    """A line for people: time of day, level, where in the run, what."""

    def __init__(self, *, colours: bool) -> None:
        super().__init__(datefmt="%H:%M:%S")
        self._colours = colours
        self._second = (-1, "")

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, and its traceback below it."""
        known = run_and_facts(record)
        place = next((known[key] for key in _PLACES if known.get(key)), record.name)
        line = f"{self.formatTime(record)} {self._level(record)} {place:<20} {record.getMessage()}"
        return redacted(f"{line}\n{known['exception']}" if "exception" in known else line)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - logging's name
        """Local time of day with milliseconds."""
        second = int(record.created)
        if self._second[0] != second:
            self._second = (second, super().formatTime(record, datefmt or self.datefmt))
        return f"{self._second[1]}.{int(record.msecs):03d}"

    def _level(self, record: logging.LogRecord) -> str:
        word = f"{record.levelname.lower():<7}"
        colour = _COLOURS.get(record.levelname.lower())
        return f"\x1b[{colour}m{word}\x1b[0m" if self._colours and colour else word


def run_and_facts(record: logging.LogRecord) -> dict[str, Any]:
    """The run that the record belongs to, and the facts that it carries."""
    entries: Iterable[tuple[str, Any]] = record.__dict__.items()
    if type(record) is _RunRecord:
        known = {key: value for key, value in islice(entries, len(_TEMPLATE), None) if key not in _STANDARD}
    else:
        known = _sorted({key: value for key, value in entries if key not in _STANDARD}, record.name)
    if record.exc_info and "exception" not in known:
        known["exception"] = logging.Formatter().formatException(record.exc_info)
    return known


def _sorted(carried: Mapping[str, Any], logger: str) -> dict[str, Any]:
    known: dict[str, Any] = {key: carried[key] for key in _RUN_KEYS if key in carried}
    if not known:
        run = CURRENT.get()
        known = {**(run.fields if run else {}), "logger": logger}
    known.update(carried)
    return known

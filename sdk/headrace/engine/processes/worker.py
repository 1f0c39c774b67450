"""
In the process: does one errand after the other, and sends back log lines and the outcome.

It ends with its parent, however that ends: a task must not go on when nobody waits for it.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import threading
import traceback
from dataclasses import replace
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from headrace.engine import logs
from headrace.engine.description import Description
from headrace.engine.prints import printing_to_log
from headrace.engine.processes.errands import Errand, Named, Surroundings, dumped
from headrace.engine.scope import CURRENT, FlowRun, TaskRun
from headrace.engine.session import Session, using
from headrace.engine.showcase import Relayed
from headrace.engine.transitions import told
from headrace.engine.watching import flush, noting_by_lines
from headrace.secrecy.guarded import guard
from headrace.secrecy.redaction import register
from headrace.tracing.context import joined

LOG, RETURNED, RAISED, LOST = "log", "returned", "raised", "lost"
"""What a message to the parent is: a log line; the outcome: a value, an exception, or one that cannot be sent."""
FLUSH_S = 1.0
"""How long the spans of a task hold up its outcome, at most."""


def serve(connection: Connection[Any, Any]) -> None:
    """Runs errands until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which says when to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    guard(os.environ)
    logging.getLogger().addHandler(LineSender(connection))
    while True:
        try:
            parcel = connection.recv_bytes()
        except EOFError:
            return
        outcome = outcome_of(parcel)
        flush(FLUSH_S)  # the parent may kill this process as soon as it has the outcome
        connection.send_bytes(outcome)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class Taker(Protocol):
    """Whoever takes the messages, such as a connection."""

    def send_bytes(self, data: bytes, /) -> None:
        """Takes one message."""


class LineSender(logging.Handler):
    """Sends log records; what cannot be sent goes as text."""

    def __init__(self, connection: Taker) -> None:
        super().__init__()
        self._connection = connection

    def emit(self, record: logging.LogRecord) -> None:
        """As of any handler."""
        facts = logs.run_and_facts(record)
        try:
            parcel = dumped((LOG, record.levelno, record.name, record.getMessage(), facts, record.created))
        except Exception:  # noqa: BLE001 - a fact may be anything
            text = {key: str(value) for key, value in facts.items()}
            parcel = dumped((LOG, record.levelno, record.name, record.getMessage(), text, record.created))
        self._connection.send_bytes(parcel)  # under the handler's lock: one line at a time


def outcome_of(parcel: bytes) -> bytes:
    """Does the errand. Returns: the message that ends it."""
    try:
        errand: Errand = pickle.loads(parcel)  # noqa: S301 - from the parent, which runs the same code
        value = _value(errand)
    except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
        trace = traceback.format_exc()
        return _sendable_error(error, trace)
    try:
        return dumped((RETURNED, value))
    except Exception as error:  # noqa: BLE001 - what a task returns may be anything
        return dumped((LOST, f"what it returned cannot be sent back ({told(error)}); return plain data", ""))


def _sendable_error(error: BaseException, trace: str) -> bytes:
    try:
        parcel = dumped((RAISED, error, trace))
        pickle.loads(parcel)  # noqa: S301 - our own; many exceptions can be sent and not be received
    except Exception:  # noqa: BLE001 - what a task raises may be anything
        return dumped((LOST, told(error), trace))
    return parcel


def _value(errand: Errand) -> Any:
    around = errand.surroundings
    logging.getLogger().setLevel(around.levels[0])
    logs.LOGGER.setLevel(around.levels[1])
    for secret in around.secrets:
        register(secret)
    function = errand.function.found() if isinstance(errand.function, Named) else errand.function
    # The flow's process counts its calls: what is called here is part of one of them.
    session = Session(**around.session, checkpoints=False, showcase=Relayed())
    with using(session), printing_to_log(wanted=around.prints):
        token = CURRENT.set(_run(around))
        try:
            with joined(around.trace):
                return function(*errand.args, **errand.kwargs)
        finally:
            session.showcase.flush()
            CURRENT.reset(token)


def _run(around: Surroundings) -> TaskRun:
    """The run as the code in it sees it."""
    flow = Description(kind="flow", name=around.flow, function=_run, is_async=False)
    flow_run = FlowRun(flow, around.flow_run, None, 1)
    flow_run.watch = noting_by_lines(flow_run.watch)
    run = TaskRun(replace(flow, kind="task", name=around.task), around.task_run, flow_run, around.attempt)
    run.tags, run.title, run.fields = around.tags, around.title, around.fields
    return run

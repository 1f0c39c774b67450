"""In the flow's process: what another process is told of a run, and what becomes of the messages that it sends back."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from headrace.engine import logs, prints
from headrace.engine.processes.errands import Surroundings
from headrace.engine.processes.worker import RAISED, RETURNED
from headrace.engine.scope import TaskRun
from headrace.engine.session import Session, current_session
from headrace.engine.showcase import RELAY_LOGGER, artifact_from
from headrace.errors import ProcessFailed
from headrace.secrecy.redaction import SECRETS
from headrace.tracing.context import carrier

Line = tuple[str, int, str, str, Mapping[str, Any], float]
"""The word for a line, its level, logger, message and facts, and when it was written."""

LINEAGE_LOGGER = "headrace.lineage"
"""Its lines are no lines for people: they tell what a task reads and writes."""
ASKED = ("flow_run", "flow_run_uid", "flow", "namespace", "deployment", "attempt", "scheduled_time", "parameters", "concealed", "results_url", "refresh_cache", "repeats_flows")  # fmt: skip
"""What `headrace.runtime` tells of a session, and what the caching of tasks inside needs."""


def surroundings_of(run: TaskRun) -> Surroundings:
    """What the process is told of a run of this thread."""
    flow_run = run.flow_run
    session = current_session()
    return Surroundings(
        session={name: getattr(session, name) for name in ASKED} | _family(run, session),
        flow=flow_run.description.name if flow_run else "",
        flow_run=flow_run.name if flow_run else "",
        task=run.description.name,
        task_run=run.name,
        attempt=run.attempt,
        tags=run.tags,
        title=run.title,
        fields=dict(run.fields),
        prints=prints.wanted(),
        levels=(logging.getLogger().level, logs.LOGGER.getEffectiveLevel()),
        trace=carrier(),
        secrets=SECRETS.told,
    )


def _family(run: TaskRun, session: Session) -> dict[str, str]:
    """The run around a flow in a flow, and that at the top: the process does not know the flows around its task."""
    around = run.flow_run.parent if run.flow_run else None
    return {
        "parent_run": around.name if around else session.parent_run,
        "root_run": session.root_run or str(run.fields.get("flow_run", "")),
    }


def write_line(line: Line) -> None:
    """A record of the process, as if it had been written here."""
    _, level, logger, message, facts, created_s = line
    if logger == LINEAGE_LOGGER:
        from headrace.lineage.relay import note_line  # noqa: PLC0415 - few tasks tell what they touch

        note_line(facts)
        return
    if logger == RELAY_LOGGER:
        current_session().showcase.add(artifact_from(facts))
        return
    of = logging.getLogger(logger)
    record = of.makeRecord(logger, level, "", 0, message, (), None)
    record.created, record.msecs = created_s, created_s % 1 * 1000
    record.__dict__.update({"event": "log", **facts})
    of.handle(record)


def delivered(label: str, message: tuple[Any, ...]) -> Any:
    """What the task returned. Raises: what it raised; ProcessFailed: that cannot be sent."""
    if message[0] == RETURNED:
        return message[1]
    if message[0] == RAISED:
        error: BaseException = message[1]
        error.add_note(f"raised in the process of {label}:\n{message[2]}")
        raise error
    failed = ProcessFailed(label, message[1])
    if message[2]:
        failed.add_note(f"raised in the process of {label}:\n{message[2]}")
    raise failed

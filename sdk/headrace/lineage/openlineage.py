"""
Runs with lineage as events of OpenLineage, for whoever listens.

A flow run and a task run start once and end once in a process, however many attempts they take there. A flow run that
starts over in another pod, and its tasks, tell so under the same ids.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID, uuid4, uuid5

from headrace.engine.blame import traceback_text
from headrace.engine.scope import FlowRun, Run
from headrace.engine.session import Session
from headrace.lineage.events import EventType, Facts, Job, run_event
from headrace.lineage.sending import Sender, sender
from headrace.lineage.watch import Notes
from headrace.secrecy.redaction import redacted, redacted_json
from headrace.states import Cancelled, State, Succeeded

IDS: Final = UUID("6f1c2b0e-7d54-5b0a-9a55-5d4b6e0c8d11")
"""Where the ids of runs come from whose UID is none."""


class OpenLineage:
    """Tells of one flow run and its tasks: a Telling."""

    def __init__(self, to: Sender, variables: Mapping[str, str]) -> None:
        self._to = to
        self._namespace = variables.get("OPENLINEAGE_NAMESPACE", "")
        self._alone = uuid4()
        """Of a task outside a flow, each of whose attempts has another watch."""

    def started(self, run: Run, session: Session, notes: Notes) -> None:
        """As promised by Telling."""
        facts = self._facts(run, session)
        self._send(run_event("START", notes.started_at, facts, inputs=notes.inputs.values()))

    def ended(self, run: Run, session: Session, notes: Notes, state: State[Any]) -> None:
        """As promised by Telling."""
        facts = self._facts(run, session, state)
        now = datetime.fromtimestamp(session.clock.wall_s(), UTC)
        inputs, outputs = notes.inputs.values(), notes.outputs.values()
        self._send(run_event(_event_type(state), now, facts, inputs=inputs, outputs=outputs))

    def _facts(self, run: Run, session: Session, state: State[Any] | None = None) -> Facts:
        flow_run = run.flow_run
        root = _root(flow_run) if flow_run else None
        root_id = _flow_run_id(session) or (_made_up(root.name) if root else self._alone)
        flow = Job(self._namespace or session.namespace or "default", str(root.fields["flow"]) if root else "")
        is_flow = isinstance(run, FlowRun)
        name = flow.name if is_flow else ".".join(filter(None, (flow.name, run.description.name)))
        return Facts(
            run_id=str(root_id if is_flow else uuid5(root_id, run.name)),
            job=Job(flow.namespace, name),
            kind=run.description.kind,
            parent=(str(root_id), flow) if flow_run and not is_flow else None,
            nominal_time=session.scheduled_time,
            own=_own(run, session),
            description=str(getattr(run.description.decorated, "description", "") or "") if is_flow else "",
            error=_error(state),
        )

    def _send(self, event: dict[str, Any]) -> None:
        # What authors put into facets may be anything.
        text = json.dumps(event, default=str, ensure_ascii=False, separators=(",", ":"))
        self._to.send(json.dumps(redacted_json(json.loads(text))).encode())


def telling() -> OpenLineage | None:
    """Who tells the listener that the environment names; None: nobody listens."""
    to = sender()
    return OpenLineage(to, os.environ) if to else None


def _flow_run_id(session: Session) -> UUID | None:
    if not session.flow_run_uid:
        return None
    try:
        return UUID(session.flow_run_uid)
    except ValueError:
        return uuid5(IDS, session.flow_run_uid)


@lru_cache(maxsize=1024)
def _made_up(_flow_run: str) -> UUID:
    """Of a run on a laptop: the same for all its attempts, which are in this process."""
    return uuid4()


def _root(run: FlowRun) -> FlowRun:
    while run.parent:
        run = run.parent
    return run


def _event_type(state: State[Any]) -> EventType:
    if isinstance(state, Succeeded):
        return "COMPLETE"
    return "ABORT" if isinstance(state, Cancelled) else "FAIL"


def _own(run: Run, session: Session) -> dict[str, Any]:
    told = {
        "flowRun": run.flow_run.name if run.flow_run else "",
        "taskRun": "" if isinstance(run, FlowRun) else run.name,
        "attempt": run.attempt,
        "deployment": session.deployment,
        "namespace": session.namespace,
        "tags": list(run.tags),
    }
    return {name: value for name, value in told.items() if value}


def _error(state: State[Any] | None) -> tuple[str, str] | None:
    error = getattr(state, "exception", None)
    if state is None or error is None or isinstance(state, Cancelled):
        return None
    return redacted(state.message), traceback_text(error)

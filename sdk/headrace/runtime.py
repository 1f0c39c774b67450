"""
What the running code may ask about its run: `runtime.flow_run.name`, `runtime.task_run.attempt`.

Outside of a run, names are empty, attempts are 0, and times are None.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from headrace.engine.scope import FlowRun, TaskRun
    from headrace.engine.session import Session


class _FlowRun:
    """The flow run that the caller belongs to."""

    @property
    def name(self) -> str:
        """Name of the FlowRun; on a laptop one made up, such as "etl-3f9c21". Of a flow in a flow: such as "load-0"."""
        run = _current_flow_run()
        return run.name if run else ""

    @property
    def parent(self) -> str:
        """Name of the run around a flow in a flow, or of the FlowRun whose flow started this one; empty: there is none."""
        run = _current_flow_run()
        return run.parent.name if run and run.parent else _session().parent_run

    @property
    def root(self) -> str:
        """Name of the FlowRun at the top: this one, or the one from which it comes through others."""
        run = _current_flow_run()
        return _session().root_run or (str(run.fields["flow_run"]) if run else "")

    @property
    def title(self) -> str:
        """What people call the run: as flow_run_name says, else its name."""
        run = _current_flow_run()
        return run.title if run else ""

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that the run is marked with."""
        run = _current_flow_run()
        return run.tags if run else ()

    @property
    def flow_name(self) -> str:
        """Name of the flow: in a pod that of its Flow, on a laptop as its decorator gave it."""
        run = _current_flow_run()
        return str(run.fields["flow"]) if run else ""

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        run = _current_flow_run()
        return run.attempt if run else 0

    @property
    def id(self) -> str:
        """UID of the FlowRun; empty on a laptop."""
        return _session().flow_run_uid

    @property
    def namespace(self) -> str:
        """Namespace of the FlowRun; empty on a laptop."""
        return _session().namespace

    @property
    def deployment(self) -> str:
        """Name of the Deployment; empty on a laptop, and for a run of a bare Flow."""
        return _session().deployment

    @property
    def scheduled_time(self) -> datetime | None:
        """The time that the run stands for, aware; None for a run without a schedule."""
        return _session().scheduled_time

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters as the pod or the command line got them; empty for an ordinary call."""
        session = _session()
        return {**session.parameters, **session.concealed} if session.concealed else session.parameters


class _TaskRun:
    """The task run that the caller belongs to."""

    @property
    def name(self) -> str:
        """Of the task run, such as "extract-0"."""
        run = _current_task_run()
        return run.name if run else ""

    @property
    def title(self) -> str:
        """What people call the run: as task_run_name says, else its name."""
        run = _current_task_run()
        return run.title if run else ""

    @property
    def tags(self) -> tuple[str, ...]:
        """The words that the run is marked with, those of its flow included."""
        run = _current_task_run()
        return run.tags if run else ()

    @property
    def task_name(self) -> str:
        """Name of the task, as its decorator gave it."""
        run = _current_task_run()
        return run.description.name if run else ""

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        run = _current_task_run()
        return run.attempt if run else 0


flow_run = _FlowRun()
task_run = _TaskRun()


def _session() -> Session:
    from headrace.engine.session import current_session  # noqa: PLC0415 - the engine is loaded by the first call

    return current_session()


def _current_flow_run() -> FlowRun | None:
    from headrace.engine.scope import current_flow_run  # noqa: PLC0415 - as above

    return current_flow_run()


def _current_task_run() -> TaskRun | None:
    from headrace.engine.scope import CURRENT, TaskRun  # noqa: PLC0415 - as above

    run = CURRENT.get()
    return run if isinstance(run, TaskRun) else None

"""
Records what runs read and write, while they go: in the log, in the run's ledger, and as events for others.

Reading counts from when it begins, writing when the task that wrote has succeeded. What a flow reads and writes outside
its tasks counts for the flow run, and so does what its subflows do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from headrace.engine import logs
from headrace.engine.reporting import shown_as
from headrace.engine.scope import FlowRun, Run, TaskRun
from headrace.engine.session import Session, current_session
from headrace.engine.transitions import told
from headrace.engine.watching import Noting, with_lineage
from headrace.lineage.datasets import Dataset, Direction
from headrace.secrecy.redaction import redacted
from headrace.states import Retrying, State, Succeeded

WORDS: dict[Direction, str] = {"inputs": "read", "outputs": "written"}


@dataclass(slots=True)
class Notes:
    """Of one task run, over all its attempts, or of one attempt of a flow run."""

    started_at: datetime
    inputs: dict[Dataset, Dataset] = field(default_factory=dict)
    outputs: dict[Dataset, Dataset] = field(default_factory=dict)
    announced: bool = False
    """Whether others were told that it has started."""

    def add(self, direction: Direction, dataset: Dataset) -> bool:
        """Keeps it, with its latest facets. Whether it is new."""
        kept: dict[Dataset, Dataset] = getattr(self, direction)
        before = kept.pop(dataset, None)
        kept[dataset] = dataset.with_facets({**before.facets, **dataset.facets}) if before else dataset
        return before is None


class Telling(Protocol):
    """Tells others of a run with lineage. It must not wait for anything."""

    def started(self, run: Run, session: Session, notes: Notes) -> None: ...

    def ended(self, run: Run, session: Session, notes: Notes, state: State[Any]) -> None: ...


class LineageWatch:
    """A Watch. `telling` is None where only the log and the ledger want to know."""

    def __init__(self, telling: Telling | None) -> None:
        self._telling = telling
        self._notes: dict[object, Notes] = {}

    def began(self, run: Run) -> None:
        """As promised by Watch."""
        notes = self._of(run)
        declared = run.description.datasets
        if declared is not None:
            self._declared(run, "inputs", declared.inputs)
            self._declared(run, "outputs", declared.outputs)
        if declared is not None or _is_root(run):
            self._announce(run, notes)

    @contextmanager
    def inside(self, run: Run) -> Iterator[None]:  # noqa: ARG002 - Watch's name
        """As promised by Watch: there is nothing to put around the function."""
        yield

    def ended(self, run: Run, state: State[Any]) -> None:
        """As promised by Watch."""
        if isinstance(run, TaskRun) and run.flow_run and isinstance(state, Retrying):
            if notes := self._notes.get(_key(run)):
                notes.outputs.clear()
            return
        notes = self._notes.pop(_key(run), None)
        if notes is None:
            return
        if isinstance(state, Succeeded):
            for dataset in notes.outputs.values():
                _record(run, "outputs", dataset)
        else:
            notes.outputs.clear()
        if isinstance(run, FlowRun) and run.parent:
            self._pass_on(notes, run.parent)
        elif self._telling and notes.announced and (shown_as(run, state).final or not run.flow_run):
            self._telling.ended(run, _session(run), notes, state)

    def noted(self, run: Run, direction: Direction, dataset: Dataset) -> None:
        """What the code of a run tells while it goes."""
        notes = self._of(run)
        if notes.add(direction, dataset) and direction == "inputs":
            _record(run, direction, dataset)
        if isinstance(run, TaskRun):
            self._announce(run, notes)

    def _declared(
        self, run: Run, direction: Direction, datasets: Callable[[Mapping[str, Any]], Iterable[Dataset]]
    ) -> None:
        try:
            for dataset in datasets(run.parameters):
                self.noted(run, direction, dataset)
        except Exception as error:  # noqa: BLE001 - the author's function and parameters may raise anything
            option = "reads" if direction == "inputs" else "writes"
            message = f"what it {option} is not known: {told(error)}"
            logs.emit(logging.WARNING, run, "lineage_failed", message)

    def _announce(self, run: Run, notes: Notes) -> None:
        if self._telling and not notes.announced:
            notes.announced = True
            if not isinstance(run, FlowRun) or run.attempt == run.session.attempt:  # the first one in this process
                self._telling.started(run, _session(run), notes)

    def _of(self, run: Run) -> Notes:
        key = _key(run)
        found = self._notes.get(key)
        if found is None:
            found = self._notes.setdefault(key, Notes(datetime.fromtimestamp(current_session().clock.wall_s(), UTC)))
        return found

    def _pass_on(self, notes: Notes, parent: FlowRun) -> None:
        above = self._of(parent)
        for dataset in notes.inputs.values():
            above.add("inputs", dataset)
        for dataset in notes.outputs.values():
            above.add("outputs", dataset)


def lineage_watch() -> LineageWatch:
    """One that tells whoever listens at OPENLINEAGE_URL."""
    from headrace.lineage.openlineage import telling  # noqa: PLC0415 - for those who have such a listener

    return LineageWatch(telling())


def lineage_of(run: Run) -> Noting:
    """What notes the datasets of this run; from now on it watches the run, and further attempts of it too."""
    watch = run.watch = with_lineage(run.watch)
    if isinstance(run, TaskRun) and run.flow_run and run.flow_run.watch is not watch:
        run.flow_run.watch = watch
    assert watch.lineage is not None
    return watch.lineage


def _record(run: Run, direction: Direction, dataset: Dataset) -> None:
    text = redacted(str(dataset))
    _session(run).ledger.note(direction, text)
    word = WORDS[direction]
    if logs.LOGGER.isEnabledFor(logging.INFO):
        logs.emit(
            logging.INFO, run, f"lineage_{word}", f"{'reads' if word == 'read' else 'has written'} {text}", dataset=text
        )


def _session(run: Run) -> Session:
    return run.flow_run.session if run.flow_run else current_session()


def _is_root(run: Run) -> bool:
    return isinstance(run, FlowRun) and run.parent is None


def _key(run: Run) -> object:
    """The same for all attempts of a task run in a flow."""
    return (run.flow_run, run.name) if isinstance(run, TaskRun) and run.flow_run else run

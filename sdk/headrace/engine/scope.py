"""The runs under way: which flow run and task run the code that asks belongs to."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from contextvars import ContextVar
from itertools import count
from typing import Any

from headrace.engine.description import Description
from headrace.engine.session import Session, Tally, current_session
from headrace.engine.tags import TAGS
from headrace.engine.watching import Watches, watch_asked_for, with_lineage
from headrace.engine.workers import Workers
from headrace.errors import RunPaused

Arguments = tuple[tuple[Any, ...], Mapping[str, Any]]
NO_ARGUMENTS: Arguments = ((), {})


class _Attempt:
    """What an attempt of a flow run and one of a task run have in common."""

    __slots__ = ("arguments", "attempt", "depth", "description", "fields", "name", "tags", "title", "watch")

    def __init__(self, description: Description, name: str, parent: FlowRun | None, attempt: int) -> None:
        self.description = description
        self.name = name
        """Of the flow run, or of the task run in it, such as "extract-0"."""
        self.title = name
        """What people call it: its name, or what the option task_run_name or flow_run_name makes of its parameters."""
        self.attempt = attempt
        self.arguments = NO_ARGUMENTS
        inside = CURRENT.get()
        self.depth: int = inside.depth + 1 if inside else 1
        """How many runs there are inside each other, this one included."""
        self.fields: Mapping[str, Any] = {}
        """What its log lines say of it."""
        around: tuple[str, ...] = parent.tags if parent else ()
        tags = (*around, *TAGS.get(), *description.tags)
        self.tags: tuple[str, ...] = tuple(dict.fromkeys(tags)) if tags else tags
        self.watch: Watches | None = parent.watch if parent else watch_asked_for(description.name)
        if description.datasets is not None:
            self.watch = with_lineage(self.watch)
            if parent:  # so that further attempts are watched by the same
                parent.watch = self.watch

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The arguments by the names of the parameters, defaults included; empty if they do not fit."""
        try:
            bound = inspect.signature(self.description.function).bind(*self.arguments[0], **self.arguments[1])
        except TypeError:
            return {}
        bound.apply_defaults()
        return bound.arguments

    def _told(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "tags": list(self.tags)} if self.tags else fields


class FlowRun(_Attempt):
    """One attempt of a flow run."""

    __slots__ = (
        "around",
        "numbers",
        "parent",
        "paused",
        "pauses",
        "session",
        "shelf",
        "tally",
        "top",
        "transactions",
        "unawaited",
        "workers",
    )

    def __init__(self, description: Description, name: str, parent: FlowRun | None, attempt: int) -> None:
        super().__init__(description, name, parent, attempt)
        self.parent = parent
        self.session: Session = current_session()
        self.attempt = attempt if parent else self.session.attempt + attempt - 1
        self.tally: Tally = self.session.tally
        self.unawaited: list[Description] = []
        """Those with `async def` that were called and thrown away."""
        self.workers = Workers(description.runner)
        # In a pod, people know the flow by the name of its resource.
        known_as = description.name if parent else self.session.flow or description.name
        self.around: dict[str, Any] = {"flow": known_as, "flow_run": parent.top.name if parent else name}
        """What the log lines of its tasks say of it."""
        if parent:
            self.around["subflow"] = name
        self.fields = self._told({**self.around, "parent_run": parent.name} if parent else self.around)
        # Flows inside a flow number their tasks on: a name means one task run.
        self.numbers: dict[str, count[int]] = parent.numbers if parent else {}
        self.top: FlowRun = parent.top if parent else self
        """The outermost flow run around it."""
        self.pauses: dict[str, frozenset[str]] = parent.pauses if parent else {}
        """Names of the pauses so far, in flows inside of it too, and of the flow runs around each."""
        if attempt > 1 and self.pauses:  # it comes by them again, and their answers count
            for each in [each for each, around in self.pauses.items() if name in around]:
                del self.pauses[each]
        self.paused: RunPaused | None = None
        """Of the outermost one: what it is about to end by."""
        self.shelf: Any = None
        """Of the outermost one: where results of its tasks are kept, once one is."""
        self.transactions: dict[str, int] = {}
        """How many blocks of each kind there were so far."""

    @property
    def flow_run(self) -> FlowRun:
        """Itself: the nearest flow run."""
        return self

    def next_task_run(self, task: str) -> str:
        """The next of "extract-0", "extract-1", …: unique in the flow run, in the order of the calls."""
        numbers = self.numbers.get(task)
        if numbers is None:
            numbers = self.numbers.setdefault(task, count())
        return f"{task}-{next(numbers)}"


class TaskRun(_Attempt):
    """One attempt of a task run. `flow_run` is None for a task that was called outside a flow."""

    __slots__ = ("flow_run",)

    def __init__(self, description: Description, name: str, flow_run: FlowRun | None, attempt: int) -> None:
        super().__init__(description, name, flow_run, attempt)
        self.flow_run = flow_run
        around = flow_run.around if flow_run else {}
        self.fields = self._told({**around, "task": description.name, "task_run": name})


Run = FlowRun | TaskRun

CURRENT: ContextVar[Run | None] = ContextVar("headrace_run", default=None)
"""The innermost run that the running code belongs to."""


def current_flow_run() -> FlowRun | None:
    """The innermost flow run around the running code."""
    run = CURRENT.get()
    return run.flow_run if run else None


def flow_run_name(description: Description, parent: FlowRun | None) -> str:
    """The name of a new flow run: in another one, one such as "load-0", else the session's, or one made up."""
    if parent:
        return parent.next_task_run(description.name)
    # What is kept of a run is found by its name: a run on a laptop must never get that of an earlier one.
    return current_session().flow_run or f"{description.name}-{os.urandom(6).hex()}"

"""What the engine is told about a function, and nothing about how that was written down."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from headrace.engine.hooks import NO_HOOKS, Hooks
from headrace.engine.pods import Pod
from headrace.engine.retries import NO_RETRIES, Retries
from headrace.engine.runners import THREADS, Runner

if TYPE_CHECKING:
    from headrace.engine.keeping.policies import Keeping
    from headrace.lineage.declared import Declared

Title = str | Callable[[Mapping[str, Any]], str]
"""A text with {parameters}, or a function of them."""


@dataclass(frozen=True, slots=True)
class Description:
    """A function to run as a flow or a task, and the rules for its attempts."""

    kind: Literal["flow", "task"]
    name: str
    function: Callable[..., Any]
    is_async: bool
    retries: Retries = NO_RETRIES
    timeout_s: float | None = None
    """Per attempt. None: no bound."""
    log_prints: bool | None = None
    """Whether print() becomes a log line. None: as in the flow around it; without one, no."""
    pod: Pod | None = None
    """The pod of its own that a task asks for. None: it runs where it is called."""
    runner: Runner = THREADS
    """Where the submitted tasks of a flow run."""
    hooks: Hooks = NO_HOOKS
    title: Title | None = None
    """What a run is called, made from its parameters. None: as the run is named."""
    tags: tuple[str, ...] = ()
    datasets: Declared | None = None
    """What a task says that it reads and writes. None: nothing."""
    keeping: Keeping | None = None
    """What a task says of the keeping of its results. None: nothing."""
    decorated: Any = field(default=None, compare=False, repr=False)
    """The Flow or Task that it describes, as hooks get it."""

"""What the engine is told about a function, and nothing about how that was written down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from headrace.engine.pods import Pod
from headrace.engine.retries import NO_RETRIES, Retries


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

"""What an author wants to be called at the turns of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from headrace.states import Cancelled, Crashed, Failed, Retrying, State, Succeeded

Hook = Callable[[Any, Any, State[Any]], Any]
"""Called with the Flow or Task, its run, and the state that the run is in."""

TransactionHook = Callable[[Any], Any]
"""Called with the Transaction of a task, when what it has done is committed or rolled back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Hooks by the state that a run comes into; called in their order."""

    on_running: tuple[Hook, ...] = ()
    on_retry: tuple[Hook, ...] = ()
    on_success: tuple[Hook, ...] = ()
    on_failure: tuple[Hook, ...] = ()
    on_cancellation: tuple[Hook, ...] = ()
    on_crash: tuple[Hook, ...] = ()
    on_commit: tuple[TransactionHook, ...] = ()
    on_rollback: tuple[TransactionHook, ...] = ()

    def after(self, state: type[State[Any]]) -> tuple[Hook, ...]:
        """Those for the state after an attempt; a pause has none, as the run has not ended."""
        found: tuple[Hook, ...] = getattr(self, AFTER[state]) if state in AFTER else ()
        return found


NO_HOOKS: Final = Hooks()
AFTER: Final[dict[type[State[Any]], str]] = {
    Succeeded: "on_success",
    Retrying: "on_retry",
    Failed: "on_failure",
    Crashed: "on_crash",
    Cancelled: "on_cancellation",
}

"""
The states of a flow or task run, as values.

    Pending ─▶ Running ─▶ Succeeded | Failed | Crashed | Cancelled     (final)
                 ▲  │
                 │  ├──▶ Retrying      an attempt failed, the next one is due
                 │  └──▶ Paused        waits for a person
                 └──────┘

A final state holds what came of the run: `state.result()` returns it or raises it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

from headrace.errors import UsageError

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Generic[R_co]):
    """Base of the states; `message` is for people."""

    final: ClassVar[bool] = False

    message: str = ""

    def is_final(self) -> bool:
        """Whether a run never leaves this state."""
        return self.final

    @property
    def name(self) -> str:
        """The state in one word, as in a FlowRun's status.phase."""
        return type(self).__name__

    def result(self) -> R_co:
        """
        What the function returned.

        Raises: the exception that ended the run; UsageError: the run has not ended.
        """
        raise unfinished(self)


def unfinished(state: State[Any]) -> UsageError:
    """What to say to whoever asks a run that has not ended for its result."""
    return UsageError(f"state {state.name} holds no result yet; ask a final state, such as that of a future's wait()")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending(State[Any]):
    """Not started yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running(State[Any]):
    """The function runs, for the `attempt`-th time."""

    attempt: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying(State[Any]):
    """The `attempt`-th attempt ended by `exception`; the next one starts after `delay_s` seconds."""

    exception: BaseException
    attempt: int
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused(State[Any]):
    """Waits for a person or a time; `exception` is what ended the attempt, None while none has."""

    exception: BaseException | None = None

    def result(self) -> Any:
        """Raises what ended the attempt: a run around it pauses too."""
        if self.exception is None:
            raise unfinished(self)
        raise self.exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded(State[R_co]):
    """The function returned `data`."""

    final: ClassVar[bool] = True

    data: R_co

    def result(self) -> R_co:
        """What the function returned."""
        return self.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended(State[Any]):
    """Base of the final states without a result: `exception` ended the run, its last attempt was the `attempt`-th."""

    final: ClassVar[bool] = True

    exception: BaseException
    attempt: int = 1

    def result(self) -> Any:
        """Raises the exception that ended the run."""
        raise self.exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Ended):
    """The function raised, or took too long, and no attempt is left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed(Ended):
    """Something other than the function's own code ended the run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancelled(Ended):
    """The run was told to stop."""

"""What deciding may ask for: frozen data that `apply/` carries out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from headrace_operator.decide.snapshot import RunStatus, Turn


@dataclass(frozen=True, slots=True)
class LaunchPod:
    """Take the slots that the run was given, then create the pod of this attempt; that it exists already is success."""

    attempt: int
    turn: Turn = field(default_factory=Turn)


@dataclass(frozen=True, slots=True)
class DeletePod:
    """
    Ask for the pod's end: SIGTERM, then SIGKILL after its grace period.

    Args:
        version: Only while the pod is as it was seen; None: whatever became of it.
    """

    name: str
    uid: str
    version: int | None = None


@dataclass(frozen=True, slots=True)
class ReleasePod:
    """Take our finalizer off: the outcome is written, the pod may go."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """A Kubernetes Event on the object in question; `warning` is its type."""

    reason: str
    message: str
    warning: bool = False


Action = LaunchPod | DeletePod | ReleasePod | RecordEvent


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What to do about one FlowRun, and why.

    Args:
        reason: Of this pass, for the log and the metrics; doing nothing has one too.
        actions: Carried out first, in order.
        status: Written then, once; None leaves it.
        afterwards: Carried out when the status is written: what would lose the outcome if it came before.
        look_again_at: When time alone changes the answer; None if only events do.
        asks: Nothing but its turn holds the run back; it is to ask for it.
    """

    reason: str
    actions: tuple[Action, ...] = ()
    status: RunStatus | None = None
    afterwards: tuple[Action, ...] = ()
    look_again_at: datetime | None = None
    asks: bool = False

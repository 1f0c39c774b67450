"""What deciding may ask for: frozen data that `apply/` carries out."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import NewType

from headrace.api.conditions import EventReason, Reason
from headrace_operator.decide.snapshot import RunStatus, Turn

GivenReason = NewType("GivenReason", str)
"""A word that people chose: an Automation's Event has it."""


class PassReason(StrEnum):
    """Why a pass over a run did what it did, where no status says so: for the log alone."""

    NOTHING_TO_DO = "NothingToDo"
    RUN_DELETED = "RunDeleted"
    ALREADY_FINISHED = "AlreadyFinished"
    OUTCOME_ALREADY_WRITTEN = "OutcomeAlreadyWritten"
    POD_IS_ENDING = "PodIsEnding"
    POD_STARTING = "PodStarting"
    POD_UNSEEN = "PodUnseen"
    HISTORY_NOT_READ = "HistoryNotRead"
    BACKING_OFF = "BackingOff"
    EARLIER_POD_IS_LIVE = "EarlierPodIsLive"
    ASKS_FOR_ITS_TURN = "AsksForItsTurn"
    LAUNCHED = "Launched"


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

    reason: Reason | EventReason | GivenReason
    message: str
    warning: bool = False


Action = LaunchPod | DeletePod | ReleasePod | RecordEvent


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What to do about one FlowRun, and why.

    Args:
        reason: Of this pass, for the log; doing nothing has one too.
        actions: Carried out first, in order.
        status: Written then, once; None leaves it.
        afterwards: Carried out when the status is written: what would lose the outcome if it came before.
        look_again_at: When time alone changes the answer; None if only events do.
        asks: Nothing but its turn holds the run back; it is to ask for it.
    """

    reason: Reason | PassReason
    actions: tuple[Action, ...] = ()
    status: RunStatus | None = None
    afterwards: tuple[Action, ...] = ()
    look_again_at: datetime | None = None
    asks: bool = False

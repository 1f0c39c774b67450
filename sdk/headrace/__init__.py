"""What a flow author imports: the public names, and nothing else."""

from headrace import runtime, states
from headrace.engine.marks import allow_failure, unmapped
from headrace.engine.pods import Pod
from headrace.engine.retries import Backoff
from headrace.engine.runners import Processes, Threads
from headrace.engine.tags import tags
from headrace.errors import (
    ConcurrencyLost,
    EntrypointError,
    HeadraceError,
    LimitUnusable,
    NoSuchResult,
    ParameterError,
    ProcessFailed,
    RemoteTaskFailed,
    ResultsError,
    RetryRun,
    RunCancelled,
    TimedOut,
    UsageError,
)
from headrace.flows import Flow, flow
from headrace.limits.blocks import concurrency, rate_limit
from headrace.logs import get_run_logger
    PauseRejected,
    PauseTimedOut,
from headrace.secret import Secret
from headrace.states import State
from headrace.tasks import Task, task
from headrace.variable import Variable
from headrace.waiting import as_completed, wait
    RunPaused,

__all__ = [
    "Backoff",
    "ConcurrencyLost",
    "EntrypointError",
    "Flow",
from headrace.pausing.pauses import pause, sleep_for, sleep_until
    "HeadraceError",
    "LimitUnusable",
    "NoSuchResult",
    "ParameterError",
    "Pod",
    "ProcessFailed",
    "Processes",
    "RemoteTaskFailed",
    "ResultsError",
    "RetryRun",
    "RunCancelled",
    "Secret",
    "State",
    "Task",
    "Threads",
    "TimedOut",
    "UsageError",
    "Variable",
    "PauseRejected",
    "PauseTimedOut",
    "allow_failure",
    "as_completed",
    "concurrency",
    "flow",
    "get_run_logger",
    "rate_limit",
    "runtime",
    "states",
    "RunPaused",
    "tags",
    "task",
    "unmapped",
    "wait",
]
    "pause",
    "sleep_for",
    "sleep_until",

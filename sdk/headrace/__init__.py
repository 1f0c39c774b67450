"""What a flow author imports: the public names, and nothing else."""

from headrace import runtime, states
from headrace.engine.retries import Backoff
from headrace.errors import (
    EntrypointError,
    HeadraceError,
    ParameterError,
    RetryRun,
    RunCancelled,
    TimedOut,
    UsageError,
)
from headrace.flows import Flow, flow
from headrace.logs import get_run_logger
from headrace.states import State
from headrace.tasks import Task, task

__all__ = [
    "Backoff",
    "EntrypointError",
    "Flow",
    "HeadraceError",
    "ParameterError",
    "RetryRun",
    "RunCancelled",
    "State",
    "Task",
    "TimedOut",
    "UsageError",
    "flow",
    "get_run_logger",
    "runtime",
    "states",
    "task",
]

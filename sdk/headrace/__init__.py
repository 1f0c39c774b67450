"""
What a flow author imports: the public names, and nothing else.

    from headrace import flow, task

    @task(retries=3)
    def extract(day): ...

    @flow
    def etl(day): return extract(day)

Flows and tasks: flow, task, Backoff, Pod, tags, allow_failure, unmapped, wait, as_completed, transaction
Where tasks run: Threads, Processes, Dask, Ray
Around a run: get_run_logger, runtime, states, Secret, Variable, concurrency, rate_limit, create_…_artifact, emit_event
Waiting for others: run_deployment, pause, sleep_until, sleep_for
"""

from headrace import runtime, states
from headrace.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from headrace.deployments.calls import run_deployment
from headrace.deployments.run import DeploymentRun
from headrace.engine.marks import allow_failure, unmapped
from headrace.engine.pods import Pod
from headrace.engine.retries import Backoff
from headrace.engine.runners import Dask, Processes, Ray, Threads
from headrace.engine.tags import tags
from headrace.errors import (
    ConcurrencyLost,
    DeploymentRunFailed,
    EntrypointError,
    HeadraceError,
    LimitUnusable,
    NoSuchResult,
    ParameterError,
    PauseRejected,
    PauseTimedOut,
    ProcessFailed,
    RemoteTaskFailed,
    ResultsError,
    RetryRun,
    RunCancelled,
    RunPaused,
    TimedOut,
    UsageError,
)
from headrace.events.emitting import emit_event
from headrace.flows import Flow, flow
from headrace.limits.blocks import concurrency, rate_limit
from headrace.logs import get_run_logger
from headrace.mounts.secret import Secret
from headrace.mounts.variable import Variable
from headrace.pausing.pauses import pause, sleep_for, sleep_until
from headrace.states import State
from headrace.tasks import Task, task
from headrace.transactions import Transaction, get_transaction, transaction
from headrace.waiting import as_completed, wait

__all__ = [
    "Backoff",
    "ConcurrencyLost",
    "Dask",
    "DeploymentRun",
    "DeploymentRunFailed",
    "EntrypointError",
    "Flow",
    "HeadraceError",
    "LimitUnusable",
    "NoSuchResult",
    "ParameterError",
    "PauseRejected",
    "PauseTimedOut",
    "Pod",
    "ProcessFailed",
    "Processes",
    "Ray",
    "RemoteTaskFailed",
    "ResultsError",
    "RetryRun",
    "RunCancelled",
    "RunPaused",
    "Secret",
    "State",
    "Task",
    "Threads",
    "TimedOut",
    "Transaction",
    "UsageError",
    "Variable",
    "allow_failure",
    "as_completed",
    "concurrency",
    "create_image_artifact",
    "create_link_artifact",
    "create_markdown_artifact",
    "create_progress_artifact",
    "create_table_artifact",
    "emit_event",
    "flow",
    "get_run_logger",
    "get_transaction",
    "pause",
    "rate_limit",
    "run_deployment",
    "runtime",
    "sleep_for",
    "sleep_until",
    "states",
    "tags",
    "task",
    "transaction",
    "unmapped",
    "update_progress_artifact",
    "wait",
]

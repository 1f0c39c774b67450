"""What Prefect's names and options are called here, and what to do about those that have no counterpart."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import headrace
import headrace.caching
from headrace.options import FlowOptions, TaskOptions

_ARTIFACTS: Final = (
    *(f"create_{kind}_artifact" for kind in ("markdown", "table", "link", "image", "progress")),
    "update_progress_artifact",
)
RUNNERS: Final[Mapping[str, str]] = {
    "prefect.task_runners.ThreadPoolTaskRunner": "headrace.Threads",
    "prefect.task_runners.ProcessPoolTaskRunner": "headrace.Processes",
    **dict.fromkeys(("prefect_dask.DaskTaskRunner", "prefect_dask.task_runners.DaskTaskRunner"), "headrace.Dask"),
    **dict.fromkeys(("prefect_ray.RayTaskRunner", "prefect_ray.task_runners.RayTaskRunner"), "headrace.Ray"),
}
RUNNER_TAKES: Final[Mapping[str, tuple[frozenset[str], ...]]] = {
    "headrace.Threads": (frozenset({"max_workers"}),),
    "headrace.Processes": (frozenset(), frozenset({"max_workers"})),
    **dict.fromkeys(("headrace.Dask", "headrace.Ray"), (frozenset({"address"}),)),
}
"""With which arguments a runner means the same. Without an address, Prefect's start a Dask or Ray cluster of their own."""
SYMBOLS: Final[Mapping[str, str]] = {
    **RUNNERS,
    "prefect": "headrace",
    **dict.fromkeys(("prefect.flow", "prefect.flows.flow"), "headrace.flow"),
    **dict.fromkeys(("prefect.task", "prefect.tasks.task"), "headrace.task"),
    **dict.fromkeys(("prefect.Flow", "prefect.flows.Flow"), "headrace.Flow"),
    **dict.fromkeys(("prefect.Task", "prefect.tasks.Task"), "headrace.Task"),
    **dict.fromkeys(
        ("prefect.get_run_logger", "prefect.logging.get_run_logger", "prefect.logging.loggers.get_run_logger"),
        "headrace.get_run_logger",
    ),
    **dict.fromkeys(("prefect.unmapped", "prefect.utilities.annotations.unmapped"), "headrace.unmapped"),
    **dict.fromkeys(("prefect.allow_failure", "prefect.utilities.annotations.allow_failure"), "headrace.allow_failure"),
    **dict.fromkeys(("prefect.tags", "prefect.context.tags"), "headrace.tags"),
    **dict.fromkeys(("prefect.State", "prefect.states.State", "prefect.client.schemas.State"), "headrace.State"),
    "prefect.client.schemas.objects.State": "headrace.State",
    "prefect.states": "headrace.states",
    "prefect.tasks.exponential_backoff": "headrace.Backoff",
    "prefect.futures.wait": "headrace.wait",
    "prefect.futures.as_completed": "headrace.as_completed",
    "prefect.concurrency.sync.concurrency": "headrace.concurrency",
    "prefect.concurrency.asyncio.concurrency": "headrace.concurrency",
    "prefect.concurrency.sync.rate_limit": "headrace.rate_limit",
    "prefect.concurrency.asyncio.rate_limit": "headrace.rate_limit",
    "prefect.cache_policies": "headrace.caching",
    **{f"prefect.cache_policies.{name}": f"headrace.caching.{name}" for name in headrace.caching.__all__},
    "prefect.tasks.task_input_hash": "headrace.caching.task_input_hash",
    "prefect.blocks.system.Secret": "headrace.Secret",
    "prefect.blocks.system.Secret.load": "headrace.Secret.load",
    "prefect.variables.Variable": "headrace.Variable",
    "prefect.variables.Variable.get": "headrace.Variable.get",
    **{f"prefect.artifacts.{name}": f"headrace.{name}" for name in _ARTIFACTS},
    **dict.fromkeys(
        [f"prefect.{at}{what}_flow_run" for at in ("", "flow_runs.") for what in ("pause", "suspend")], "headrace.pause"
    ),
    "prefect.exceptions.FlowPauseTimeout": "headrace.PauseTimedOut",
    **dict.fromkeys(
        ("prefect.deployments.run_deployment", "prefect.deployments.flow_runs.run_deployment"),
        "headrace.run_deployment",
    ),
    **dict.fromkeys(("prefect.events.emit_event", "prefect.events.utilities.emit_event"), "headrace.emit_event"),
    **dict.fromkeys(("prefect.transactions.transaction", "prefect.transactions.atransaction"), "headrace.transaction"),
    "prefect.transactions.get_transaction": "headrace.get_transaction",
    **dict.fromkeys(
        ("prefect.transactions.Transaction", "prefect.transactions.AsyncTransaction"), "headrace.Transaction"
    ),
    "prefect.runtime.flow_run.parent_flow_run_id": "headrace.runtime.flow_run.parent",
    "prefect.runtime.flow_run.root_flow_run_id": "headrace.runtime.flow_run.root",
    "prefect.runtime": "headrace.runtime",
    "prefect.runtime.flow_run": "headrace.runtime.flow_run",
    "prefect.runtime.task_run": "headrace.runtime.task_run",
    "prefect.runtime.flow_run.scheduled_start_time": "headrace.runtime.flow_run.scheduled_time",
    "prefect.runtime.flow_run.run_count": "headrace.runtime.flow_run.attempt",
    "prefect.runtime.task_run.run_count": "headrace.runtime.task_run.attempt",
    "prefect.runtime.deployment.name": "headrace.runtime.flow_run.deployment",
    **{
        f"prefect.runtime.{run}.{name}": f"headrace.runtime.{run}.{name}"
        for run, names in {
            "flow_run": ("id", "name", "flow_name", "parameters"),
            "task_run": ("name", "task_name"),
        }.items()
        for name in names
    },
}
"""Only what is here and means the same moves; `CHANGED` has what differs a little."""
CHANGED: Final[Mapping[str, str]] = {
    "prefect.blocks.system.Secret.load": "it is a Secret of the namespace, which spec.secrets of the Flow names; nothing is awaited",
    "prefect.variables.Variable.get": "it is read from the ConfigMaps that spec.variables of the Flow names, and never set",
    **dict.fromkeys(
        [f"prefect.{at}{what}_flow_run" for at in ("", "flow_runs.") for what in ("pause", "suspend")],
        "the pod goes meanwhile; without timeout_seconds it waits without end, not for an hour (docs/pausing.md)",
    ),
    **dict.fromkeys(
        ("prefect.deployments.run_deployment", "prefect.deployments.flow_runs.run_deployment"),
        "its Flow needs spec.apiAccess: Enabled and a Role (docs/composition.md); a run that is waited for ends with this one",
    ),
    **dict.fromkeys(
        ("prefect.events.emit_event", "prefect.events.utilities.emit_event"),
        "it goes to the log, the FlowRun and HEADRACE_EVENTS_URL (docs/composition.md)",
    ),
    **dict.fromkeys(
        ("prefect.transactions.transaction", "prefect.transactions.atransaction"),
        "a key is known to the runs of one Flow; on_commit is called when the results count (docs/transactions.md)",
    ),
    "prefect.transactions.get_transaction": "it is None in a task that has no hooks and is in no transaction",
    "prefect.runtime.flow_run.parent_flow_run_id": "it is the name of the run, and empty where there is none",
    "prefect.runtime.flow_run.root_flow_run_id": "it is the name of the run",
    "prefect.runtime.flow_run.scheduled_start_time": "it is None for a run without a schedule",
    "prefect.runtime.flow_run.id": "it is the UID of the FlowRun; empty on a laptop",
    "prefect.runtime.flow_run.name": "it is the name of the FlowRun, in place of two words",
    "prefect.runtime.flow_run.parameters": "it is empty for an ordinary call on a laptop",
}
ADVICE: Final[Mapping[str, str]] = {
    "prefect.blocks": "keep credentials in a Secret: name it in spec.secrets of the Flow, read headrace.Secret.load(…)",
    "prefect.variables": "keep variables in a ConfigMap: name it in spec.variables of the Flow, read headrace.Variable.get(…)",
    "prefect.artifacts": "`headrace artifacts` lists and shows what runs left",
    "prefect.deployments.Deployment": "`headrace render` writes the Deployment, with --cron, --interval or --rrule",
    "prefect.deployments.deployments": "`headrace render` writes the Deployment, with --cron, --interval or --rrule",
    "prefect.assets": "write @task(reads=…, writes=…), with URIs or headrace.lineage.Dataset (docs/lineage.md)",
    "prefect.infrastructure": "image, resources and podTemplate of the Flow, and WorkPools, say where runs go",
    "prefect.Parameter": "this is code of Prefect 1: write the flow as a function with parameters, below @flow",
    "prefect.deployments": "start runs with run_deployment(), or `headrace start`",
    "prefect.transactions": "write `with transaction():` in the flow; docs/transactions.md tells what it does",
    "prefect.events": "emit events with emit_event(); what listens at HEADRACE_EVENTS_URL may start runs",
    "prefect.cache_policies": "add the policies of headrace.caching, or write CacheKeyFnPolicy(function)",
    "prefect.results": "return results; large ones go to an object store, and their URL is returned",
    "prefect.filesystems": "use the client of the storage, such as obstore",
    "prefect.task_runners": "submitted tasks run in threads, in processes (docs/flows.md), or in pods of their own: @task(pod=Pod(…))",
    "prefect.states": "return the value or raise an exception; headrace.states has Succeeded, Failed, Crashed, Cancelled",
    "prefect.client": "ask the Kubernetes API for FlowRuns and Deployments",
    "prefect.context": "headrace.runtime tells about the run",
    "prefect.runtime": "headrace.runtime has flow_run and task_run; docs/flows.md lists what they tell",
    "prefect.futures": "futures have result(), wait(), state and cancel(); leave the type away",
    "prefect.schedules": "schedules are in the Deployment",
    "prefect.docker": "build the image in your build",
    "prefect.input": "derive the input from pydantic.BaseModel, and wait for it with pause(wait_for_input=…)",
    "prefect.flow_runs": "people let a run go on with `headrace approve`; sleep_until() waits for a time",
    "prefect.serve": "Deployments start the runs; the operator serves them",
    "prefect.deploy": "apply the Deployments with kubectl",
    "prefect.exceptions": "catch the errors of headrace.errors",
    "prefect": "there is no counterpart; write it without",
}
INTEGRATION: Final = "use the library that it wraps, such as boto3, with credentials from a Secret in spec.env"

MODULES: Final = ("caching",)
"""Public modules beside the names of the package."""

Kind = Literal["flow", "task"]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a decorator. `ours` is its name here, if there is one; `advice` says what to do where there is none."""

    ours: str
    advice: str = ""
    changed: str = ""
    """What differs where it is carried over."""
    harmless: bool = False
    """Whether nothing is missing without it."""


_SAME = {name: Option(name) for name in ("name", "retries", "retry_delay_seconds", "timeout_seconds", "log_prints")}
_HOOK = "the run and the state that it is called with have other fields: docs/flows.md tells which"
_TITLE = "it is the title of a run in its log, and not its name; a function gets the parameters"
_NO_HOOK = "there are no such hooks; write it into the function, in try, except and finally"
_TAG_LIMIT = "where a limit goes by a tag, hold a slot of a ConcurrencyLimit: with concurrency(…)"
_CACHE = "docs/caching.md tells the policies that there are"
_SHARES = "runs of one Flow share it, and no others; docs/caching.md tells the rest"
_RESULT = "set spec.results.url of the Flow: results of tasks are kept there for later attempts (docs/caching.md)"
_KEPT = "it is whether later attempts of the run take the result; with a results URL they do without it"
_SERIALIZER = (
    'it is "json", "pickle", "arrow" or "parquet"; large results are compressed without saying so (docs/results.md)'
)
_ASSETS = "write @task(writes=…) for what a task makes, instead of @materialize (docs/lineage.md)"
_HOOKS = {
    theirs: Option(ours, _NO_HOOK, _HOOK)
    for theirs, ours in {"on_completion": "on_success", "on_failure": "on_failure", "on_running": "on_running"}.items()
}
_SHARED = {
    **_SAME,
    **_HOOKS,
    "version": Option("", "each content of a Flow has a revision", harmless=True),
    "cache_result_in_memory": Option("", "results are in memory while somebody holds them", harmless=True),
    "persist_result": Option("persist_result", _RESULT, _KEPT),
    "result_storage": Option("", _RESULT),
    "result_serializer": Option("", _RESULT),
}
OPTIONS: Final[Mapping[Kind, Mapping[str, Option]]] = {
    "flow": {
        **_SHARED,
        "description": Option("description"),
        "validate_parameters": Option("validate_parameters"),
        "flow_run_name": Option("flow_run_name", "runs are named after their Deployment, schedule and time", _TITLE),
        "task_runner": Option(
            "",
            "submitted tasks run in threads, at most 32 at a time; Dask and Ray take the address of a cluster that is there",
        ),
        "on_cancellation": Option("on_cancellation", _NO_HOOK, _HOOK),
        "on_crashed": Option("on_crash", _NO_HOOK, _HOOK),
    },
    "task": {
        **_SHARED,
        "description": Option("", "its docstring says what a task is for", harmless=True),
        "tags": Option("tags", _TAG_LIMIT, f"tags mark the lines of a log; {_TAG_LIMIT}"),
        "task_run_name": Option("task_run_name", "task runs are named after their task, with a number", _TITLE),
        "cache_policy": Option("cache_policy", _CACHE, _SHARES),
        "cache_key_fn": Option("cache_key_fn", _CACHE, _SHARES),
        "cache_expiration": Option("cache_expiration", _CACHE),
        "refresh_cache": Option("refresh_cache", _CACHE),
        "result_storage_key": Option("", _RESULT),
        "result_serializer": Option("result_serializer", _RESULT, _SERIALIZER),
        "retry_condition_fn": Option("", "write retry_if: classes of exceptions, or a function of the exception"),
        "on_rollback": Option("on_rollback"),
        "on_commit": Option("on_commit", "", "what it raises is told, and rolls nothing back (docs/transactions.md)"),
        "viz_return_value": Option("", "nothing draws the flow from it", harmless=True),
        "asset_deps": Option("reads", _ASSETS, f"it takes URIs and Datasets; {_ASSETS}"),
    },
}


def known_options(kind: Kind) -> frozenset[str]:
    """The options that our decorator takes."""
    return frozenset(inspect.get_annotations(FlowOptions if kind == "flow" else TaskOptions))


def offered(ours: str) -> bool:
    """Whether our package has what the dotted name says, such as "headrace.runtime.flow_run"."""
    first, *rest = ours.split(".")[1:] or [""]
    if not first:
        return True
    if first not in (*headrace.__all__, *MODULES):
        return False
    found = getattr(headrace, first)
    for name in rest:
        holder = found if inspect.ismodule(found) or inspect.isclass(found) else type(found)
        if not hasattr(holder, name):
            return False
        found = getattr(holder, name)
    return True


def counterpart(theirs: str) -> str | None:
    """Our dotted name for Prefect's, if it moves."""
    ours = SYMBOLS.get(theirs)
    return ours if ours is not None and offered(ours) else None


def advice_for(theirs: str) -> str:
    """What to do about a name of Prefect that does not move."""
    if theirs.partition(".")[0] != "prefect":
        return INTEGRATION
    parts = theirs.split(".")
    nearest = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next(ADVICE[each] for each in nearest if each in ADVICE)

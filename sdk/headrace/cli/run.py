"""`headrace run`: a flow, either of a file on this computer, without a cluster, or a Deployment or Flow of the cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.api import keys
from headrace.cli.arguments import Given, GivenFile, parameters, text_parameters, untyped_parameters
from headrace.cli.cluster import Api, ClusterRefusal, Context, Namespace, asked, in_cluster, path_of
from headrace.cli.exits import CANCELLED
from headrace.cli.names import targets
from headrace.cli.references import Reference, reference
from headrace.errors import UsageError
from headrace.kubeapi.errors import NotFound

if TYPE_CHECKING:
    from headrace.engine.session import TaskCounts
    from headrace.flows import Flow
    from headrace.kubeapi.client import KubeClient
    from headrace.launch import Ending

RESULTS_URL_ENV = "HEADRACE_RESULTS_URL"


def register(app: typer.Typer) -> None:
    """Adds `headrace run`."""
    app.command(name="run")(run)


Target = Annotated[
    str,
    typer.Argument(
        help='A file or module: "etl.py:main", "etl:main". Or of the cluster: "nightly", "deployment/nightly", "flow/etl".',
        autocompletion=targets,
    ),
]
ResultsUrl = Annotated[
    str,
    typer.Option(
        "--results-url",
        envvar=RESULTS_URL_ENV,
        metavar="URL",
        help="Of a file: where results of tasks are kept, such as file:///tmp/results.",
    ),
]
RunName = Annotated[
    str,
    typer.Option(
        "--flow-run",
        metavar="NAME",
        help="Of a file: name of the run; what a run of this name has finished is taken from the results URL.",
    ),
]


@dataclass(frozen=True, slots=True)
class Order:
    """What a run on the cluster is to be; `typed` are parameters as a person has typed them."""

    typed: Mapping[str, str]
    file: Mapping[str, Any]
    key: str | None
    priority: int | None


def run(  # noqa: PLR0913 - one argument an option
    target: Target,
    param: Given = None,
    params_file: GivenFile = None,
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="On the cluster: until it ends.")] = False,
    priority: Annotated[int | None, typer.Option(help="On the cluster: higher goes first.")] = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="On the cluster: a second run with the same key starts nothing."),
    ] = None,
    results_url: ResultsUrl = "",
    flow_run: RunName = "",
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """
    Runs a flow: of a file here, with no cluster (`headrace run etl.py:main`), or of the cluster (`headrace run nightly --watch`).

    A name with ":" or ".py" is a file or module; any other is a Deployment, or else a Flow. Exit status here as in a pod: 0 succeeded,
    1 failed, 75 asks for another attempt, 78 cannot start, 130 Ctrl-C. On the cluster it prints the run's name; with --watch 0 it
    succeeded, 130 it was cancelled, 1 any other end.
    """
    on_cluster = watch or priority is not None or idempotency_key is not None or namespace or context
    if is_local(target):
        if on_cluster:
            raise UsageError(
                f"{target} runs on this computer; --watch, --priority, --idempotency-key, -n and --context do not"
            )
        raise typer.Exit(_run_here(target, param or [], params_file, results_url=results_url, flow_run=flow_run))
    if flow_run:
        raise UsageError(f"--flow-run is for files; the cluster names the runs of {target}")
    order = Order(text_parameters(param or ()), untyped_parameters((), params_file), idempotency_key, priority)
    raise typer.Exit(_run_there(target, order, watch=watch, namespace=namespace, context=context))


def is_local(target: str) -> bool:
    """Whether it names code on this computer: names in a cluster have neither a colon nor ".py"."""
    return ":" in target or target.endswith(".py")


async def launched(api: Api, namespace: str, target: str, order: Order, *, now: datetime) -> tuple[str, str]:
    """
    The name of the run that was made, and what else there is to tell, or "".

    Raises: ClusterRefusal: there is no such Deployment or Flow, or it may not be done. ApiError.
    """
    from headrace.cli.start import fitted_to, run_spec, started  # noqa: PLC0415 - a local run starts without it

    meant = await _meant(api, namespace, target)
    if meant.resource is keys.DEPLOYMENTS:
        typed = await fitted_to(api, namespace, meant.name, order.typed) if order.typed else {}
        spec = run_spec(meant.name, {**order.file, **typed}, key=order.key, priority=order.priority)
        return await started(api, namespace, spec, now=now)
    return await _of_flow(api, namespace, meant.name, order, now=now)


async def _meant(api: Api, namespace: str, target: str) -> Reference:
    """A name alone is a Deployment, or else a Flow. Raises: ClusterRefusal, UsageError, ApiError."""
    named = reference(target, (keys.DEPLOYMENTS, keys.FLOWS))
    if "/" in target:
        return named
    for resource in (keys.DEPLOYMENTS, keys.FLOWS):
        try:
            await asked(f"run {target}", api.get(path_of(resource, namespace, target)))
        except ClusterRefusal as error:
            if not isinstance(error.__cause__, NotFound):
                raise
            missing = error
            continue
        return Reference(resource, target)
    told = f"there is neither a Deployment nor a Flow of that name in namespace {namespace}; headrace deployments -n {namespace} "
    raise ClusterRefusal(
        f"run {target}", f'{told}lists the ones that are. A file is named "{target}.py:FUNCTION"'
    ) from missing


async def _of_flow(api: Api, namespace: str, flow: str, order: Order, *, now: datetime) -> tuple[str, str]:
    from headrace.cli.fitting import fitted  # noqa: PLC0415 - as above
    from headrace.cli.start import run_spec  # noqa: PLC0415 - as above
    from headrace.deployments.naming import keyed_name, new_name  # noqa: PLC0415 - as above
    from headrace.kubeapi.errors import AlreadyExists  # noqa: PLC0415 - as above

    wanted = f"run flow/{flow}"
    missing = f"there is no Flow {flow} in namespace {namespace}; kubectl get fl -n {namespace} lists them"
    await asked(wanted, api.get(path_of(keys.FLOWS, namespace, flow)), missing=missing)
    given = {**order.file, **(await fitted(api, namespace, flow, order.typed) if order.typed else {})}
    spec = run_spec("", given, key=order.key, priority=order.priority)
    del spec["deploymentRef"]
    name = new_name(flow, now) if order.key is None else keyed_name(flow, order.key)
    body = {
        "apiVersion": keys.API_VERSION,
        "kind": keys.FLOWRUNS.kind,
        "metadata": {"name": name, "labels": {keys.FLOW_LABEL: flow}},
        "spec": {"flowRef": {"name": flow}, **spec},
    }
    try:
        await asked(wanted, api.create(path_of(keys.FLOWRUNS, namespace), body))
    except AlreadyExists:
        return name, f"already started as {name}"
    return name, ""


def _run_there(target: str, order: Order, *, watch: bool, namespace: str, context: str | None) -> int:
    from headrace.cli.following import exit_code, followed  # noqa: PLC0415 - as above
    from headrace.cli.printing import progress  # noqa: PLC0415 - as above

    async def work(client: KubeClient, here: str) -> int:
        name, note = await launched(client, here, target, order, now=datetime.now(UTC))
        print(name, flush=True)
        with progress() as shown:
            if note:
                shown.step(note)
            return exit_code(await followed(client, here, name, shown.step)) if watch else 0

    try:
        return in_cluster(work, namespace=namespace, context=context)
    except (KeyboardInterrupt, asyncio.CancelledError):
        return CANCELLED  # the run goes on: only its follower was told to stop


def _run_here(entrypoint: str, param: list[str], file: Path | None, *, results_url: str, flow_run: str) -> int:
    from headrace.cancellation import Cancellation  # noqa: PLC0415 - what runs flows, for those that run here
    from headrace.engine.session import LAPTOP, Tally  # noqa: PLC0415 - as above
    from headrace.launch import Launch, launch  # noqa: PLC0415 - as above

    def given(flow: Flow[..., Any]) -> Mapping[str, Any]:
        return parameters(flow, param, file)

    started_s = time.monotonic()
    session = replace(LAPTOP, results_url=results_url, flow_run=flow_run, tally=Tally())
    ending = launch(Launch(entrypoint, given, session), Cancellation())
    typer.echo(last_line(ending, time.monotonic() - started_s), err=ending.never_began)
    return ending.exit_code


def last_line(ending: Ending, duration_s: float) -> str:
    """How it ended, for people."""
    if ending.never_began:
        return f"headrace: {ending.message}"
    took = f"{ending.phase} after {duration_s:.1f} s"
    return f"{took}: {_counted(ending.tasks)}" if ending.phase == "Succeeded" else f"{took}: {ending.message}"


def _counted(tasks: TaskCounts) -> str:
    parts = [f"{tasks.total} task run{'' if tasks.total == 1 else 's'}"]
    parts += [f"{tasks.cached} cached"] if tasks.cached else []
    parts += [f"{tasks.retried} retried"] if tasks.retried else []
    parts += [f"{tasks.failed} failed"] if tasks.failed else []
    return ", ".join(parts)

"""`headrace start`: a run of a Deployment, now."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headrace.api import keys
from headrace.cli.arguments import (
    Overrides,
    OverridesFile,
    fitting_parameters,
    text_parameters,
    untyped_parameters,
)
from headrace.cli.cluster import Api, ClusterRefusal, Context, Namespace, asked, in_cluster, path_of
from headrace.cli.fitting import fitted
from headrace.cli.following import exit_code, followed
from headrace.cli.printing import progress
from headrace.deployments.naming import keyed_name, new_name
from headrace.kubeapi.errors import AlreadyExists
from headrace.tracing.context import trace_annotations

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

MAX_KEY = 253


def register(app: typer.Typer) -> None:
    """Adds `headrace start`."""
    app.command(name="start")(start)


def start(  # noqa: PLR0913 - one argument an option
    deployment: Annotated[str, typer.Argument(help="Name of the Deployment.")],
    *,
    namespace: Namespace = "",
    set_: Overrides = None,
    parameters: OverridesFile = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(metavar="KEY", help="Names the cause: a second start with the same key starts nothing."),
    ] = None,
    priority: Annotated[int | None, typer.Option(help="Higher goes first. Else the Deployment's.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Until it ends.")] = False,
    context: Context = None,
) -> None:
    """
    Starts a run of a Deployment: `headrace start nightly --set day=2026-01-01 --wait`.

    Prints the run's name. Exit status with --wait: 0 it succeeded, 130 it was cancelled, 1 any other end.
    """
    typed, file = text_parameters(set_ or ()), untyped_parameters((), parameters)
    spec = run_spec(deployment, file, key=idempotency_key, priority=priority)

    async def work(client: KubeClient, here: str) -> int:
        wanted = {**spec, "parameters": {**file, **await fitted_to(client, here, deployment, typed)}} if typed else spec
        name, note = await started(client, here, wanted, now=datetime.now(UTC))
        print(name, flush=True)
        with progress() as shown:
            if note:
                shown.step(note)
            return exit_code(await followed(client, here, name, shown.step)) if wait else 0

    try:
        raise typer.Exit(in_cluster(work, namespace=namespace, context=context))
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None  # the run goes on: only its follower was told to stop


def run_spec(
    deployment: str, parameters: Mapping[str, Any], *, key: str | None, priority: int | None
) -> dict[str, Any]:
    """The spec of the FlowRun. Raises: ClusterRefusal: the key cannot be one."""
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        raise ClusterRefusal("use that idempotency key", f"it has {len(key)} characters, 1 to {MAX_KEY} are allowed")
    optional = {"parameters": dict(parameters) or None, "idempotencyKey": key, "priority": priority}
    given = {name: value for name, value in optional.items() if value is not None}
    return {"deploymentRef": {"name": deployment}, **given}


async def fitted_to(api: Api, namespace: str, deployment: str, typed: Mapping[str, str]) -> dict[str, Any]:
    """What was typed, as the Flow of the Deployment takes it. Raises: ApiError."""
    try:
        found = await asked("read", api.get(path_of(keys.DEPLOYMENTS, namespace, deployment)))
    except ClusterRefusal:
        return fitting_parameters(typed, {})
    return await fitted(api, namespace, found["spec"]["flowRef"]["name"], typed)


async def started(api: Api, namespace: str, spec: Mapping[str, Any], *, now: datetime) -> tuple[str, str]:
    """
    The name of the run that the spec asks for, and what else there is to tell, or "".

    Raises: ClusterRefusal: there is no such Deployment, or it may not be done. ApiError.
    """
    name = spec["deploymentRef"]["name"]
    wanted = f"start a run of {name}"
    missing = f"there is no Deployment {name} in namespace {namespace}; kubectl get fdep -n {namespace} lists them"
    deployment = await asked(wanted, api.get(path_of(keys.DEPLOYMENTS, namespace, name)), missing=missing)
    run = _manifest(deployment, spec, now)
    try:
        await asked(wanted, api.create(path_of(keys.FLOWRUNS, namespace), run))
    except AlreadyExists:
        return await _started_before(api, namespace, run)
    return run["metadata"]["name"], _note(deployment)


def _manifest(deployment: Mapping[str, Any], spec: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    name = deployment["metadata"]["name"]
    key = spec.get("idempotencyKey")
    run = new_name(name, now) if key is None else keyed_name(name, key)
    labels = {keys.DEPLOYMENT_LABEL: name, keys.FLOW_LABEL: deployment["spec"]["flowRef"]["name"]}
    return {
        "apiVersion": keys.API_VERSION,
        "kind": keys.FLOWRUNS.kind,
        "metadata": {
            "name": run,
            "labels": labels,
            **({"annotations": trace} if (trace := trace_annotations()) else {}),
        },
        "spec": dict(spec),
    }


async def _started_before(api: Api, namespace: str, run: Mapping[str, Any]) -> tuple[str, str]:
    """The run of that name, if it is of the same key. Raises: ClusterRefusal: it is another one."""
    name = run["metadata"]["name"]
    found = await asked(f"read run {name}", api.get(path_of(keys.FLOWRUNS, namespace, name)))
    spec, phase = found["spec"], (found.get("status") or {}).get("phase") or "Pending"
    if spec.get("idempotencyKey") != run["spec"].get("idempotencyKey"):
        raise ClusterRefusal(f"start run {name}", "a run of that name exists and is of another cause; delete it first")
    same = (spec.get("parameters") or {}) == (run["spec"].get("parameters") or {})
    return name, f"already started as {name}, which is {phase}" + ("" if same else ", with other parameters")


def _note(deployment: Mapping[str, Any]) -> str:
    circuit = (deployment.get("status") or {}).get("circuit") or {}
    if circuit.get("state") != "Open":
        return ""
    name = deployment["metadata"]["name"]
    return f"it waits: the circuit of {name} is open until {circuit.get('retryAt')}; headrace circuit close {name} closes it"

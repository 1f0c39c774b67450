"""`headrace circuit`: the circuit breaker of a Deployment."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from headrace.api import keys
from headrace.cli.cluster import Api, ClusterRefusal, Context, Namespace, asked, in_cluster, path_of

circuit = typer.Typer(no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Adds `headrace circuit` with its command."""
    app.add_typer(circuit, name="circuit")


@circuit.callback()
def _group() -> None:
    """The circuit breaker of a Deployment (spec.circuitBreaker)."""


@circuit.command()
def close(
    deployment: Annotated[str, typer.Argument(help="Name of the Deployment.")],
    *,
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """Close the circuit by hand, once the cause is mended: runs start at once, and failures are counted from 0."""
    now = datetime.now(UTC)
    told = in_cluster(lambda api, here: closed(api, here, deployment, now=now), namespace=namespace, context=context)
    print(told)


async def closed(api: Api, namespace: str, name: str, *, now: datetime) -> str:
    """
    What was done, for people. The operator does the rest: it closes the circuit when it sees another annotation.

    Raises: ClusterRefusal: there is no such Deployment, it has no circuit breaker, or it may not be done. ApiError.
    """
    path = path_of(keys.DEPLOYMENTS, namespace, name)
    missing = f"there is no such Deployment in namespace {namespace}; kubectl get fdep -n {namespace} lists them"
    wanted = f"close the circuit of {name}"
    found = await asked(wanted, api.get(path), missing=missing)
    if "circuitBreaker" not in found["spec"]:
        raise ClusterRefusal(wanted, "it has no circuit breaker (spec.circuitBreaker), so nothing holds its runs back")
    stamp = now.astimezone(UTC).isoformat(timespec="microseconds")
    await asked(wanted, api.patch(path, {"metadata": {"annotations": {keys.CIRCUIT_RESET_ANNOTATION: stamp}}}))
    status = found.get("status") or {}
    was = (status.get("circuit") or {}).get("state") or "Closed"
    failures = status.get("consecutiveFailures") or 0
    return f"{name}: the circuit was {was} after {failures} failure(s) in a row; it is closed, and they are forgotten"

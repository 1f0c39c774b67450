"""`headrace result`: what a run's flow returned."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from headrace.api import keys
from headrace.cli.cluster import Api, ClusterRefusal, Context, Namespace, asked, in_cluster, path_of


def register(app: typer.Typer) -> None:
    """Adds `headrace result`."""
    app.command(name="result")(result)


def result(
    run: Annotated[str, typer.Argument(help="Name of the FlowRun.")],
    *,
    namespace: Namespace = "",
    context: Context = None,
) -> None:
    """
    Prints what a run's flow returned, as JSON: `headrace result etl-7`.

    A large result is read from the result storage, with your own credentials. Exit status 1 where there is no result.
    """
    found = in_cluster(lambda api, here: returned(api, here, run), namespace=namespace, context=context)
    print(json.dumps(value_of(run, found), indent=2, ensure_ascii=False))


async def returned(api: Api, namespace: str, name: str) -> Mapping[str, Any]:
    """
    The `status.result` of a run that has succeeded; empty where its flow returned nothing.

    Raises: ClusterRefusal: there is no such run, it did not succeed, or it may not be read. ApiError.
    """
    wanted = f"show the result of {name}"
    missing = f"there is no such FlowRun in namespace {namespace}; kubectl get fr -n {namespace} lists them"
    found = await asked(wanted, api.get(path_of(keys.FLOWRUNS, namespace, name)), missing=missing)
    status = found.get("status") or {}
    phase = status.get("phase") or "Pending"
    if phase != "Succeeded":
        raise ClusterRefusal(wanted, f"it is {phase}: {status.get('message') or 'it has not ended'}")
    told: Mapping[str, Any] = status.get("result") or {}
    return told


def value_of(run: str, found: Mapping[str, Any]) -> Any:
    """
    The value that `status.result` holds or points to, as JSON types.

    Raises: ClusterRefusal: it was not stored, or is no JSON. ResultsError, UsageError: the storage cannot be read.
    """
    wanted = f"show the result of {run}"
    if found.get("omitted"):
        problem = "it has more than 1,024 bytes, and there is no storage for that; set spec.results.url of its Flow"
        raise ClusterRefusal(wanted, problem)
    if "url" not in found:
        return found.get("value")
    from headrace.flow_results import cargo_at  # noqa: PLC0415 - the storages, for large results

    url = str(found["url"])
    cargo = cargo_at(url)
    if cargo.format != "json":
        problem = (
            f"it is stored as {cargo.format} at {url}, which only Python code can read, and which may run code of whoever "
            "wrote it; read it with run_deployment(), or return what JSON knows"
        )
        raise ClusterRefusal(wanted, problem)
    return cargo.content()

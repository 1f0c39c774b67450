"""What a shell offers when a name is to be typed: names from the cluster, or nothing where it does not answer at once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import typer

from headrace.api import keys
from headrace.cli.cluster import listed, path_of
from headrace.errors import HeadraceError
from headrace.kubeapi.errors import KubeError

if TYPE_CHECKING:
    from headrace.kubeapi.client import KubeClient

PATIENCE_S: Final = 2.0
"""A person waits at the prompt."""
MOST: Final = 500
WORDS: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")
"""What may be a name in a message."""
KINDS: Final = ("deployment/", "backfill/", "limit/")
"""What a name of another kind than a run begins with."""

Offer = Callable[[typer.Context, str], list[str]]


def _of(resource: keys.Resource, prefix: str = "") -> Offer:
    def offered(context: typer.Context, incomplete: str) -> list[str]:
        params = context.params
        names = _names(
            lambda client, here: _found(client, path_of(resource, here if resource.namespaced else "")),
            str(params.get("namespace") or ""),
            params.get("context"),
            params.get("kubeconfig"),
        )
        return [f"{prefix}{name}" for name in names if f"{prefix}{name}".startswith(incomplete)][:MOST]

    return offered


async def _found(client: KubeClient, path: str) -> list[str]:
    newest = sorted(await listed(client, path), key=lambda each: str(each["metadata"]["creationTimestamp"]))
    return [each["metadata"]["name"] for each in reversed(newest)]


def _names(
    work: Callable[[KubeClient, str], object], namespace: str, context: str | None, kubeconfig: str | None
) -> list[str]:
    """Without a word about what went wrong: it would stand in the middle of the line that is being typed."""
    from headrace.cli.signin import connection_of  # noqa: PLC0415 - when a name is asked for, and not before
    from headrace.kubeapi.client import KubeClient  # noqa: PLC0415 - as above

    async def ask() -> list[str]:
        connection = connection_of(kubeconfig, context)
        async with asyncio.timeout(PATIENCE_S), KubeClient(connection, user_agent="headrace-cli") as client:
            return await work(client, namespace or connection.namespace)  # type: ignore[misc, no-any-return]

    with suppress(HeadraceError, KubeError, OSError, TimeoutError):
        return asyncio.run(ask())
    return []


run_names: Final = _of(keys.FLOWRUNS)
flow_names: Final = _of(keys.FLOWS)
deployment_names: Final = _of(keys.DEPLOYMENTS)
backfill_names: Final = _of(keys.BACKFILLS)
limit_names: Final = _of(keys.CONCURRENCYLIMITS)


def explainable(context: typer.Context, incomplete: str) -> list[str]:
    """Runs and, once their kind is typed, Deployments, Backfills and limits."""
    kind, slash, _ = incomplete.partition("/")
    resource = {"deployment": keys.DEPLOYMENTS, "backfill": keys.BACKFILLS, "limit": keys.CONCURRENCYLIMITS}.get(kind)
    if slash:
        return _of(resource, f"{kind}/")(context, incomplete) if resource else []
    return [*run_names(context, incomplete), *(each for each in KINDS if each.startswith(incomplete))]


def namespace_names(context: typer.Context, incomplete: str) -> list[str]:
    """The cluster's namespaces that begin with what was typed."""
    params = context.params
    names = _names(
        lambda client, _: _found(client, "/api/v1/namespaces"), "", params.get("context"), params.get("kubeconfig")
    )
    return [name for name in names if name.startswith(incomplete)][:MOST]


def targets(context: typer.Context, incomplete: str) -> list[str]:
    """What can be run: Deployments, and Flows as "flow/etl"."""
    return [*deployment_names(context, incomplete), *_of(keys.FLOWS, "flow/")(context, incomplete)]
